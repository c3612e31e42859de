"""Where the API server is and how to authenticate: a kubeconfig, a pod's service account, or what the caller says."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Self
from urllib.parse import urlsplit

from fastcore.clock import NS_PER_S, Clock, monotonic_ns, utc_now
from fastcore.controller import credentials
from fastcore.controller.credentials import Impersonation as Impersonation
from fastcore.controller.credentials import Loaded, Source
from fastcore.controller.endpoint import ConfigError as ConfigError
from fastcore.controller.endpoint import Endpoint, environment_proxy
from fastcore.controller.kubeconfig import Kubeconfig, default_paths, existing
from fastcore.controller.tls import tls_context as tls_context

log = logging.getLogger(__name__)

Headers = dict[str, str | tuple[str, ...]]

_CHECK_NS = 10 * NS_PER_S  # credentials are looked at again at most this often, and after a 401


class ClientConfig:
    """The address of one API server, and the credentials for it.

    Credentials are renewed by themselves: token files are read again, exec plugins run again before their token
    expires, and everything is asked again after a 401 (which is when a token without an expiry turns stale).

    Args:
        server: base URL, "https://host:port" with an optional path.
        token: a fixed bearer token; `load` brings the renewable ones.
        ssl_context: how to verify the server and present a client certificate; None is the system's default trust.
        server_hostname: name expected in the server's certificate (`tls-server-name`); None is the URL's host.
        proxy: "http://host:port" of an HTTP proxy, perhaps with user and password.
        namespace: the context's default namespace.
        impersonate: whom to act as.
        source: renewable credentials instead of `token`.
        clock: integer nanoseconds; only decides when to look at the credentials again.

    Raises:
        ConfigError: `server` is not an http or https URL, or `proxy` not an http one.

    Thread safety: use from one event loop.

    Example:
        >>> ClientConfig("http://127.0.0.1:8001").namespace
        'default'
    """

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        proxy: str | None = None,
        namespace: str = "default",
        impersonate: Impersonation | None = None,
        source: Source | None = None,
        clock: Clock = monotonic_ns,
    ) -> None:
        self.endpoint = Endpoint.of(server, proxy)
        self.server = server.rstrip("/")
        self.namespace = namespace
        self.server_hostname = server_hostname
        self.proxy = proxy
        self.ssl_context = ssl_context
        if self.ssl_context is None and server.startswith("https://"):
            self.ssl_context = tls_context()
        self._source = source
        self._clock = clock
        self._lock = asyncio.Lock()
        self._next_check = 0
        self._always = impersonate.headers() if impersonate is not None else {}
        self._headers: Headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **self._always}

    @classmethod
    async def load(
        cls,
        kubeconfig: str | None = None,
        context: str | None = None,
        *,
        impersonate: Impersonation | None = None,
        clock: Clock = monotonic_ns,
        now: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Read a kubeconfig, else the pod's service account.

        Args:
            kubeconfig: path (or several, joined as in $KUBECONFIG); None is $KUBECONFIG, then ~/.kube/config, then
                the service account of the pod.
            context: name of the context; None is the current one.
            impersonate: whom to act as; None is what the kubeconfig says.
            clock: as in the constructor.
            now: the time of day, which decides when an exec plugin's credentials expire.

        Raises:
            ConfigError: nothing was found, or what was found is malformed; the message says where it looked.
        """
        paths = kubeconfig or default_paths()
        if not any(existing(paths)):
            if kubeconfig or context:
                raise ConfigError(f"no kubeconfig at {paths!r}")
            try:
                return await cls._of(credentials.from_pod(credentials.SERVICE_ACCOUNT), impersonate, clock)
            except ConfigError as error:
                raise ConfigError(f"no kubeconfig at {paths!r}, and not in a pod: {error}") from error
        try:
            loaded = credentials.from_kubeconfig(Kubeconfig(paths).select(context), now)
            return await cls._of(loaded, impersonate, clock)
        except ConfigError as error:
            raise ConfigError(f"kubeconfig {paths!r}, context {context or '(current)'!r}: {error}") from error

    @classmethod
    async def _of(cls, loaded: Loaded, impersonate: Impersonation | None, clock: Clock) -> Self:
        authorization, context = await loaded.source(False)
        config = cls(
            loaded.server,
            ssl_context=context,
            server_hostname=loaded.server_hostname,
            proxy=loaded.proxy or environment_proxy(loaded.server),
            namespace=loaded.namespace,
            impersonate=impersonate or loaded.impersonate,
            source=loaded.source,
            clock=clock,
        )
        config._accept(authorization, context)
        return config

    def current(self) -> Headers | None:
        """What `headers` would give at once; None if the credentials are to be looked at first."""
        return self._headers if self._source is None or self._clock() < self._next_check else None

    async def headers(self, *, refused: bool = False) -> Headers:
        """The authentication headers of a request; the caller must not change the dict. A tuple is one line each.

        Args:
            refused: the server answered 401 to the present ones, so ask for new ones.

        Raises:
            ConfigError: the plugin or the file that gives the credentials failed, and the present ones were refused.
        """
        source = self._source
        if source is not None and (refused or self._clock() >= self._next_check):
            present = self._headers
            async with self._lock:
                if self._headers is present and (refused or self._clock() >= self._next_check):
                    await self._renew(source, refused)
        return self._headers

    async def _renew(self, source: Source, refused: bool) -> None:
        try:
            self._accept(*await source(refused))
        except Exception as error:
            reason = str(error) or type(error).__name__
            if refused:
                raise ConfigError(f"the server refused the credentials, and there are no new ones: {reason}") from error
            self._next_check = self._clock() + _CHECK_NS
            log.warning("the credentials could not be renewed, the present ones stay in use: %s", reason)

    def _accept(self, authorization: str | None, context: ssl.SSLContext | None) -> None:
        found: Headers = {"Authorization": authorization, **self._always} if authorization else self._always
        if found != self._headers:  # the same dict as long as nothing has changed
            self._headers = found
        if context is not None:
            self.ssl_context = context
        self._next_check = self._clock() + _CHECK_NS

    @property
    def address(self) -> str:
        """`server` without a user and password, for people to see."""
        at = urlsplit(self.server)
        return at._replace(netloc=at.netloc.rpartition("@")[2]).geturl()

    def __repr__(self) -> str:
        return f"ClientConfig({self.address!r}, namespace={self.namespace!r})"


def contexts(kubeconfig: str | None = None) -> list[str]:
    """The names of a kubeconfig's contexts, the current one first.

    Raises:
        ConfigError: there is no kubeconfig, or it is malformed.
    """
    paths = kubeconfig or default_paths()
    if not any(existing(paths)):
        raise ConfigError(f"no kubeconfig at {paths!r}")
    try:
        found = Kubeconfig(paths).contexts
    except ConfigError as error:
        raise ConfigError(f"kubeconfig {paths!r}: {error}") from error
    if not found:
        raise ConfigError(f"kubeconfig {paths!r} has no contexts")
    return found
