"""Pages for clients on this host alone."""

import ipaddress
from collections.abc import Awaitable

from fastcore.observe.server import HttpRequest, HttpResponse, Page


def local(page: Page) -> Page:
    """`page` for clients on this host alone, whatever the server listens on; `kubectl port-forward` is one of them."""

    def guarded(request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        try:
            near = ipaddress.ip_address(request.peer.partition("%")[0])
        except ValueError:
            near = None
        if near is None or not (near.is_loopback or (near.version == 6 and _mapped_loopback(near))):
            return HttpResponse(403, b"this page is for clients on the same host: try kubectl port-forward\n")
        return page(request)

    return guarded


def _mapped_loopback(address: "ipaddress.IPv4Address | ipaddress.IPv6Address") -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped is not None and bool(mapped.is_loopback)
