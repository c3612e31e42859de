"""Pages for clients on this host alone."""

import ipaddress
from collections.abc import Awaitable
from urllib.parse import urlsplit

from fastcore.observe.server import HttpRequest, HttpResponse, Page


def local(page: Page) -> Page:
    """`page` for clients on this host alone, whatever the server listens on; `kubectl port-forward` is one of them.

    The host must have been asked for by address or as localhost: a browser that was led here under a name of somebody
    else's (DNS rebinding) would give that site the answer.
    """

    def guarded(request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        try:
            near = ipaddress.ip_address(request.peer.partition("%")[0])
        except ValueError:
            near = None
        if near is None or not (near.is_loopback or (near.version == 6 and _mapped_loopback(near))):
            return HttpResponse(403, b"this page is for clients on the same host: try kubectl port-forward\n")
        if not _ours(request.headers.get("host", "localhost")):
            return HttpResponse(403, b"ask for this page by address, or as localhost\n")
        return page(request)

    return guarded


def _ours(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _mapped_loopback(address: "ipaddress.IPv4Address | ipaddress.IPv6Address") -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped is not None and bool(mapped.is_loopback)
