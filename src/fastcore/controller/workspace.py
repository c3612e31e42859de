"""What a workspace is: a name, and the way to its objects. A path on a server, a namespace, or a kubeconfig context."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self
from urllib.parse import quote

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ApiError, ForbiddenError, NotFoundError
from fastcore.controller.frames import Item, cluster_of, namespace_of, without_cluster
from fastcore.controller.model import NAMESPACE, Kind

_WORTH_SHARING = 8


class Wildcard:
    """The way to the objects of all workspaces of one server at once, and how to tell them apart.

    Args:
        client: reaches all of them, read-only.
        by_namespace: workspaces are namespaces of the server; else they are its clusters.

    Thread safety: immutable; compared by identity.
    """

    __slots__ = ("by_namespace", "client", "place")

    def __init__(self, client: Client, *, by_namespace: bool = False) -> None:
        self.client = client
        self.by_namespace = by_namespace
        self.place: Callable[[Item], str] = namespace_of if by_namespace else cluster_of
        """The name of the workspace that an object is in, or ""."""

    def strip(self, item: Item) -> Item:
        """`item` without what only this way shows, so that it looks as it does when it is read by itself."""
        return item if self.by_namespace else without_cluster(item)

    def covers(self, kind: Kind) -> bool:
        """Whether objects of `kind` can be told apart."""
        return kind.namespaced or not self.by_namespace


class Workspace:
    """One tenant: its objects are reached through `client`, and in `namespace` only if that is set.

    Args:
        name: part of every key and label; not empty.
        client: reaches the workspace's server, with its path prefix.
        namespace: the one namespace that belongs to the workspace; None is every namespace of the server.
        wildcard: watch its objects together with those of all workspaces that have the same one; None is by itself.

    Raises:
        ValueError: the name is empty.

    Thread safety: immutable.
    """

    __slots__ = ("__weakref__", "client", "name", "namespace", "wildcard")

    def __init__(
        self, name: str, client: Client, namespace: str | None = None, wildcard: Wildcard | None = None
    ) -> None:
        if not name:
            raise ValueError("a workspace needs a name")
        self.name = name
        self.client = client
        self.namespace = namespace
        self.wildcard = wildcard

    def __repr__(self) -> str:
        where = self.client.config.address + self.client.prefix
        return f"Workspace({self.name!r}, {where}" + (f", namespace={self.namespace!r})" if self.namespace else ")")


class Workspaces:
    """Several workspaces, in order, and the connections that they share. Close it, or use it with `async with`.

    Raises:
        ValueError: two workspaces have the same name, or there is none.
    """

    def __init__(self, workspaces: Iterable[Workspace], clients: Iterable[Client]) -> None:
        self._by_name: dict[str, Workspace] = {}
        self._clients = list(clients)
        for workspace in workspaces:
            if workspace.name in self._by_name:
                raise ValueError(f"two workspaces are named {workspace.name!r}")
            self._by_name[workspace.name] = workspace
        if not self._by_name:
            raise ValueError("at least one workspace is needed")

    @classmethod
    async def for_server(cls, config: ClientConfig, names: Iterable[str], *, wildcard: bool | None = None) -> Self:
        """The named workspaces of one server, over one pool of connections.

        A server that answers below /clusters/<name> gives each its own path; on any other server, such as a plain
        kube-apiserver, each is the namespace of its name.

        Args:
            config: the server.
            names: of the workspaces.
            wildcard: watch all workspaces of the server together, and take what belongs to these: one watch a kind,
                however many there are, but it brings the others' objects, too. It needs the right to list and watch
                everywhere. None is: where the server has /clusters/* and there are 8 names or more.

        Raises:
            ApiError: the server cannot be asked.
        """
        wanted = list(names)
        if wildcard is None and len(wanted) < _WORTH_SHARING:
            wildcard = False
        server = await Server.open(config, wildcard=wildcard, probe=wanted[0] if wanted else "default")
        try:
            return cls([server.workspace(name) for name in wanted], [server.client])
        except BaseException:
            await server.client.close()
            raise

    @classmethod
    async def for_contexts(cls, names: Iterable[str], kubeconfig: str | None = None) -> Self:
        """One workspace a context of a kubeconfig, each a whole server.

        Raises:
            ConfigError: there is no such context, or its credentials cannot be had.
        """
        clients: list[Client] = []
        workspaces: list[Workspace] = []
        for name in names:
            clients.append(Client(await ClientConfig.load(kubeconfig, name)))
            workspaces.append(Workspace(name, clients[-1]))
        return cls(workspaces, clients)

    @classmethod
    def whole_server(cls, config: ClientConfig, name: str = "default") -> Self:
        """One workspace: all of one server."""
        client = Client(config)
        return cls([Workspace(name, client)], [client])

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        for client in self._clients:
            await client.close()

    def __getitem__(self, name: str) -> Workspace:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Workspace]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Server:
    """One server as a source of workspaces: their names become paths, or namespaces where it has no paths.

    Attributes:
        client: of the server; whoever opened it closes it.

    Thread safety: use from one event loop.
    """

    def __init__(self, client: Client, wildcard: Wildcard | None, *, paths: bool) -> None:
        self.client = client
        self._wildcard = wildcard
        self._paths = paths

    @classmethod
    async def open(cls, config: ClientConfig, *, wildcard: bool | None = None, probe: str = "default") -> Self:
        """Ask a server which of the two it is, and whether it has a wildcard.

        Args:
            config: the server.
            wildcard: whether to watch its workspaces together: None where it has /clusters/*, True also where they are
                namespaces, False never.
            probe: the workspace to ask for.

        Raises:
            ApiError: the server cannot be asked.
        """
        client = Client(config)
        try:
            paths = await _answers(client.scoped(_prefix(probe)), "/api")
            found: Wildcard | None = None
            if wildcard is not False and paths:
                everywhere = client.scoped("/clusters/*")
                if await _answers(everywhere, NAMESPACE.path(), limit=1):
                    found = Wildcard(everywhere)
            elif wildcard and not paths:
                found = Wildcard(client, by_namespace=True)
        except BaseException:
            await client.close()
            raise
        return cls(client, found, paths=paths)

    def workspace(self, name: str) -> Workspace:
        """The workspace of this name."""
        if self._paths:
            return Workspace(name, self.client.scoped(_prefix(name)), wildcard=self._wildcard)
        return Workspace(name, self.client, namespace=name, wildcard=self._wildcard)


def _prefix(name: str) -> str:
    return f"/clusters/{quote(name, safe='')}"


async def _answers(client: Client, path: str, **params: int) -> bool:
    try:
        await client.request("GET", path, params=params)
    except ApiError as error:
        if isinstance(error, NotFoundError | ForbiddenError) or error.status == 405:
            return False
        error.add_note("while asking the server whether it has workspaces below /clusters")
        raise
    return True
