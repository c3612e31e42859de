"""The objects that a reflector begins with, collected aside until the server has told of all of them (RF-2)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterable

from fastcore.controller.errors import ApiError, ConnectionFailed
from fastcore.controller.frames import Item, ends_initial, identity, read_item, revision_of
from fastcore.objects import WatchEvent


class NotStreamed(ApiError):
    """The server took the parameters of a streamed list, and did not act on them."""


async def collect(
    lines: AsyncIterator[bytes],
    event: Callable[[bytes], WatchEvent],
    holds: Callable[[Item], bool],
    silence: float,
) -> tuple[list[Item], str]:
    """Read a stream up to the bookmark that ends its initial events; the objects, and the bookmark's revision.

    Args:
        lines: of the stream, which goes on afterwards.
        event: what a line says.
        holds: whether an object belongs to the collection.
        silence: seconds, > 0; a server that sends initial events does not pause for so long.

    Raises:
        NotStreamed: there will be no such bookmark.
        ConnectionFailed: the stream ended before.
        ApiError: what `lines` and `event` raise.
    """
    objects: dict[Hashable, Item] = {}
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(silence) as limit:
            async for line in lines:
                limit.reschedule(loop.time() + silence)
                told = event(line)
                if told.type == "BOOKMARK":
                    if ends_initial(told):
                        return list(objects.values()), revision_of(told)
                    raise NotStreamed("a bookmark came before the end of the initial events was announced")
                item = read_item(told.object)
                if told.type == "DELETED":
                    objects.pop(identity(item), None)
                elif holds(item):
                    objects[identity(item)] = item
    except TimeoutError as error:
        if isinstance(error, ApiError) or not limit.expired():
            raise
        raise NotStreamed(f"no end of the initial events was announced before {silence} s of silence") from error
    raise ConnectionFailed("the stream ended before its initial events did")


async def catch_up(
    lines: AsyncIterator[bytes],
    event: Callable[[bytes], WatchEvent],
    holds: Callable[[Item], bool],
    known: Iterable[Item],
    revision: str,
) -> tuple[list[Item], str]:
    """Bring objects that were saved at `revision` up to date, from a watch that begins there and ends by itself.

    Args:
        lines: of the watch.
        event: what a line says; it raises what an ERROR carries.
        holds: whether an object belongs to the collection.
        known: the objects as they were.
        revision: of them.

    Raises:
        ApiError: what `lines` and `event` raise.
    """
    objects = {identity(item): item for item in known}
    async for line in lines:
        told = event(line)
        revision = revision_of(told)
        if told.type == "BOOKMARK":
            continue
        item = read_item(told.object)
        if told.type == "DELETED":
            objects.pop(identity(item), None)
        elif holds(item):
            objects[identity(item)] = item
    return list(objects.values()), revision
