"""The way between simulated processes and the embedded API server: no sockets, every message a step of its own.

A request is on its way for some virtual milliseconds, is handled in one step, and its answer is on its way again. What
was sent arrives, even if whoever sent it has died or given up meanwhile, as on a real network.
"""

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from fastcore.controller.errors import ConnectionFailed
from fastcore.controller.transport import Answer
from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.message import Request, Response
from fastcore.testing.apiserver.watch import WatchStream
from fastcore.testing.simulate.chance import Chance
from fastcore.testing.simulate.loop import VirtualLoop
from fastcore.testing.simulate.owner import Owner
from fastcore.testing.simulate.schedule import Schedule, Step
from fastcore.testing.simulate.stream import WatchEnd

_PLAIN_S = 0.002
_TOUCHED = b'{"metadata":{"annotations":{"simulate.fastcore.dev/touched":"%d"}}}'


class Sent(NamedTuple):
    """A request that arrived and was handled.

    Args:
        number: counted over all processes, from 1.
        at: virtual second.
        process: who sent it.
        method: of HTTP.
        path: without the query.
        status: of the answer.
        changed: whether the server's state is another one now.
    """

    number: int
    at: float
    process: str
    method: str
    path: str
    status: int
    changed: bool


class Trouble(NamedTuple):
    """Something that concerns every request below a prefix until a moment."""

    what: str
    prefix: str
    until: float


class Network:
    """Carries requests, and does to them what the schedule says.

    Args:
        api: the server.
        loop: gives time.
        schedule: which requests are hit.
        crash: ends a process, to be started again after so many seconds.
        trace: takes a line about what happened.

    Attributes:
        count: requests sent so far.
        actor: who writes while the server handles a request: a process's name, or "".
        sent: told of each request when it has been handled.
        seen: gets the body of each request.
        written: carries out a user's write that comes just before a request.
        troubles: what concerns many requests now.
    """

    def __init__(
        self,
        api: API,
        loop: VirtualLoop,
        schedule: Schedule,
        crash: Callable[[Owner, float], None],
        trace: Callable[[str], None],
    ) -> None:
        self.api = api
        self.loop = loop
        self.count = 0
        self.actor = ""
        self.sent: Callable[[Sent], None] = lambda sent: None
        self.written: Callable[[Step], None] = lambda step: None
        self.seen: Callable[[bytes], None] = lambda body: None
        self.troubles: list[Trouble] = []
        self._crash = crash
        self._trace = trace
        self._context = contextvars.copy_context()  # the simulator's own: what was sent arrives whoever dies
        self._latency = Chance(schedule.seed, 1, schedule.latency)
        self._faults: dict[int, list[Step]] = {}
        self._open: dict[WatchEnd, Owner] = {}
        for step in schedule.steps:
            if step.request is not None:
                self._faults.setdefault(step.request, []).append(step)

    @property
    def latencies(self) -> int:
        """Latencies that were drawn so far."""
        return self._latency.count

    def later(self, seconds: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Call back in the simulator's context, which no crash ends."""
        return self.at(self.loop.time() + seconds, callback, *args)

    def at(self, when: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Call back at a virtual second, in the simulator's context; of two for one moment the first goes first."""
        return self.loop.call_at(when, callback, *args, context=self._context)

    def latency(self) -> float:
        """Seconds that one message takes: mostly a few milliseconds, at times far more."""
        number = self._latency()
        if number == 0:
            return _PLAIN_S
        share = (number >> 8 & 0xFFFF) / 0x10000
        return 0.0005 + (share * 0.008 if number & 7 else share * 0.4)

    def calm(self) -> None:
        """No request is hit any more."""
        self._faults.clear()
        self.troubles.clear()

    def cut_off(self, owner: Owner) -> None:
        """The process is gone: its connections are, too."""
        for stream in [stream for stream, other in self._open.items() if other is owner]:
            self.closed(stream)

    def trouble(self, target: str) -> set[str]:
        """What concerns a request to `target` now."""
        if not self.troubles:
            return set()
        now = self.loop.time()
        self.troubles = [trouble for trouble in self.troubles if trouble.until > now]
        return {trouble.what for trouble in self.troubles if target.startswith(trouble.prefix)}

    def post(
        self, owner: Owner, method: str, target: str, body: bytes | None, content_type: str | None
    ) -> "asyncio.Future[Answer | WatchEnd]":
        """Send a request; the future gets the answer, or the stream of a watch."""
        self.count += 1
        number = self.count
        answer: asyncio.Future[Answer | WatchEnd] = self.loop.create_future()
        faults = {step.what: step.seconds for step in self._faults.get(number, ())}
        path = unquote(target.partition("?")[0])
        if faults:
            self._trace(f"request {number} {method} {path}: {', '.join(faults)}")
        if "crash before" in faults:
            self._crash(owner, 1.0)
            return answer
        delay = self.latency()
        if "crash during" in faults:
            self._crash(owner, 0.5)
            delay += faults["crash during"]
        elif "lost request" in faults or "outage" in self.trouble(target):
            self.later(delay, _fail, answer, f"{method} {path}: the connection broke")
            return answer
        headers = {"user-agent": "simulated", "content-type": content_type or ""}
        request = Request(method, *_split(target), headers, body or b"")
        self.later(delay, self._arrive, owner, number, request, answer, faults)
        return answer

    def _arrive(
        self,
        owner: Owner,
        number: int,
        request: Request,
        answer: "asyncio.Future[Answer | WatchEnd]",
        faults: Mapping[str, float],
    ) -> None:
        path = unquote(request.path)
        self.seen(request.body)
        if "conflict" in faults:
            self._touch(number, request)
        for step in self._faults.get(number, ()):
            if step.write is not None:
                self.written(step)
        trouble = self.trouble(request.path)
        before = self.api.store.revision
        found: Response | WatchStream
        if "too many requests" in faults or "throttle" in trouble:
            found = _refusal(429, "TooManyRequests", "1")
        elif "server error" in faults or "errors" in trouble:
            found = _refusal(500, "InternalError", None)
        else:
            self.actor = owner.name
            found = self.api.handle(request, self.api.faults.judge(request))
            self.actor = ""
        status = found.code if isinstance(found, Response) else 200
        changed = self.api.store.revision != before
        verb = "WATCH" if isinstance(found, WatchStream) else request.method
        self._trace(f"request {number} {owner.name} {verb} {path} -> {status}{' *' if changed else ''}")
        self.sent(Sent(number, self.loop.time(), owner.name, request.method, path, status, changed))
        delay = self.latency() + faults.get("late answer", 0.0)
        if "crash after" in faults:
            self._crash(owner, 0.5)
        if isinstance(found, WatchStream):
            if not owner.alive or answer.done() or "lost answer" in faults:
                self.api.finished(found)
                self.later(delay, _fail, answer, f"{request.method} {path}: the connection broke")
                return
            stream = WatchEnd(self, found, path)
            self._open[stream] = owner
            self.later(delay, _resolve, answer, stream)
        elif "lost answer" in faults:
            self.later(delay, _fail, answer, f"{request.method} {path}: the connection broke before the answer")
        else:
            headers = {name.lower(): value for name, value in found.headers}
            self.later(delay, _resolve, answer, Answer(found.code, headers, found.body))

    def _touch(self, number: int, request: Request) -> None:
        """Somebody else writes to the object of a request; nothing happens if there is none."""
        path = request.path.removesuffix("/status")
        if request.method in ("PUT", "PATCH", "DELETE"):
            headers = {"content-type": "application/merge-patch+json", "user-agent": "somebody"}
            self.api.handle(Request("PATCH", path, "", headers, _TOUCHED % number))

    def closed(self, stream: "WatchEnd") -> None:
        """The client has left a watch, or died."""
        if self._open.pop(stream, None) is not None:
            stream.finish()


def _split(target: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    return path, query


def _refusal(code: int, reason: str, retry_after: str | None) -> Response:
    body = b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"%s","message":"simulated","code":%d}'
    headers = [] if retry_after is None else [("Retry-After", retry_after)]
    return Response(body % (reason.encode(), code), code, headers=headers)


def _resolve(future: "asyncio.Future[Answer | WatchEnd]", value: "Answer | WatchEnd") -> None:
    if not future.done():
        future.set_result(value)
    elif isinstance(value, WatchEnd):
        value.finish()


def _fail(future: "asyncio.Future[Answer | WatchEnd]", message: str) -> None:
    if not future.done():
        future.set_exception(ConnectionFailed(message))
        future.exception()  # whoever waited may be dead: that nobody takes it is no mistake
