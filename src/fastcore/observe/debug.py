"""A server for the pages about this process, beside whatever the process serves itself."""

import asyncio
import gc
import ipaddress
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from fastcore.observe.dashboard import Overview, add_dashboard
from fastcore.observe.local import local
from fastcore.observe.logs import Levels
from fastcore.observe.logs.pages import LOGLEVEL, loglevel_page
from fastcore.observe.pages import checks_page, metrics_page
from fastcore.observe.profiles import PREFIX, profile_pages
from fastcore.observe.server import HttpRequest, HttpResponse, HttpServer, Page

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PERFORMANCE = "/debug/performance"

_Check = Callable[[], str | None]


class DebugServer:
    """Serves `/metrics`, `/healthz`, `/readyz` and pages for debugging on a port of its own.

    Pages below `/debug/` answer clients on this host alone, unless `authorize` says who else may see them.

    Args:
        host: address to listen on. One that others can reach needs `authorize`.
        port: 0 to 65535; 0 picks a free one, which `port` tells after `start`.
        registry: what `/metrics` shows; None: there is no such page.
        sample: gives a named tuple for `/debug/performance`, such as `fastcore.work.ResourceTracker().sample`.
        authorize: whether a request may see the pages below `/debug/`; others get 403.

    Attributes:
        health: checks of `/healthz` by name, each a function that returns None or what is wrong; may be added to.
        readiness: the same of `/readyz`.

    Raises:
        ValueError: `host` is not a loopback address, and there is no `authorize`.

    Thread safety: belongs to one event loop, whose tasks the pages show.

    Example:
        >>> async def main():
        ...     async with DebugServer() as server:
        ...         server.health["disk"] = lambda: None
        ...         print(f"http://127.0.0.1:{server.port}/")
        >>> asyncio.run(main())  # doctest: +ELLIPSIS
        http://127.0.0.1:.../
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        registry: "CollectorRegistry | None" = None,
        sample: Callable[[], Any] | None = None,
        authorize: Callable[[HttpRequest], bool] | None = None,
    ) -> None:
        if authorize is None and not _is_loopback(host):
            raise ValueError(
                f"host {host!r} can be reached from outside: say by authorize= who may see profiles, or listen on "
                "127.0.0.1"
            )
        self.health: dict[str, _Check] = {}
        self.readiness: dict[str, _Check] = {}
        self._sample = sample
        self._began = time.monotonic()
        self._levels = Levels()
        self._server = server = HttpServer(host, port)
        guard = local if authorize is None else _authorized(authorize)
        if registry is not None:
            server.route("/metrics", metrics_page(registry))
        server.route("/healthz", checks_page(self.health))
        server.route("/readyz", checks_page(self.readiness))
        server.route(PERFORMANCE, guard(self._performance))
        add_dashboard(server, Overview(registry), guard)
        server.route(LOGLEVEL, guard(loglevel_page(self._levels)), put=True)
        server.route_below(PREFIX, guard(profile_pages()))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    def route(self, path: str, page: Page) -> None:
        """Serve one more page at exactly `path`; see `HttpServer.route`."""
        self._server.route(path, page)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had; the message names it.
        """
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening, end what is under way, and put levels back that were changed; safe to call twice."""
        await self._server.stop()
        self._levels.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _performance(self, request: HttpRequest) -> HttpResponse:
        found: dict[str, Any] = {
            "uptime_seconds": round(time.monotonic() - self._began, 3),
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
            "gc": {"counts": gc.get_count(), "collections": [one["collections"] for one in gc.get_stats()]},
        }
        if self._sample is not None:
            found.update(_plain(self._sample()))
        return HttpResponse(200, json.dumps(found, indent=1).encode() + b"\n", "application/json")


def _plain(value: Any) -> Any:
    """Named tuples as objects, with all that they hold."""
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items() if part is not None}
    return value


def _authorized(authorize: Callable[[HttpRequest], bool]) -> Callable[[Page], Page]:
    def guard(page: Page) -> Page:
        return lambda request: page(request) if authorize(request) else HttpResponse(403, b"not allowed\n")

    return guard


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
