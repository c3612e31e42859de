"""The pages that every controller serves: `/metrics`, `/healthz`, `/readyz`."""

import gzip
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fastcore.observe.server import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

GZIP_LEVEL = 1  # text of metrics shrinks to a tenth at any level; a scrape should not hold the loop for more


def metrics_page(registry: "Collector") -> Callable[[HttpRequest], HttpResponse]:
    """A page of `registry` as Prometheus text or OpenMetrics, as asked for, gzipped if allowed (OB4).

    Args:
        registry: a `prometheus_client.CollectorRegistry`.
    """
    from prometheus_client.exposition import choose_encoder

    def page(request: HttpRequest) -> HttpResponse:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = encode(registry)
        if "gzip" in request.headers.get("accept-encoding", ""):
            packed = gzip.compress(body, GZIP_LEVEL)
            return HttpResponse(200, packed, content_type, {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
        return HttpResponse(200, body, content_type, {"Vary": "Accept-Encoding"})

    return page


def checks_page(checks: Mapping[str, Callable[[], str | None]]) -> Callable[[HttpRequest], HttpResponse]:
    """A page that answers 200 "ok" when every check passes, else 503 with the failed ones; `?verbose` lists all.

    Args:
        checks: name of a check to a function that returns None, or what is wrong. Read at each request, so checks
            may be added later.
    """

    def page(request: HttpRequest) -> HttpResponse:
        found = {name: check() for name, check in checks.items()}
        failed = any(problem is not None for problem in found.values())
        lines = [
            f"[+] {name} ok" if problem is None else f"[-] {name} failed: {problem}"
            for name, problem in found.items()
            if problem is not None or "verbose" in request.query
        ]
        if not lines or not failed:
            lines.append("ok")
        return HttpResponse(503 if failed else 200, "\n".join(lines).encode() + b"\n")

    return page
