"""Credentials from a program: the ExecCredential protocol of client.authentication.k8s.io."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from fastcore.controller.endpoint import ConfigError
from fastcore.controller.kubeconfig import Section

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_OUTPUT = 1024 * 1024  # bytes of a plugin's output that are read
_SHOWN = 400  # characters of its complaint that are shown

_FAILED = "the exec plugin of the kubeconfig gave no credentials"
_CLUSTER = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")


class ExecCredential(NamedTuple):
    """What a plugin gave: a token, a certificate with its key, or both.

    Attributes:
        token: bearer token, or "".
        certificate: PEM, or b"".
        key: PEM, or b"".
        expires: when, or None.
    """

    token: str
    certificate: bytes
    key: bytes
    expires: datetime | None


class ExecPlugin:
    """Runs the program that a user's `exec` names.

    The program gets no terminal, so that it cannot wait for somebody to type.

    Args:
        settings: the `exec` mapping.
        cluster: told to the plugin if `provideClusterInfo` is set.
        folder: a command with a path is relative to it.
        timeout: seconds that one run may take, > 0.

    Raises:
        ConfigError: the settings are malformed, or ask for what cannot be.
    """

    def __init__(self, settings: Section, cluster: Section, folder: Path, timeout: float) -> None:
        self._version = settings.text("apiVersion")
        self._timeout = timeout
        if self._version not in VERSIONS:
            raise ConfigError(f"apiVersion of {settings.what} must be {' or '.join(VERSIONS)}, not {self._version!r}")
        mode = settings.text("interactiveMode") or "IfAvailable"
        if mode not in ("Never", "IfAvailable"):
            raise ConfigError(f"interactiveMode of {settings.what} is {mode!r}, but a controller has no terminal")
        command = settings.text("command")
        if not command:
            raise ConfigError(f"{settings.what} has no command")
        has_path = os.sep in command or bool(os.altsep and os.altsep in command)
        self._command = str(folder / command) if has_path else command
        self._arguments = settings.texts("args")
        self._hint = settings.text("installHint").strip()
        self._environment = dict(_environment(settings))
        spec: dict[str, Any] = {"interactive": False}
        if settings.flag("provideClusterInfo"):
            spec["cluster"] = _cluster_info(cluster)
        info = {"apiVersion": self._version, "kind": "ExecCredential", "spec": spec}
        self._environment["KUBERNETES_EXEC_INFO"] = json.dumps(info)

    async def run(self) -> ExecCredential:
        """Run it once.

        Raises:
            ConfigError: it cannot be run, fails, takes too long, or prints something else.
        """
        command = shutil.which(self._command)
        if command is None:
            hint = f"; {self._hint[:_SHOWN]}" if self._hint else ""
            raise ConfigError(f"{_FAILED}: there is no program {self._command!r}{hint}")
        try:
            process = await asyncio.create_subprocess_exec(
                command, *self._arguments, env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"{_FAILED}: {self._command!r} cannot be run: {error.strerror}") from error
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(self._timeout):
                output, complaint = await asyncio.gather(_read(process.stdout), _read(process.stderr))
                status = await process.wait()
        except TimeoutError:
            raise ConfigError(f"{_FAILED}: {self._command!r} took longer than {self._timeout} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if status:
            said = complaint.decode(errors="replace").strip()[-_SHOWN:]
            raise ConfigError(f"{_FAILED}: {self._command!r} ended with status {status}: {said or '(no message)'}")
        return self._parse(output)

    def _parse(self, output: bytes) -> ExecCredential:
        try:
            found = json.loads(output)
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("kind") != "ExecCredential":
            raise ConfigError(f"{_FAILED}: {self._command!r} printed no ExecCredential")
        if found.get("apiVersion") != self._version:
            raise ConfigError(
                f"{_FAILED}: {self._command!r} printed apiVersion {found.get('apiVersion')!r}, not {self._version!r}"
            )
        if not isinstance(found.get("status"), dict):
            raise ConfigError(f"{_FAILED}: {self._command!r} printed no status")
        status = Section("the exec plugin's status", found["status"])
        token, certificate, key = (status.text(k) for k in ("token", "clientCertificateData", "clientKeyData"))
        if not token and not certificate:
            raise ConfigError(f"{_FAILED}: {self._command!r} printed neither a token nor a certificate")
        if bool(certificate) != bool(key):
            raise ConfigError(f"{_FAILED}: {self._command!r} printed a certificate or a key, but not both")
        return ExecCredential(token, certificate.encode(), key.encode(), _moment(status.text("expirationTimestamp")))


class Renewing:
    """The latest credentials of a plugin, asked again when they are about to expire or were refused.

    Args:
        plugin: gives them.
        now: the present moment, with a time zone.
        early: seconds before the expiry at which new ones are asked for.
    """

    def __init__(self, plugin: ExecPlugin, now: Callable[[], datetime], early: float = 60.0) -> None:
        self._plugin = plugin
        self._now = now
        self._early = timedelta(seconds=early)
        self._latest: ExecCredential | None = None

    async def get(self, refused: bool) -> ExecCredential:
        """The present credentials; `refused` says that the server does not want them."""
        latest = self._latest
        if latest is None or refused or (latest.expires is not None and self._now() >= latest.expires - self._early):
            self._latest = latest = await self._plugin.run()
        return latest


async def _read(stream: asyncio.StreamReader) -> bytes:
    """All of it, so that the writer never waits, but no more than so much is kept."""
    kept = b""
    while chunk := await stream.read(1 << 16):
        kept += chunk[: _OUTPUT - len(kept)]
    return kept


def _environment(settings: Section) -> list[tuple[str, str]]:
    entries = settings.values.get("env") or []
    if not isinstance(entries, list):
        raise ConfigError(f"env of {settings.what} must be a list of name and value")
    found = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise ConfigError(f"env of {settings.what} must be a list of name and value")
        one = Section(f"env of {settings.what}", entry)
        found.append((one.text("name"), one.text("value")))
    return found


def _cluster_info(cluster: Section) -> dict[str, Any]:
    info = {key: cluster.values[key] for key in _CLUSTER if key in cluster.values}
    authority = cluster.text("certificate-authority")
    if authority and "certificate-authority-data" not in info:
        info["certificate-authority-data"] = base64.b64encode(Path(authority).read_bytes()).decode()
    for extension in cluster.values.get("extensions") or ():
        if isinstance(extension, dict) and extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{_FAILED}: expirationTimestamp {text[:40]!r} is no moment") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
