"""Where to connect to, out of the URLs of a server and of its proxy."""

import base64
import os
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from fastcore.errors import FastcoreError

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[0-9A-Za-z._:%~-]+")
_PATH = re.compile(r"[!-~]*")


class ConfigError(FastcoreError, ValueError):
    """The configuration is missing, malformed, or its credentials cannot be had."""


class Proxy(NamedTuple):
    """An HTTP proxy; `authorization` is the value of Proxy-Authorization, or ""."""

    host: str
    port: int
    authorization: str


class Endpoint(NamedTuple):
    """A server, and the way to it; no field but `authorization` and the proxy's holds a secret.

    Attributes:
        host: name or address, an IPv6 one without brackets.
        port: 1 to 65535.
        tls: the URL is https.
        authority: host and port as in the URL, for the Host header, messages and metrics.
        path: of the URL, without a slash at the end.
        authorization: Basic credentials out of the URL, or "".
        proxy: to go through, or None.
    """

    host: str
    port: int
    tls: bool
    authority: str
    path: str
    authorization: str
    proxy: Proxy | None

    @classmethod
    def of(cls, server: str, proxy: str | None = None) -> "Endpoint":
        """Read the URLs of a server and of a proxy.

        Raises:
            ConfigError: one of them is malformed; the message shows no password.

        Example:
            >>> Endpoint.of("https://10.0.0.1:6443/base/").authority
            '10.0.0.1:6443'
        """
        at, host, port = _split("server", server, ("http", "https"))
        if at.query or at.fragment or not _PATH.fullmatch(at.path):
            raise ConfigError(f"server must be a URL with a quoted path and no query, not {_public(at)!r}")
        return cls(
            host, port, at.scheme == "https", at.netloc.rpartition("@")[2], at.path.rstrip("/"), _basic(at),
            _proxy(proxy) if proxy else None,
        )  # fmt: skip


def _proxy(url: str) -> Proxy:
    at, host, port = _split("proxy", url, ("http",))
    return Proxy(host, port, _basic(at))


def _split(what: str, url: str, schemes: tuple[str, ...]) -> tuple[SplitResult, str, int]:
    allowed = " or ".join(f"{scheme}://" for scheme in schemes)
    kind = f"{what} must be {'an' if what == 'server' else 'a'} {allowed} URL"
    try:
        at = urlsplit(url)
        port = at.port
    except ValueError as error:
        raise ConfigError(f"{kind}, and this one is malformed: {error}") from None
    if at.scheme not in schemes or not at.netloc:
        raise ConfigError(f"{kind}, not {_public(at)!r}")
    if not at.hostname or not _HOST.fullmatch(at.hostname):
        raise ConfigError(f"{kind} with a host, not {_public(at)!r}")
    return at, at.hostname, port or _PORTS[at.scheme]


def _public(at: SplitResult) -> str:
    return at._replace(netloc=at.netloc.rpartition("@")[2]).geturl()


def _basic(at: SplitResult) -> str:
    if at.username is None:
        return ""
    return basic(unquote(at.username), unquote(at.password or ""))


def basic(username: str, password: str) -> str:
    """The value of an Authorization header with a user and password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def environment_proxy(server: str) -> str | None:
    """What $HTTPS_PROXY or $HTTP_PROXY and $NO_PROXY say about a server; loopback is always reached directly."""
    at = Endpoint.of(server)
    name = "https_proxy" if at.tls else "http_proxy"
    proxy = os.environ.get(name) or os.environ.get(name.upper())
    if not proxy or at.host == "localhost" or any(map(_matcher(at), _excluded())):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _excluded() -> list[str]:
    text = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return ["127.0.0.0/8", "::1/128", *(part for part in map(str.strip, text.lower().split(",")) if part)]


def _matcher(at: Endpoint) -> Callable[[str], bool]:
    """Tells whether an entry of $NO_PROXY means the server: a name, its subdomains, an address, a network, "*"."""
    import ipaddress

    host = at.host.lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None

    def matches(entry: str) -> bool:
        if entry == "*":
            return True
        if address is not None:
            try:
                return address in ipaddress.ip_network(entry, strict=False)
            except ValueError:
                pass
        name, colon, port = entry.rpartition(":")
        if colon and port.isdecimal():
            if int(port) != at.port:
                return False
            entry = name.strip("[]")
        entry = entry.removeprefix("*")
        return host == entry.lstrip(".") or host.endswith("." + entry.lstrip("."))

    return matches
