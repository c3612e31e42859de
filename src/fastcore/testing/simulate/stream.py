"""The client's end of a watch: what the server has sent is on its way, and arrives in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from fastcore.controller.errors import ConnectionFailed, RequestTimeout
from fastcore.controller.transport import Answer
from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.watch import WatchStream
from fastcore.testing.simulate.loop import VirtualLoop

_BOOKMARK_S = 60.0
_WATCH_S = 1800.0
_LAG_FACTOR = 400  # 0.8 s where a message mostly takes 2 ms
_LAG_S = 5.0


class Carrier(Protocol):
    """What a watch needs of the network."""

    api: API
    loop: VirtualLoop

    def latency(self) -> float:
        """Seconds that one message takes."""

    def later(self, seconds: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Call back, whoever has died."""

    def at(self, when: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """The same at a virtual second."""

    def trouble(self, target: str) -> set[str]:
        """What concerns requests to `target` now."""


class WatchEnd:
    """The client's end of a watch, and what is on its way to it; or a refusal, which has only a body."""

    def __init__(self, network: Carrier, source: WatchStream | None, path: str, refusal: Answer | None = None) -> None:
        self.status = 200 if refusal is None else refusal.status
        self.headers: Mapping[str, str] = {} if refusal is None else refusal.headers
        self._body = b"" if refusal is None else refusal.body
        self._network = network
        self._source = source
        self._path = path
        self._due = 0.0  # nothing overtakes what was sent before
        self._arrived: list[bytes] = []
        self._ended = False
        self._broken = False
        self._waiter: asyncio.Future[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        if source is not None:
            seconds = source.options.timeout or _WATCH_S
            self._timers = [network.later(_BOOKMARK_S, self._mark), network.later(seconds, self._time_is_up)]
            source.wake = self._on_server
            self._on_server()

    async def read(self) -> bytes:
        """The body of a refusal."""
        return self._body

    async def batches(self, idle_timeout: float) -> AsyncIterator[list[bytes]]:
        """The lines that have arrived, whenever some have."""
        while True:
            if self._broken:
                raise ConnectionFailed("the watch broke: connection reset")
            lines, self._arrived = self._arrived, []
            if lines:
                yield lines
                continue
            if self._ended:
                return
            self._waiter = self._network.loop.create_future()
            try:
                async with asyncio.timeout(idle_timeout):
                    await self._waiter
            except TimeoutError as error:
                raise RequestTimeout(f"the watch was silent for {idle_timeout} s") from error
            finally:
                self._waiter = None

    def finish(self) -> None:
        """Nobody listens any more."""
        for timer in self._timers:
            timer.cancel()
        source, self._source = self._source, None
        if source is not None:
            source.wake = None
            self._network.api.finished(source)

    def _on_server(self) -> None:
        """The server has lines for this watch, or has ended it: they set out."""
        source = self._source
        if source is None:
            return
        network = self._network
        if source.cut:
            network.later(network.latency(), self._break)
            self.finish()
            return
        lines = source.take()
        delay = network.latency()
        if "lag" in network.trouble(self._path):
            delay += min(delay * _LAG_FACTOR, _LAG_S)
        self._due = max(self._due, network.loop.time() + delay)
        if lines:
            network.at(self._due, self._arrive, lines)
        if source.ended:
            network.at(self._due, self._end)
            self.finish()

    def _arrive(self, lines: bytes) -> None:
        if not self._broken:
            self._arrived += [line for line in lines.split(b"\n") if line]
            self._wake()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _break(self) -> None:
        self._broken = True
        self._arrived.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _mark(self) -> None:
        if self._source is not None:
            self._timers[0] = self._network.later(_BOOKMARK_S, self._mark)
            self._source.bookmark()

    def _time_is_up(self) -> None:
        if self._source is not None:
            self._source.bookmark()
        if self._source is not None:
            self._source.end()
