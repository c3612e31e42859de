"""What a workspace is: a name, and the way to its objects. A path on a server, a namespace, or a kubeconfig context."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self
from urllib.parse import quote

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ApiError, ForbiddenError, NotFoundError


class Workspace:
    """One tenant: its objects are reached through `client`, and in `namespace` only if that is set.

    Args:
        name: part of every key and label; not empty.
        client: reaches the workspace's server, with its path prefix.
        namespace: the one namespace that belongs to the workspace; None is every namespace of the server.

    Raises:
        ValueError: the name is empty.

    Thread safety: immutable.
    """

    __slots__ = ("client", "name", "namespace")

    def __init__(self, name: str, client: Client, namespace: str | None = None) -> None:
        if not name:
            raise ValueError("a workspace needs a name")
        self.name = name
        self.client = client
        self.namespace = namespace

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
    async def for_server(cls, config: ClientConfig, names: Iterable[str]) -> Self:
        """The named workspaces of one server, over one pool of connections.

        A server that answers below /clusters/<name> gives each its own path; on any other server, such as a plain
        kube-apiserver, each is the namespace of its name.

        Raises:
            ApiError: the server cannot be asked.
        """
        wanted = list(names)
        client = Client(config)
        try:
            if wanted and await _has_paths(client, wanted[0]):
                return cls([Workspace(n, client.scoped(_prefix(n))) for n in wanted], [client])
            return cls([Workspace(n, client, namespace=n) for n in wanted], [client])
        except BaseException:
            await client.close()
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


def _prefix(name: str) -> str:
    return f"/clusters/{quote(name, safe='')}"


async def _has_paths(client: Client, name: str) -> bool:
    try:
        await client.scoped(_prefix(name)).request("GET", "/api")
    except (NotFoundError, ForbiddenError):
        return False
    except ApiError as error:
        error.add_note("while asking the server whether it has workspaces below /clusters")
        raise
    return True
