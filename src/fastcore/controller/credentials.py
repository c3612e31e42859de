"""The credentials that a kubeconfig or a pod gives, and how they are renewed."""

import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fastcore.controller.endpoint import ConfigError, basic
from fastcore.controller.exec_plugin import ExecPlugin, Renewing
from fastcore.controller.kubeconfig import Section, Selected
from fastcore.controller.tls import Material

log = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLUGIN_S = 60.0  # so long an exec plugin may take
_SKEW_S = 60.0  # exec credentials are renewed this long before they expire

Source = Callable[[bool], Awaitable[tuple[str | None, ssl.SSLContext | None]]]
"""Gives the Authorization value and the TLS context; True asks for new credentials after a refusal."""


class Impersonation(NamedTuple):
    """Whom to act as, if the server lets us: Impersonate-* headers of every request.

    Args:
        user: name of a user, or of a service account as "system:serviceaccount:NAMESPACE:NAME".
        uid: of the user.
        groups: of the user; the server's own groups are not added to them but for "system:authenticated".
        extra: what else is known of the user, several values a key.

    Example:
        >>> Impersonation("jane", groups=("dev", "ops")).headers()["Impersonate-Group"]
        ('dev', 'ops')
    """

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}

    def headers(self) -> dict[str, str | tuple[str, ...]]:
        """The headers; one with several values is sent several times.

        Raises:
            ConfigError: there is no user to act as.
        """
        if not self.user:
            raise ConfigError("impersonation needs a user: a uid, groups or extras alone are refused by every server")
        found: dict[str, str | tuple[str, ...]] = {"Impersonate-User": self.user}
        if self.uid:
            found["Impersonate-Uid"] = self.uid
        if self.groups:
            found["Impersonate-Group"] = self.groups
        for key, values in self.extra.items():
            found[f"Impersonate-Extra-{quote(key, safe=_EXTRA_SAFE)}"] = tuple(values)
        return found


_EXTRA_SAFE = "!#$&'*+-.^_`|~"  # of a header's name; the server decodes the others


class Loaded(NamedTuple):
    """What `ClientConfig` is made of.

    Attributes:
        server: its URL.
        server_hostname: name expected in its certificate, or None.
        proxy: URL, or None.
        namespace: default one.
        impersonate: whom to act as, or None.
        source: of the credentials.
    """

    server: str
    server_hostname: str | None
    proxy: str | None
    namespace: str
    impersonate: Impersonation | None
    source: Source


def from_kubeconfig(selected: Selected, now: Callable[[], datetime]) -> Loaded:
    """What a context of a kubeconfig says.

    Raises:
        ConfigError: it is malformed, or asks for what is not supported.
    """
    cluster, user = selected.cluster, selected.user
    if user.values.get("auth-provider") is not None:
        raise ConfigError(
            f"{user.what} has an auth-provider, which Kubernetes gave up in 1.26: use an exec plugin, such as "
            "gke-gcloud-auth-plugin or kubelogin"
        )
    server = cluster.text("server")
    if not server:
        raise ConfigError(f"{cluster.what} has no server")
    material = Material(
        authority=cluster.text("certificate-authority"),
        authority_data=cluster.data("certificate-authority-data"),
        certificate=user.text("client-certificate"),
        certificate_data=user.data("client-certificate-data"),
        key=user.text("client-key"),
        key_data=user.data("client-key-data"),
        verify=not cluster.flag("insecure-skip-tls-verify"),
    )
    if not material.verify:
        log.warning("the kubeconfig says insecure-skip-tls-verify: %s is not verified", _public(server))
    plugin = user.section("exec")
    renewing = Renewing(ExecPlugin(plugin, cluster, selected.folder, PLUGIN_S), now, _SKEW_S) if plugin else None
    return Loaded(
        server,
        cluster.text("tls-server-name") or None,
        cluster.text("proxy-url") or None,
        selected.namespace,
        _impersonation(user),
        _Credentials(server, material, _authorization(user), renewing),
    )


def from_pod(folder: Path) -> Loaded:
    """What the service account of a pod says.

    Raises:
        ConfigError: this is no pod, or its service account is not mounted.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        namespace = ""
    token = str(folder / "token")
    source = _Credentials(server, Material(authority=str(folder / "ca.crt")), lambda: _bearer_of(token), None)
    return Loaded(server, None, None, namespace or "default", None, source)


class _Credentials:
    """The `Source` of what was loaded: files are read again, and a plugin is asked again in time."""

    def __init__(
        self, server: str, material: Material, authorization: Callable[[], str | None], renewing: Renewing | None
    ) -> None:
        self._tls = server.startswith("https://")
        self._material = material
        self._authorization = authorization
        self._renewing = renewing
        self._version: tuple[object, ...] = ()
        self._context: ssl.SSLContext | None = None

    async def __call__(self, refused: bool) -> tuple[str | None, ssl.SSLContext | None]:
        material, authorization = self._material, self._authorization()
        if self._renewing is not None:
            got = await self._renewing.get(refused)
            if got.token:
                authorization = f"Bearer {got.token}"
            if got.certificate:
                material = material._replace(certificate_data=got.certificate, key_data=got.key)
        if self._tls:
            version = material.version()
            if self._context is None or version != self._version:
                self._context, self._version = material.context(), version
        return authorization, self._context


def _authorization(user: Section) -> Callable[[], str | None]:
    """Gives the value of the Authorization header whenever it is asked; of several settings, the first counts."""
    path, token = user.text("tokenFile"), user.text("token")
    if path:
        return lambda: _bearer_of(path)
    if token:
        return lambda: f"Bearer {token}"
    name, password = user.text("username"), user.text("password")
    if name:
        value = basic(name, password)
        return lambda: value
    return lambda: None


def _bearer_of(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token cannot be read: {error}") from error
    if not token:
        raise ConfigError(f"the token file {path!r} is empty")
    return f"Bearer {token}"


def _impersonation(user: Section) -> Impersonation | None:
    name, uid, groups = user.text("as"), user.text("as-uid"), user.texts("as-groups")
    extra = user.section("as-user-extra")
    if not (name or uid or groups or extra):
        return None
    values = {key: extra.texts(key) for key in extra.values} if extra else {}
    return Impersonation(name, uid, groups, values)


def _public(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
