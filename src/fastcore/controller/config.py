"""Where the API server is and how to authenticate: kubeconfig, in-cluster, exec plugins, through `kubernetes.aio`.

`kubernetes` is imported inside the functions that need it: the import takes 0.4 s and 46 MiB, and a client that is
told its server's address does without.
"""

import asyncio
import importlib
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from fastcore.clock import NS_PER_S, Clock, monotonic_ns
from fastcore.controller.endpoint import ConfigError as ConfigError
from fastcore.controller.endpoint import Endpoint

log = logging.getLogger(__name__)

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CHECK_NS = 10 * NS_PER_S  # credentials are looked at again at most this often, and after a 401
_PLUGIN_S = 60.0  # so long an exec plugin or identity provider may take
_SKEW_S = 60.0  # exec credentials are renewed this long before they expire

_NO_CREDENTIALS = "the exec plugin of the kubeconfig gave no credentials; its error is in the log"

Source = Callable[[bool], Awaitable[tuple[str | None, ssl.SSLContext | None]]]
"""Gives the Authorization value and the TLS context; True asks for new credentials after a refusal."""


class ClientConfig:
    """The address of one API server, and the credentials for it.

    Credentials are renewed by themselves: token files are read again, exec plugins run again before their token
    expires, and everything is asked again after a 401 (which is when a token without an expiry turns stale).

    Args:
        server: base URL, "https://host:port" with an optional path.
        token: a fixed bearer token; `load` brings the renewable ones.
        ssl_context: how to verify the server and present a client certificate; None is the system's default trust.
        server_hostname: name expected in the server's certificate (`tls-server-name`); None is the URL's host.
        proxy: URL of an HTTP proxy.
        namespace: the context's default namespace.
        source: renewable credentials instead of `token`.
        clock: integer nanoseconds; only decides when to look at the credentials again.

    Raises:
        ConfigError: `server` is not an http or https URL.

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
        self._headers: dict[str, str] = {"Authorization": f"Bearer {token}"} if token else {}

    @classmethod
    async def load(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """Read a kubeconfig, else the pod's service account.

        Args:
            kubeconfig: path (or several, joined as in $KUBECONFIG); None is $KUBECONFIG, then ~/.kube/config, then
                the service account of the pod.
            context: name of the context; None is the current one.

        Raises:
            ConfigError: nothing was found, or what was found is malformed; the message says where it looked.
        """
        kube = _kubernetes()
        target: Any = importlib.import_module("kubernetes.aio.client").Configuration()
        path = _find(kubeconfig)
        if path is None and (kubeconfig or context):
            raise ConfigError(f"no kubeconfig at {kubeconfig or _default_paths()!r}")
        try:
            if path is None:
                kube.load_incluster_config(target)
                return await cls._finish(target, None, _pod_namespace())
            async with asyncio.timeout(_PLUGIN_S):
                loader = await kube.load_kube_config(path, context, target, persist_config=False)
            if "exec" in (loader._user or ()) and not (target.cert_file or target.api_key):
                raise ConfigError(_NO_CREDENTIALS)
            namespace = loader.current_context["context"].get("namespace")
            return await cls._finish(target, loader, namespace or "default")
        except Exception as error:  # a malformed file makes the loader fail in any way
            reason = str(error) or type(error).__name__
            if path is None:
                raise ConfigError(f"no kubeconfig at {_default_paths()!r}, and not in a pod: {reason}") from error
            raise ConfigError(f"kubeconfig {path!r}, context {context or '(current)'!r}: {reason}") from error

    @classmethod
    async def _finish(cls, target: Any, loader: Any, namespace: str) -> Self:
        source = _Credentials(target, loader)
        authorization, context = await source.current()
        config = cls(
            target.host,
            ssl_context=context,
            server_hostname=target.tls_server_name or None,
            proxy=target.proxy or None,
            namespace=namespace,
            source=source,
        )
        config._accept(authorization, context)
        return config

    async def headers(self, *, refused: bool = False) -> dict[str, str]:
        """The authentication headers of a request; the caller must not change the dict.

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
        self._headers = {"Authorization": authorization} if authorization else {}
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


class _Credentials:
    """The `Source` over what `kubernetes.aio` loaded: `loader` is None in a pod."""

    def __init__(self, target: Any, loader: Any) -> None:
        self._target = target
        self._loader = loader
        self._context: ssl.SSLContext | None = None
        self._certificate: tuple[str | None, str | None] | None = None

    async def __call__(self, refused: bool) -> tuple[str | None, ssl.SSLContext | None]:
        if self._loader is not None:
            async with asyncio.timeout(_PLUGIN_S):
                await self._renew(refused)
        return await self.current()

    async def current(self) -> tuple[str | None, ssl.SSLContext | None]:
        """What is loaded now."""
        value = await self._target.get_api_key_with_prefix("BearerToken")
        certificate = (self._target.cert_file, self._target.key_file)
        if self._target.host.startswith("https") and (self._context is None or certificate != self._certificate):
            self._context, self._certificate = self._tls(), certificate
        return (value.strip() if value else None), self._context

    async def _renew(self, refused: bool) -> None:
        loader = self._loader
        expiry = getattr(loader, "exec_plugin_expiry", None)
        if "exec" in (loader._user or ()):
            if not refused and not (expiry is not None and _expires_within(expiry, _SKEW_S)):
                return
            if expiry is not None:
                del loader.exec_plugin_expiry  # else the loader keeps the token that was refused
            if not await loader.load_from_exec_plugin():
                if expiry is not None:
                    loader.exec_plugin_expiry = expiry
                raise ConfigError(_NO_CREDENTIALS)
        elif loader.provider or refused:
            await loader._load_authentication()
        loader._set_config(self._target)

    def _tls(self) -> ssl.SSLContext:
        context = tls_context(self._target.ssl_ca_cert)
        if self._target.cert_file:
            context.load_cert_chain(self._target.cert_file, self._target.key_file)
        if not self._target.verify_ssl:
            log.warning("the kubeconfig says insecure-skip-tls-verify: %s is not verified", self._target.host)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def tls_context(ca_file: str | None = None, ca_data: str | None = None) -> ssl.SSLContext:
    """A TLS client context that verifies the server against a CA (PEM), or the system's trust without one.

    Clusters' own authorities often lack extensions that Python 3.13 began to insist on, so that one strictness is
    off: chain, validity and host name are verified.
    """
    context = ssl.create_default_context(cafile=ca_file, cadata=ca_data)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def contexts(kubeconfig: str | None = None) -> list[str]:
    """The names of a kubeconfig's contexts, the current one first.

    Raises:
        ConfigError: there is no kubeconfig, or it is malformed.
    """
    kube = _kubernetes()
    path = _find(kubeconfig)
    if path is None:
        raise ConfigError(f"no kubeconfig at {kubeconfig or _default_paths()!r}")
    try:
        found, current = kube.list_kube_config_contexts(path)
    except Exception as error:  # a malformed file makes the loader fail in any way
        raise ConfigError(f"kubeconfig {path!r}: {error}") from error
    return [current["name"], *(c["name"] for c in found if c["name"] != current["name"])]


def _kubernetes() -> Any:
    return importlib.import_module("kubernetes.aio.config")


def _default_paths() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _find(kubeconfig: str | None) -> str | None:
    """The paths as given if at least one of them exists: `kubernetes` skips the others."""
    paths = kubeconfig or _default_paths()
    return paths if any(p and Path(p).expanduser().is_file() for p in paths.split(os.pathsep)) else None


def _pod_namespace() -> str:
    try:
        return (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


def _expires_within(expiry: datetime, seconds: float) -> bool:
    return (expiry - datetime.now(UTC)).total_seconds() < seconds
