"""Pages for whoever debugs a controller: /debug/why and /debug/flight, for loopback alone."""

import json
from typing import TYPE_CHECKING

from fastcore.controller.model import Request
from fastcore.controller.why import as_text, why
from fastcore.observe import HttpRequest, HttpResponse, Page, local

if TYPE_CHECKING:
    from fastcore.controller.manager import Manager

WHY = "/debug/why/"
FLIGHT = "/debug/flight"


def why_page(manager: "Manager") -> Page:
    """A page of all that the controllers know of the key in the path: workspace/namespace/name.

    `?format=json` gives JSON, `?controller=NAME` one controller's answer.
    """

    def page(request: HttpRequest) -> HttpResponse:
        parts = request.path.removeprefix(WHY).rsplit("/", 2)
        if len(parts) < 2 or not all((parts[0], parts[-1])):
            text = f"ask {WHY}WORKSPACE/NAMESPACE/NAME, or {WHY}WORKSPACE/NAME of a kind without namespaces\n"
            return HttpResponse(400, text.encode())
        key = Request(parts[0], parts[1] if len(parts) == 3 else "", parts[-1])
        wanted = request.query.get("controller", [])
        found = [why(c, key) for name, c in sorted(manager.controllers.items()) if not wanted or name in wanted]
        if "json" in request.query.get("format", []) or "application/json" in request.headers.get("accept", ""):
            return HttpResponse(200, json.dumps(found, indent=1).encode() + b"\n", "application/json")
        return HttpResponse(200, "\n".join(map(as_text, found)).encode())

    return local(page)


def flight_page(manager: "Manager") -> Page:
    """A page of the flight recorders as JSON lines; `?controller=NAME` is one, `?of=panic` what led to the last bug."""

    def page(request: HttpRequest) -> HttpResponse:
        wanted = request.query.get("controller", [])
        panic = "panic" in request.query.get("of", [])
        lines = [
            line
            for name, controller in sorted(manager.controllers.items())
            if not wanted or name in wanted
            for line in controller.flight.lines(name, panic=panic)
        ]
        return HttpResponse(200, "".join(line + "\n" for line in lines).encode(), "application/x-ndjson")

    return local(page)
