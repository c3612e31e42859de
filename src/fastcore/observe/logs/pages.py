"""`/debug/loglevel`: which levels count, and how to change them while the process runs."""

import json

from fastcore.observe.logs.levels import Levels
from fastcore.observe.server import HttpRequest, HttpResponse, Page

LOGLEVEL = "/debug/loglevel"
DEFAULT_SECONDS = 600.0
RESET = "reset"


def loglevel_page(levels: Levels) -> Page:
    """A page that shows the levels, and with PUT changes one for ten minutes, or as long as `seconds` says.

    `PUT ?level=debug&logger=fastcore.controller&seconds=60`; without `logger` it is the root, `seconds=0` is for good,
    `level=reset` puts back what was before. A browser that was led here from another site is refused.
    """

    def page(request: HttpRequest) -> HttpResponse:
        if request.method == "PUT":
            if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                return HttpResponse(403, b"levels are not changed on behalf of another site\n")
            try:
                _change(levels, request)
            except ValueError as error:
                return HttpResponse(400, f"{error}\n".encode())
        shown = [one._asdict() for one in levels.shown()]
        return HttpResponse(200, json.dumps(shown, indent=1).encode() + b"\n", "application/json")

    return page


def _change(levels: Levels, request: HttpRequest) -> None:
    unknown = sorted(set(request.query) - {"level", "logger", "seconds"})
    if unknown:
        raise ValueError(f"level, logger and seconds can be given, not {', '.join(unknown)}")
    level, logger = _one(request, "level"), _one(request, "logger")
    if not level:
        raise ValueError(f"say which: PUT {LOGLEVEL}?level=debug&logger=fastcore.controller&seconds=60")
    if level == RESET:
        levels.reset(logger)
        return
    text = _one(request, "seconds")
    try:
        seconds = float(text) if text else DEFAULT_SECONDS
    except ValueError:
        raise ValueError(f"seconds must be a number, not {text[:40]!r}") from None
    levels.set(level, logger, seconds=seconds or None)


def _one(request: HttpRequest, name: str) -> str:
    return request.query.get(name, [""])[-1]
