"""Tries again what another writer has overtaken, on what the server says now (WR-1)."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple, TypeVar

from fastcore.clock import new_random
from fastcore.controller.errors import ConflictError

T = TypeVar("T")


class Retries(NamedTuple):
    """How often something is tried, and the waits between.

    Args:
        tries: >= 1, the first included.
        delay: the first wait in seconds, >= 0.
        factor: each wait is so many times the one before.
        jitter: part of itself by which a wait is stretched at most, >= 0.
    """

    tries: int
    delay: float
    factor: float
    jitter: float


DEFAULT_RETRY = Retries(5, 0.010, 1.0, 0.1)
"""For writers that meet now and then."""

DEFAULT_BACKOFF = Retries(4, 0.010, 5.0, 0.1)
"""For objects that several controllers write to all the time."""


async def retry_on_conflict(
    attempt: Callable[[], Awaitable[T]],
    *,
    retries: Retries = DEFAULT_RETRY,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Random | None = None,
) -> T:
    """The result of `attempt`, which is made again after each stale resourceVersion.

    A conflict about fields that another manager owns is not tried again: it would be the same.

    Args:
        attempt: reads the object from the server, not from a cache, changes it and writes it.
        retries: how often, and the waits between.
        sleep: waits so many seconds.
        random: of the jitter.

    Raises:
        ConflictError: the last try met one, too.
        ValueError: `retries.tries` is less than 1.

    Complexity: at most `retries.tries` attempts.
    Thread safety: as `attempt`.

    Example:
        async def scale_up() -> Resource:
            obj = await client.get(DEPLOYMENT, "default", "web")
            obj["spec"]["replicas"] += 1
            return await client.update(DEPLOYMENT, obj)

        await retry_on_conflict(scale_up)

    Source: client-go, util/retry.
    """
    if retries.tries < 1:
        raise ValueError(f"retries.tries must be >= 1, not {retries.tries!r}")
    chance = random or new_random()
    delay = retries.delay
    for _ in range(retries.tries - 1):
        try:
            return await attempt()
        except ConflictError as error:
            if error.fields:
                raise
        await sleep(delay * (1 + retries.jitter * chance.random()))
        delay *= retries.factor
    return await attempt()
