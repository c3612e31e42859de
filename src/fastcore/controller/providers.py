"""Providers of workspaces: a file of names, the contexts of a kubeconfig, the objects of a kind."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path

import msgspec

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig, ConfigError
from fastcore.controller.informer import Informer
from fastcore.controller.model import NAMESPACE, Kind, Resource
from fastcore.controller.workspace import Server, Workspace

log = logging.getLogger("fastcore.controller")

_LOOK_S = 10.0
_CHANGES_S = 0.1  # changes that come together make one set


class NamesInFile:
    """The workspaces of one server whose names stand in a file, one a line; blank lines and "#" comments count not.

    The file is looked at every `period` seconds. While it cannot be read, the last set stays.

    Args:
        config: the server.
        path: the file.
        wildcard: as of `Server.open`.
        period: seconds, > 0.
        sleep: waits so many seconds.

    Raises:
        ValueError: `period` is not above 0.

    Thread safety: for one manager.
    """

    def __init__(
        self,
        config: ClientConfig,
        path: str | Path,
        *,
        wildcard: bool | None = None,
        period: float = _LOOK_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._path = Path(path)
        self._wildcard = wildcard
        self._period = _checked(period)
        self._sleep = sleep

    async def changes(self) -> AsyncGenerator[Iterable[Workspace], None]:
        """See `WorkspaceProvider`."""
        server = await Server.open(self._config, wildcard=self._wildcard)
        present: dict[str, Workspace] | None = None
        try:
            while True:
                try:
                    names = _names(await asyncio.to_thread(self._path.read_text, "utf-8"))
                except (OSError, ValueError) as error:
                    log.warning("the names of workspaces in %s cannot be read: %s", self._path, error)
                else:
                    if present is None or names != set(present):
                        present = {n: (present or {}).get(n) or server.workspace(n) for n in sorted(names)}
                        yield present.values()
                await self._sleep(self._period)
        finally:
            await server.client.close()


class KubeconfigContexts:
    """The contexts of a kubeconfig, each a whole server; new ones come and old ones go as the file changes.

    Args:
        path: the file.
        period: seconds between two looks, > 0.
        sleep: waits so many seconds.

    Raises:
        ValueError: `period` is not above 0.

    Thread safety: for one manager.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        period: float = _LOOK_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = Path(path)
        self._period = _checked(period)
        self._sleep = sleep

    async def changes(self) -> AsyncGenerator[Iterable[Workspace], None]:
        """See `WorkspaceProvider`."""
        present: dict[str, Workspace] = {}
        last: bytes | None = None
        try:
            while True:
                try:
                    content = await asyncio.to_thread(self._path.read_bytes)
                    if content != last:
                        opened = await self._open(_contexts(content))
                        gone, present, last = present, opened, content
                        yield present.values()
                        for workspace in gone.values():
                            await workspace.client.close()
                except (OSError, ValueError, ConfigError) as error:
                    log.warning("the contexts in %s cannot be read: %s", self._path, error)
                await self._sleep(self._period)
        finally:
            for workspace in present.values():
                await workspace.client.close()

    async def _open(self, names: list[str]) -> dict[str, Workspace]:
        """All contexts anew: what the file says of any of them may have changed."""
        opened: dict[str, Workspace] = {}
        try:
            for name in names:
                opened[name] = Workspace(name, Client(await ClientConfig.load(str(self._path), name)))
        except BaseException:
            for workspace in opened.values():
                await workspace.client.close()
            raise
        return opened


class ObjectWorkspaces:
    """A workspace for each object of a kind: namespaces with a label, or the workspaces that a server lists itself.

    Args:
        config: the server, on which the workspaces are, too.
        kind: of the objects; an object's name is the workspace's.
        label_selector: which of them.
        wildcard: as of `Server.open`.

    Thread safety: for one manager.

    Example:
        Manager(workspaces=ObjectWorkspaces(config, label_selector="team"))
    """

    def __init__(
        self,
        config: ClientConfig,
        kind: Kind = NAMESPACE,
        *,
        label_selector: str | None = None,
        wildcard: bool | None = None,
    ) -> None:
        self._config = config
        self._kind = kind
        self._label_selector = label_selector
        self._wildcard = wildcard

    async def changes(self) -> AsyncGenerator[Iterable[Workspace], None]:
        """See `WorkspaceProvider`."""
        server = await Server.open(self._config, wildcard=self._wildcard)
        source = Workspace("workspaces", server.client)
        informer = Informer(source, self._kind, label_selector=self._label_selector)
        changed = asyncio.Event()
        informer.add_handler(_Flag(changed))
        running = asyncio.create_task(informer.run(), name="workspaces of a server")
        present: dict[str, Workspace] | None = None
        try:
            while not informer.synced:
                try:
                    await informer.wait_synced(60)
                except TimeoutError as error:
                    log.warning("which workspaces there are is not known yet: %s", error)
            while True:
                changed.clear()
                names = {
                    obj["metadata"]["name"] for obj in informer.list() if "deletionTimestamp" not in obj["metadata"]
                }
                if present is None or names != set(present):
                    present = {n: (present or {}).get(n) or server.workspace(n) for n in sorted(names)}
                    yield present.values()
                await changed.wait()
                await asyncio.sleep(_CHANGES_S)
        finally:
            await informer.stop()
            await asyncio.wait([running])
            await server.client.close()


class _Flag:
    """A handler that says that something changed."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed

    def on_add(self, obj: Resource, initial: bool) -> None:
        self._changed.set()

    def on_update(self, old: Resource, new: Resource) -> None:
        self._changed.set()

    def on_delete(self, obj: Resource) -> None:
        self._changed.set()


def _names(text: str) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {line for line in lines if line}


def _contexts(content: bytes) -> list[str]:
    try:
        document = msgspec.yaml.decode(content)
        return [context["name"] for context in document["contexts"]]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError(f"it is no kubeconfig: {error}") from error


def _checked(period: float) -> float:
    if not period > 0:
        raise ValueError(f"period must be > 0 seconds, not {period!r}")
    return period
