"""Requests to one API server: prefix, deadlines, retries and watches; bytes in, bytes out."""

import asyncio
import platform
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from fastcore._version import __version__
from fastcore.clock import utc_now
from fastcore.controller.config import ClientConfig
from fastcore.controller.deadlines import Deadline, Deadlines
from fastcore.controller.errors import RequestTimeout, error_from_body
from fastcore.controller.flow import Flow
from fastcore.controller.http_transport import HttpTransport
from fastcore.controller.limits import check_body
from fastcore.controller.transport import APPLY_PATCH as APPLY_PATCH
from fastcore.controller.transport import Transport
from fastcore.controller.turn import TURN
from fastcore.ratelimit import TokenBucket

Params = Mapping[str, str | int | bool | None]

JSON = "application/json"


class Requester:
    """Sends requests below one prefix of a server; what `Client` makes of it says more.

    Thread safety: use from one event loop.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        user_agent: str = f"fastcore/{__version__} ({platform.system().lower()}/{platform.machine()})",
        max_connections: int = 100,
        prefix: str = "",
        timeout: float = 30.0,
        retries: int = 10,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limiter: TokenBucket | None = None,
        transport: Transport | None = None,
        fence: Callable[[], None] | None = None,
        flow: Flow | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be > 0 seconds, not {timeout!r}")
        if retries < 0:
            raise ValueError(f"retries must be >= 0, not {retries!r}")
        self.config = config
        self.prefix = prefix.rstrip("/")
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        self.flow = flow or Flow(limiter)
        self._fence = fence
        self._deadlines = deadlines or Deadlines()
        self._owns_transport = transport is None
        self._transport = transport or HttpTransport(config, user_agent=user_agent, max_connections=max_connections)

    def reaches(self, other: "Requester") -> bool:
        """Whether its requests go where `other`'s go."""
        return self._transport is other._transport and self.prefix == other.prefix

    def scoped(self, prefix: str) -> Self:
        """The same for another prefix over the same connections; closing it leaves them open."""
        return self._view(prefix, self._fence)

    def fenced(self, fence: Callable[[], None]) -> Self:
        """The same over the same connections, but `fence` is asked just before the bytes of anything but a GET go out,
        at each try: what it raises is raised, and nothing is sent (LE-8)."""
        return self._view(self.prefix, fence)

    def apart(self, *, connections: int) -> Self:
        """The same over connections of its own, at most so many; close it, too. A transport that was given and speaks
        no HTTP is shared."""
        transport = None if isinstance(self._transport, HttpTransport) else self._transport
        return type(self)(
            self.config,
            max_connections=connections,
            prefix=self.prefix,
            timeout=self._timeout,
            retries=self._retries,
            sleep=self._sleep,
            transport=transport,
            flow=self.flow,
        )

    def _view(self, prefix: str, fence: Callable[[], None] | None) -> Self:
        return type(self)(
            self.config,
            prefix=prefix,
            timeout=self._timeout,
            retries=self._retries,
            sleep=self._sleep,
            transport=self._transport,
            fence=fence,
            flow=self.flow,
            deadlines=self._deadlines,
        )

    @property
    def stats(self) -> dict[tuple[str, str, str], int]:
        """Answers by (code, method, host) for `rest_client_requests_total`; the code is "<error>" if none came."""
        return self._transport.stats

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        if self._owns_transport:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> bytes:
        """Send one request and return the body of its 2xx answer.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: the quoted path after the prefix.
            params: query; None and False values are left out, True is sent as "true".
            body: sent as it is.
            content_type: of the body; JSON if not given.
            timeout: deadline in seconds, > 0; None is the client's.
            retries: repeats that the server may ask for, >= 0; None is the client's.
        """
        target = self._target(path, params)
        if body is not None:
            content_type = content_type or JSON
            check_body(f"{method} {path}", len(body))
        seconds = self._timeout if timeout is None else timeout
        deadline = self._deadlines.begin(seconds)
        try:
            return await self._with_retries(
                method, target, body, content_type, deadline, self._retries if retries is None else retries
            )
        except BaseException as error:
            if deadline.expired and deadline.caused(error):
                raise RequestTimeout(f"{method} {path} took longer than {seconds} s") from error
            raise
        finally:
            self._deadlines.end(deadline)

    async def watch(
        self,
        path: str,
        params: Params | None = None,
        *,
        idle_timeout: float = 150.0,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The events of a watch as raw JSON lines, until the server ends it; an incomplete last line is dropped.

        Nothing is retried: the caller knows where to resume. Use `contextlib.aclosing`, so that leaving early closes
        the connection at once.

        Args:
            path: of a collection.
            params: query; `watch=1` is added.
            idle_timeout: seconds of silence after which RequestTimeout is raised, > 0 (RF-7).
            opened: called once when the server has accepted the watch.
        """
        target = self._target(path, {**(params or {}), "watch": 1})
        for refused in (False, True):
            async with self._transport.stream(target, timeout=self._timeout, refused=refused) as stream:
                self.flow.answered(stream.status, stream.headers)
                if stream.status == 401 and not refused:
                    continue
                if stream.status != 200:
                    async with asyncio.timeout(self._timeout):
                        body = await stream.read()
                    raise error_from_body(stream.status, body, retry_after=_retry_after(stream.headers))
                if opened is not None:
                    opened()
                async for lines in stream.batches(idle_timeout):
                    for line in lines:
                        yield line
            return

    async def _with_retries(
        self,
        method: str,
        target: str,
        body: bytes | None,
        content_type: str | None,
        deadline: Deadline,
        retries: int,
    ) -> bytes:
        refused = False
        fence = None if method == "GET" else self._fence
        turn = TURN.get()
        limiter = self.flow.limiter
        while True:
            if limiter is not None:
                delay = await self.flow.take(limiter, method, self._sleep)
                if turn is not None:
                    turn.waited(delay)
            sending = self._transport.send(method, target, body, content_type, refused=refused, fence=fence)
            answer = await (sending if turn is None else turn.exchange(sending, method, target))
            self.flow.answered(answer.status, answer.headers)
            if 200 <= answer.status < 300:
                return answer.body
            if answer.status == 401 and not refused:
                refused = True
                continue
            wait = _retry_after(answer.headers)
            error = error_from_body(answer.status, answer.body, retry_after=wait)
            if wait is None or not (answer.status == 429 or answer.status >= 500) or retries == 0:
                raise error
            if asyncio.get_running_loop().time() + wait >= deadline.when:
                raise error  # the deadline would come first: say why, rather than wait in vain
            retries -= 1
            if turn is not None:
                turn.waited(wait)
            await self._sleep(wait)

    def _target(self, path: str, params: Params | None) -> str:
        if not params:
            return self.prefix + path
        query = _query(tuple(params.items()))
        return f"{self.prefix}{path}?{query}" if query else self.prefix + path


@lru_cache(256)  # all writes of one field manager have the same
def _query(params: tuple[tuple[str, str | int | bool | None], ...]) -> str:
    return urlencode({k: "true" if v is True else v for k, v in params if v is not None and v is not False})


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The Retry-After header in seconds >= 0, from either of its forms; None if absent or malformed."""
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - utc_now()).total_seconds())
