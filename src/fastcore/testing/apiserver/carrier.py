"""Carries requests from HTTP to the API and answers back, late or not at all where a fault says so."""

import asyncio
import os
import random
import socket
import struct

from aiohttp import web

from fastcore.testing.apiserver.api import API, BODY_LIMIT
from fastcore.testing.apiserver.audit import AuditLog
from fastcore.testing.apiserver.fault import Verdict
from fastcore.testing.apiserver.faults_admin import PATH, FaultsAdmin
from fastcore.testing.apiserver.message import Request, Response, error_response
from fastcore.testing.apiserver.status import too_large
from fastcore.testing.apiserver.watch import WatchStream

_LONGEST_WATCH = (1800.0, 3600.0)
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Carrier:
    """Serves an API to the HTTP server's connections, in one loop.

    Args:
        api: what answers.
        bookmark_period: seconds between the bookmarks of a watch.
        faults_path: serve `/fastcore/faults`.
        audit: where requests are noted, those excepted that set faults or are never handled; None: nowhere.
    """

    def __init__(self, api: API, bookmark_period: float, faults_path: bool, audit: AuditLog | None = None) -> None:
        self._api = api
        self._admin = FaultsAdmin(api.faults) if faults_path else None
        self._bookmark_period = bookmark_period
        self._audit = audit

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; a watch is carried to its end."""
        try:
            body = await _read_body(http) if http.body_exists else b""
        except ValueError:
            return _carry(error_response(too_large(BODY_LIMIT)))
        path, _, query = http.raw_path.partition("?")
        request = Request(http.method, path, query, http.headers, body)
        if self._admin is not None and path.startswith(PATH):
            return _carry(self._api.refusal(request) or self._admin.handle(request))
        verdict = self._api.faults.judge(request)
        if verdict is not None:
            return await self._obey(http, request, verdict)
        return await self._answer(http, request, self._api.handle(request))

    async def _answer(
        self,
        http: web.BaseRequest,
        request: Request,
        answer: Response | WatchStream,
        delay: float = 0.0,
        lag: float = 0.0,
    ) -> web.StreamResponse:
        if isinstance(answer, Response):
            if self._audit is not None:
                self._audit.note(request, answer.code)
            return _carry(answer)
        if self._audit is None:
            return await self._stream(http, answer, delay, lag)
        self._audit.note(request, 200, stage="ResponseStarted")
        try:
            return await self._stream(http, answer, delay, lag)
        finally:
            self._audit.note(request, 200)

    async def _obey(self, http: web.BaseRequest, request: Request, verdict: Verdict) -> web.StreamResponse:
        if verdict.delay:
            await asyncio.sleep(verdict.delay)
        if verdict.reset == "request":
            return _reset(http)
        answer = self._api.handle(request, verdict)
        if isinstance(answer, Response):
            if verdict.answer_delay:
                await asyncio.sleep(verdict.answer_delay)
        elif verdict.reset:
            self._api.finished(answer)
        if verdict.reset:
            if self._audit is not None:
                self._audit.note(request, answer.code if isinstance(answer, Response) else 200)
            return _reset(http)
        return await self._answer(http, request, answer, verdict.answer_delay, verdict.lag)

    async def _stream(self, http: web.BaseRequest, stream: WatchStream, delay: float, lag: float) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        ready = asyncio.Event()

        def wake() -> None:
            if stream.cut and http.transport is not None:
                # Not in order: a slow client would otherwise keep the writer below waiting for it.
                http.transport.abort()
            ready.set()

        def mark() -> None:
            stream.bookmark()
            timers["mark"] = loop.call_later(self._bookmark_period, mark)

        def finish() -> None:
            stream.bookmark()
            stream.end()

        timers = {
            "mark": loop.call_later(self._bookmark_period, mark),
            "finish": loop.call_later(stream.options.timeout or random.uniform(*_LONGEST_WATCH), finish),
        }
        stream.wake = wake
        try:
            if delay:
                await asyncio.sleep(delay)
            await response.prepare(http)
            while True:
                ready.clear()
                lines = stream.take()
                if lines:
                    await response.write(lines)
                elif stream.ended:
                    break
                else:
                    await ready.wait()
                    if lag:
                        await asyncio.sleep(lag)
        except ConnectionError:
            pass  # the client has gone
        finally:
            for timer in timers.values():
                timer.cancel()
            self._api.finished(stream)
        return response


async def _read_body(http: web.BaseRequest) -> bytes:
    if http.headers.get("Expect", "").lower() == "100-continue" and http.transport is not None:
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = http.content_length
    if length is not None and length > BODY_LIMIT:
        raise ValueError(length)
    if length is not None:
        return await http.content.read(-1)
    chunks = bytearray()
    async for chunk in http.content.iter_chunked(64 * 1024):
        chunks += chunk
        if len(chunks) > BODY_LIMIT:
            raise ValueError(len(chunks))
    return bytes(chunks)


def _carry(answer: Response) -> web.Response:
    response = web.Response(body=answer.body, status=answer.code)
    response.headers["Content-Type"] = answer.content_type
    for name, value in answer.headers:
        response.headers.add(name, value)
    return response


def _reset(http: web.BaseRequest) -> web.Response:
    transport = http.transport
    if transport is not None:
        # Without lingering, closing sends a reset instead of an orderly end.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    return web.Response()
