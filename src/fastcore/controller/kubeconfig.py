"""Kubeconfig files: found, read, merged as kubectl does, and checked; no credentials are used here."""

import base64
import binascii
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fastcore.controller.endpoint import ConfigError

# Values that are paths, relative to the folder of their file.
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class Section(NamedTuple):
    """The settings of a cluster or a user, with what is needed to speak about them.

    Attributes:
        what: such as "user 'admin'".
        values: as in the file; paths are absolute.
    """

    what: str
    values: dict[str, Any]

    def text(self, key: str) -> str:
        """A string, "" if absent.

        Raises:
            ConfigError: it is something else. The value is not shown: it may be a secret.
        """
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ConfigError(f"{key} of {self.what} must be a string, not {type(value).__name__}")
        return value

    def flag(self, key: str) -> bool:
        """A truth value, False if absent."""
        value = self.values.get(key)
        if not (value is None or isinstance(value, bool)):
            raise ConfigError(f"{key} of {self.what} must be true or false, not {type(value).__name__}")
        return bool(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty if absent."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{key} of {self.what} must be a list of strings")
        return tuple(value)

    def section(self, key: str) -> "Section | None":
        """A mapping inside, None if absent."""
        value = self.values.get(key)
        if value is None:
            return None
        return Section(f"{key} of {self.what}", _mapping(value, f"{key} of {self.what}"))

    def data(self, key: str) -> bytes:
        """What `key` has in base64, b"" if absent."""
        try:
            return base64.b64decode(self.text(key), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"{key} of {self.what} is no base64") from None


class Selected(NamedTuple):
    """What one context names.

    Attributes:
        cluster: where the server is.
        user: the credentials.
        namespace: the context's, or "default".
        folder: of the file that has the user; commands with a path are relative to it.
    """

    cluster: Section
    user: Section
    namespace: str
    folder: Path


class Kubeconfig:
    """Several kubeconfig files as one: of settings with the same name, those of the first file count.

    Args:
        paths: joined as in $KUBECONFIG; those that do not exist are skipped.

    Raises:
        ConfigError: a file cannot be read or is malformed; the message names it.
    """

    def __init__(self, paths: str) -> None:
        self.current = ""
        self._found: dict[str, dict[str, dict[str, Any]]] = {"cluster": {}, "user": {}, "context": {}}
        self._folders: dict[str, Path] = {}
        for path in existing(paths):
            self._merge(path)

    @property
    def contexts(self) -> list[str]:
        """The names of the contexts, the current one first."""
        names = list(self._found["context"])
        return sorted(names, key=lambda name: name != self.current)

    def select(self, context: str | None) -> Selected:
        """What a context names; None is the current one.

        Raises:
            ConfigError: there is no such context, or it names what is not there.
        """
        name = context or self.current
        if not name:
            raise ConfigError("there is no current-context: name one")
        chosen = self._section("context", name)
        namespace = chosen.text("namespace") or "default"
        cluster = self._section("cluster", chosen.text("cluster"))
        user = chosen.text("user")
        credentials = self._section("user", user) if user else Section("no user", {})
        return Selected(cluster, credentials, namespace, self._folders.get(user, Path()))

    def _section(self, kind: str, name: str) -> Section:
        found = self._found[kind]
        if name not in found:
            known = ", ".join(repr(other) for other in found) or "none"
            raise ConfigError(f"there is no {kind} {name!r}; it knows {known}")
        return Section(f"{kind} {name!r}", found[name])

    def _merge(self, path: Path) -> None:
        content = _read(path)
        if content is None:  # an empty file says nothing
            return
        document = Section(str(path), _mapping(content, "the file"))
        self.current = self.current or document.text("current-context")
        for kind, found in self._found.items():
            entries = document.values.get(f"{kind}s")
            if not (entries is None or isinstance(entries, list)):
                raise ConfigError(f"{kind}s must be a list")
            for entry in entries or ():
                named = Section(f"an entry of {kind}s", _mapping(entry, f"an entry of {kind}s"))
                name = named.text("name")
                if name in found:
                    continue
                values = dict(_mapping(named.values.get(kind) or {}, f"{kind} {name!r}"))
                for key in _PATHS:
                    if isinstance(values.get(key), str) and values[key]:
                        values[key] = str(path.parent / values[key])
                found[name] = values
                if kind == "user":
                    self._folders[name] = path.parent


def default_paths() -> str:
    """`$KUBECONFIG`, else ~/.kube/config."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def existing(paths: str) -> Iterator[Path]:
    """Those of several paths that are files."""
    for part in paths.split(os.pathsep):
        if part:
            path = Path(part).expanduser().absolute()
            if path.is_file():
                yield path


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            pass  # YAML may begin so, too
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(f"{path} is YAML, and PyYAML is missing: pip install PyYAML") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the whole message would quote the line, with its secrets
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path} is no YAML: {getattr(error, 'problem', None) or 'malformed'}{where}") from None


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{what} must be a mapping, not {type(value).__name__}")
    return value
