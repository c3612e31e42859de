"""What the people who operate a controller look at: metrics, health and readiness over HTTP."""

from typing import TYPE_CHECKING, Any

from fastcore.observe.local import local
from fastcore.observe.pages import checks_page, metrics_page
from fastcore.observe.server import HttpRequest, HttpResponse, HttpServer, Page

if TYPE_CHECKING:
    from fastcore.observe.debug import DebugServer
    from fastcore.observe.monitor import PerformanceMonitor

__all__ = [
    "DebugServer",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "Page",
    "PerformanceMonitor",
    "checks_page",
    "local",
    "metrics_page",
]


def __getattr__(name: str) -> Any:
    """What needs more than a server is loaded when it is asked for."""
    if name == "PerformanceMonitor":
        from fastcore.observe.monitor import PerformanceMonitor

        return PerformanceMonitor
    if name == "DebugServer":
        from fastcore.observe.debug import DebugServer

        return DebugServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
