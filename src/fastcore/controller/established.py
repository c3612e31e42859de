"""Waits until the server serves what a CustomResourceDefinition defines."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastcore.clock import NS_PER_S, Clock, monotonic_ns
from fastcore.controller.client import Client
from fastcore.controller.errors import NotFoundError
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION, Kind
from fastcore.errors import WaitTimeout

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0


def is_established(crd: Mapping[str, Any]) -> bool:
    """Whether the condition Established of a CRD is True."""
    return any(
        condition.get("type") == "Established" and condition.get("status") == "True"
        for condition in (crd.get("status") or {}).get("conditions") or ()
    )


async def wait_established(
    client: Client,
    crd: Mapping[str, Any],
    kind: Kind,
    *,
    timeout: float = 30.0,
    clock: Clock = monotonic_ns,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Return once objects of `kind` can be written. No request at all if `crd` says that it was established before.

    A server says so a moment before it serves the kind, so a list of one object is asked for until it is found.

    Args:
        client: asks.
        crd: the definition, as the server answered.
        kind: what it defines.
        timeout: seconds, > 0.
        clock: integer nanoseconds.
        sleep: waits so many seconds.

    Raises:
        WaitTimeout: it did not happen in time; the message has the conditions.
        ApiError: the server cannot be asked.
    """
    if is_established(crd):
        return
    name = crd["metadata"]["name"]
    deadline = clock() + int(timeout * NS_PER_S)
    wait = _FIRST_WAIT_S
    while True:
        if not is_established(crd):
            crd = await client.get(CUSTOM_RESOURCE_DEFINITION, None, name)
        if is_established(crd):
            try:
                await client.request("GET", kind.path(), params={"limit": 1})
                return
            except NotFoundError:
                pass
        if clock() >= deadline:
            raise WaitTimeout(f"the CRD {name} was not established within {timeout} s: {_conditions(crd)}")
        await sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_S)


def _conditions(crd: Mapping[str, Any]) -> str:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return "; ".join(f"{c.get('type')}={c.get('status')} {c.get('message', '')}".strip() for c in conditions) or "none"
