"""`/debug/`: the dashboard as a page without anything from elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path

from fastcore.observe.dashboard.overview import OVERVIEW, Overview
from fastcore.observe.server import HttpRequest, HttpResponse, HttpServer, Page

DASHBOARD = "/debug/"

_FILES = Path(__file__).parent
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def add_dashboard(server: HttpServer, overview: Overview, guard: Callable[[Page], Page]) -> None:
    """Serve the page, its parts and the JSON that it reads, each through `guard`."""
    for path, name, kind in (
        (DASHBOARD, "index.html", "text/html"),
        (DASHBOARD + "dashboard.css", "dashboard.css", "text/css"),
        (DASHBOARD + "dashboard.js", "dashboard.js", "text/javascript"),
    ):
        server.route(path, guard(_file(name, kind)))

    def read(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, json.dumps(overview.read()).encode() + b"\n", "application/json")

    server.route(OVERVIEW, guard(read))


def _file(name: str, kind: str) -> Page:
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, (_FILES / name).read_bytes(), f"{kind}; charset=utf-8", _POLICY)

    return page
