"""A process's transport: what its clients send goes to the simulated network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastcore.controller.errors import ConnectionFailed, RequestTimeout
from fastcore.controller.transport import Answer
from fastcore.testing.simulate.network import Network
from fastcore.testing.simulate.owner import Owner
from fastcore.testing.simulate.stream import WatchEnd

HOST = "simulated"


class Connection:
    """A `Transport` of one process.

    Args:
        network: where it leads.
        owner: the process.
    """

    def __init__(self, network: Network, owner: Owner) -> None:
        self.stats: dict[tuple[str, str, str], int] = {}
        self._network = network
        self._owner = owner
        self._closed = False

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None,
        content_type: str | None,
        *,
        refused: bool = False,
        fence: Callable[[], None] | None = None,
    ) -> Answer:
        """One request, one answer."""
        self._check()
        if fence is not None:
            fence()
        try:
            answer = await self._network.post(self._owner, method, target, body, content_type)
        except ConnectionFailed:
            self._count("<error>", method)
            raise
        assert isinstance(answer, Answer)
        self._count(str(answer.status), method)
        return answer

    @asynccontextmanager
    async def stream(self, target: str, *, timeout: float, refused: bool = False) -> AsyncIterator["WatchEnd"]:
        """A watch."""
        self._check()
        try:
            async with asyncio.timeout(timeout):
                answer = await self._network.post(self._owner, "GET", target, None, None)
        except TimeoutError as error:
            self._count("<error>", "GET")
            raise RequestTimeout(f"GET {target} gave no answer within {timeout} s") from error
        except ConnectionFailed:
            self._count("<error>", "GET")
            raise
        stream = answer if isinstance(answer, WatchEnd) else WatchEnd(self._network, None, target, answer)
        self._count(str(stream.status), "GET")
        try:
            yield stream
        finally:
            self._network.closed(stream)

    async def close(self) -> None:
        """No request can be sent any more."""
        self._closed = True

    def _check(self) -> None:
        if self._closed or not self._owner.alive:
            raise ConnectionFailed("the client is closed")

    def _count(self, code: str, method: str) -> None:
        key = (code, method, HOST)
        self.stats[key] = self.stats.get(key, 0) + 1
