"""What is simulated: the controller, what users do, and what must hold."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from fastcore.controller.manager import Manager
from fastcore.controller.model import Kind, Resource
from fastcore.testing.apiserver.controllers import BUILT_IN_CONTROLLERS
from fastcore.testing.apiserver.message import Request, Response
from fastcore.testing.simulate.schedule import FAULTS, Write

_LEASES_ONLY = frozenset({"lost lease"})


class State:
    """The server's objects, read between two steps.

    Args:
        read: answers a request of the API.
    """

    def __init__(self, read: Callable[[Request], Any]) -> None:
        self._read = read

    def get(self, kind: Kind, namespace: str | None, name: str, *, workspace: str = "") -> Resource | None:
        """The object, or None; `workspace` as in `World.workspaces`."""
        return self.ask(_place(workspace) + kind.path(namespace, name))

    def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        workspace: str = "",
        selectors: Mapping[str, str] | None = None,
    ) -> list[Resource]:
        """The objects of a kind, in one namespace or in all, in order."""
        query = "&".join(f"{name}={value}" for name, value in (selectors or {}).items())
        found = self.ask(_place(workspace) + kind.path(namespace), query)
        items: list[Resource] = (found or {}).get("items") or []
        return items

    def ask(self, path: str, query: str = "") -> Resource | None:
        """What the server answers to a GET; None if that is no success."""
        answer = self._read(Request("GET", path, query))
        if not isinstance(answer, Response) or answer.code >= 300:
            return None
        found: Resource = msgspec.json.decode(answer.body)
        return found


Check = Callable[[State], str | None]
"""Returns None, or what is wrong, in words."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A controller and its surroundings.

    Args:
        start: adds the controllers to a new `Manager`, as the program's `main` does. It is called at the start and
            after each crash: what it makes is all that a new process has.
        writes: what users do in one run, from a seeded generator; `create`, `edit` and `delete` make writes.
        converged: None once the server's state is as it should be, else what is missing. It is asked after the last
            fault and the last write.
        setup: objects that are there before the controller starts, such as CustomResourceDefinitions.
        always: None, or what is wrong; asked after every write of anybody.
        workspaces: names; each gets all of `setup`. None is the whole server, as one workspace.
        replicas: processes that run side by side, >= 1.
        manager: more arguments for each `Manager`, from the process's name, such as its leader election.
        faults: which of `FAULTS` may happen; "lost lease" is left out where there is but one replica.
        cluster: built-in controllers of the server that run, of "garbage", "namespaces" and "deployments".
        adopts: whether the controller may write to objects of the kinds it owns that somebody else has made.
        quiet: seconds without any write after which the controller counts as quiet, > 0.
        settle: seconds that it may take to converge and go quiet, > `quiet`.
        writes_per_object: changes of one object by the controller at most, >= 1.
        reconciles_per_minute: of one object at most, once it is quiet, >= 1.

    Raises:
        ValueError: an argument outside its range.

    Example:
        world = World(
            setup=[crd()],
            start=build,
            writes=lambda random: [create(WEBAPP, webapp("a")), delete(WEBAPP, "default", "a")],
            converged=lambda state: None,
        )
    """

    start: Callable[[Manager], object]
    writes: Callable[[Random], Iterable[Write]]
    converged: Check
    setup: Sequence[Resource] = ()
    always: Check | None = None
    workspaces: tuple[str, ...] | None = None
    replicas: int = 1
    manager: Callable[[str], Mapping[str, Any]] = field(default=lambda name: {})
    faults: Iterable[str] = FAULTS
    cluster: tuple[str, ...] = BUILT_IN_CONTROLLERS
    adopts: bool = False
    quiet: float = 300.0
    settle: float = 7200.0
    writes_per_object: int = 60
    reconciles_per_minute: int = 60

    def __post_init__(self) -> None:
        unknown = set(self.faults) - set(FAULTS)
        if unknown:
            raise ValueError(f"there is no fault {min(unknown)!r}; there are: {', '.join(FAULTS)}")
        if self.workspaces is not None and not self.workspaces:
            raise ValueError("workspaces must name one or be None, which is the whole server")
        for name in ("replicas", "writes_per_object", "reconciles_per_minute"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, not {getattr(self, name)!r}")
        if not 0 < self.quiet < self.settle < math.inf:
            raise ValueError(f"0 < quiet < settle is needed, not quiet={self.quiet!r}, settle={self.settle!r}")

    @property
    def drawn_faults(self) -> frozenset[str]:
        """The faults that can mean something here."""
        return frozenset(self.faults) - (_LEASES_ONLY if self.replicas == 1 else frozenset())

    @property
    def prefixes(self) -> dict[str, str]:
        """The workspaces' names, and what is put before their paths."""
        if self.workspaces is None:
            return {"default": ""}
        return {name: _place(name) for name in self.workspaces}


def create(kind: Kind, obj: Resource, *, workspace: str = "") -> Write:
    """A user creates an object."""
    whole = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
    namespace = obj["metadata"].get("namespace") if kind.namespaced else None
    return Write("POST", _place(workspace) + kind.path(namespace), whole)


def edit(
    kind: Kind,
    namespace: str | None,
    name: str,
    patch: Resource,
    *,
    subresource: str | None = None,
    workspace: str = "",
) -> Write:
    """A user changes an object by a merge patch; nothing happens if it is not there."""
    return Write("PATCH", _place(workspace) + kind.path(namespace, name, subresource), patch)


def delete(
    kind: Kind, namespace: str | None, name: str, *, propagation: str | None = None, workspace: str = ""
) -> Write:
    """A user deletes an object; nothing happens if it is not there."""
    body = None if propagation is None else {"propagationPolicy": propagation}
    return Write("DELETE", _place(workspace) + kind.path(namespace, name), body)


def _place(workspace: str) -> str:
    return f"/clusters/{workspace}" if workspace else ""
