"""The API on real HTTP: a server in a thread of its own, or in the caller's event loop."""

import asyncio
import ipaddress
import math
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Self, TypeVar

from aiohttp import web

from fastcore.testing.apiserver.api import API, Settings
from fastcore.testing.apiserver.audit import AuditLog
from fastcore.testing.apiserver.carrier import Carrier
from fastcore.testing.apiserver.controllers import BUILT_IN_CONTROLLERS, Controllers
from fastcore.testing.apiserver.faults import Faults
from fastcore.testing.apiserver.kubeconfig import write_kubeconfig
from fastcore.testing.apiserver.tls import Certificates, make_certificates

_T = TypeVar("_T")


class APIServer:
    """An embedded Kubernetes API server on a TCP port.

    Everything is kept in memory and gone with this object. Start it as a context manager (`with`: in a thread of its
    own; `async with`: in the running loop), or with `start()` and `stop()`; started again, it has the same port and
    objects as before, like a server that was down for a while.

    Args:
        port: TCP port, 0 for a free one, up to 65535.
        host: address to bind; loopback unless you know better.
        token: bearer token that requests must carry; None: none.
        history: events kept for each kind, > 0; watches and lists from before answer 410.
        bookmark_period: seconds between bookmarks, > 0.
        watch_buffer: events that may wait for a slow watch before it is ended, > 0.
        controllers: which built-in controllers run: "garbage", "namespaces", and "deployments", which makes
            Deployments report their replicas as ready.
        settings: the rest; see `Settings`.
        tls: serve HTTPS, with a certificate by an authority made at the first start; needs the openssl command.
        audit_log: append a line for each request to this file, as kube-apiserver does at the level Metadata.
        faults_path: serve `/fastcore/faults`, where tests of other processes set faults; only on loopback.

    Attributes:
        url: "http://127.0.0.1:PORT", or https.
        ca: the authority's certificate in PEM; "" without TLS.
        api: the API behind it; to be touched in the server's thread only (`call`).

    Raises:
        ValueError: a number is out of its range, or `faults_path` without loopback.
        OSError: the port is taken, there is no openssl, or the audit log cannot be written.

    Example:
        >>> import urllib.request
        >>> with APIServer() as server:
        ...     urllib.request.urlopen(server.url + "/healthz").read()
        b'ok'
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        token: str | None = None,
        history: int = 20_000,
        bookmark_period: float = 60.0,
        watch_buffer: int = 10_000,
        controllers: tuple[str, ...] = BUILT_IN_CONTROLLERS,
        settings: Settings | None = None,
        tls: bool = False,
        audit_log: str | os.PathLike[str] | None = None,
        faults_path: bool = False,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be in 0..65535, not {port}")
        if not 0 < bookmark_period < math.inf:
            raise ValueError(f"bookmark_period must be more than 0 s, and finite, not {bookmark_period}")
        if watch_buffer < 1:
            raise ValueError(f"watch_buffer must be at least 1, not {watch_buffer}")
        if faults_path and not _is_loopback(host):
            raise ValueError(f"faults_path is for loopback only, not for {host!r}: who reaches it can break the server")
        self._host = host
        self._port = port
        self._bookmark_period = bookmark_period
        self._faults_path = faults_path
        self._tls = tls
        self._audit_path = audit_log
        self._audit: AuditLog | None = None
        self._certificates: Certificates | None = None
        self._settings = replace(settings or Settings(), token=token, history=history, watch_buffer=watch_buffer)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runner: web.ServerRunner | None = None
        self.url = ""
        self.ca = ""
        self.api = API(self._settings)
        self.api.faults.call = self.call
        self._controllers = Controllers(self.api, controllers)

    # In a thread

    def start(self) -> Self:
        """Serve from a thread of its own until `stop`; returns when requests can come.

        Raises:
            RuntimeError: it is already running.
            OSError: the port is taken.
        """
        if self._runner is not None:
            raise RuntimeError(f"the API server is already running at {self.url}")
        started: threading.Event = threading.Event()
        failure: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._serve_in_thread, args=(started, failure), name="fastcore-apiserver", daemon=True
        )
        self._thread.start()
        started.wait()
        if failure:
            self._thread.join()
            self._thread = None
            raise failure[0]
        return self

    def _serve_in_thread(self, started: threading.Event, failure: list[BaseException]) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            loop = runner.get_loop()
            try:
                runner.run(self.astart())
            except BaseException as error:
                failure.append(error)
                started.set()
                return
            started.set()
            loop.run_forever()
            runner.run(self.astop())

    def stop(self) -> None:
        """End every connection and the thread; may be called more than once."""
        if self._thread is None:
            return
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # In a running loop

    async def astart(self) -> Self:
        """Serve from the running loop until `astop`; raises as `start` does."""
        if self._runner is not None:
            raise RuntimeError(f"the API server is already running at {self.url}")
        if self._tls and self._certificates is None:
            self._certificates = await asyncio.to_thread(make_certificates, self._host)
            self.ca = self._certificates.ca
        self._loop = asyncio.get_running_loop()
        self._controllers.run_on(self._loop.call_soon)
        if self._audit_path is not None:
            self._audit = AuditLog(self._audit_path)
        carrier = Carrier(self.api, self._bookmark_period, self._faults_path, self._audit)
        self._runner = web.ServerRunner(
            # Without cancellation an idle watch would outlive its client until the next event.
            web.Server(carrier.handle, handler_cancellation=True, auto_decompress=False),
            handle_signals=False,
            shutdown_timeout=1.0,
        )
        await self._runner.setup()
        context = self._certificates.context if self._certificates is not None else None
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=context)
        try:
            await site.start()
        except OSError:
            await self.astop()
            raise
        self._port = self._runner.addresses[0][1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{'https' if self._tls else 'http'}://{host}:{self._port}"
        return self

    async def astop(self) -> None:
        """Stop serving; may be called more than once."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self.api.cut_watches()
        self._controllers.pause()
        await runner.cleanup()
        audit, self._audit = self._audit, None
        if audit is not None:
            audit.close()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(self, *_: object) -> None:
        await self.astop()

    # For tests

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose: `server.faults.error(429, retry_after=1, verbs=("list",))` and the like."""
        return self.api.faults

    def call(self, function: Callable[[], _T], timeout: float = 10.0) -> _T:
        """Run a function in the server's thread, between two requests, and return what it returns."""
        if self._thread is None or threading.current_thread() is self._thread:
            return function()
        assert self._loop is not None

        async def run() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout)

    def cut_watches(self) -> int:
        """End every running watch, as a restart would; returns how many there were."""
        return self.call(self.api.cut_watches)

    def compact(self, revision: int | None = None) -> None:
        """Forget the history up to a revision (None: up to now): older watches, lists and tokens answer 410."""
        self.call(lambda: self.api.store.compact(revision))

    def kubeconfig(self, path: str | os.PathLike[str], workspaces: tuple[str, ...] = ()) -> str:
        """Write a kubeconfig, readable by its owner only, and return its path.

        The context "fastcore" has no workspace; each name in `workspaces` gets a context of its own.
        """
        return write_kubeconfig(path, self.url, self._settings.token, workspaces, self.ca)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
