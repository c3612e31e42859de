"""Which requests a fault concerns: by verb, kind, workspace, namespace and name, the n-th of them, or by chance."""

import random
from dataclasses import dataclass, field
from typing import NamedTuple

from fastcore.testing.apiserver.message import Request
from fastcore.testing.apiserver.target import WILDCARD, parse, split_workspace
from fastcore.testing.apiserver.watch import is_true

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Call(NamedTuple):
    """What a request wants, as far as its path and query tell; `verb` is "" where it names no objects."""

    verb: str
    group: str
    plural: str
    subresource: str
    workspace: str
    namespace: str
    name: str

    @classmethod
    def of(cls, request: Request) -> "Call":
        """The call that a request makes; nothing is looked up, so kinds that are not served have calls as well."""
        workspace, parts = split_workspace(request.path)
        place = workspace if workspace is not None else WILDCARD
        path = parse(workspace, parts) if parts and parts[0] in ("api", "apis") else None
        if path is None or not path.plural:
            return cls("", "", "", "", place, "", "")
        verb = _WRITES.get(request.method, "")
        if not verb:
            watching = path.watch or ("watch=" in request.query and is_true(request.arguments().get("watch", "")))
            verb = "watch" if watching else "get" if path.name else "list"
        elif verb == "delete" and not path.name:
            verb = "deletecollection"
        return cls(verb, path.group, path.plural, path.subresource, place, path.namespace, path.name)


@dataclass(frozen=True)
class Scope:
    """The requests that a fault may hit. What is left out matches everything.

    Args:
        verbs: some of `VERBS`; none: all of them, and discovery too if `kind` is empty.
        kind: plural name, "configmaps" or "deployments.apps"; "webapps/status" means that subresource alone.
        workspace: its name; "*" means requests to the wildcard, not every workspace.
        namespace, name: of the object; a request that names none (a list, a create) does not match a name.
        after: so many matching requests pass first, >= 0; `after=2, count=1` is the third request and no other.
        count: so many are hit, >= 1, then the fault is spent; None: all of them.
        probability: of each request after those, 0 < p <= 1; requests that chance spares do not use up `count`.
        seed: of that chance: the same requests in the same order are hit again.

    Raises:
        ValueError: an argument is out of its range, or a verb is none.
    """

    verbs: tuple[str, ...] = ()
    kind: str = ""
    workspace: str = ""
    namespace: str = ""
    name: str = ""
    after: int = 0
    count: int | None = None
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.verbs, str):
            raise ValueError(f"verbs must be a tuple or a list of names, not {self.verbs!r}: write ({self.verbs!r},)")
        unknown = [verb for verb in self.verbs if verb not in VERBS]
        if unknown:
            raise ValueError(f"no verb {unknown[0]!r}; there are {', '.join(VERBS)}")
        if self.after < 0:
            raise ValueError(f"after must be at least 0, not {self.after}")
        if self.count is not None and self.count < 1:
            raise ValueError(f"count must be at least 1, or None for no limit, not {self.count}")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability must be more than 0 and at most 1, not {self.probability}")

    def matches(self, call: Call) -> bool:
        """Whether the call is of the kind that is meant, whatever number it has."""
        if self.verbs and call.verb not in self.verbs:
            return False
        if self.kind and not self._matches_kind(call):
            return False
        return (
            (not self.workspace or call.workspace == self.workspace)
            and (not self.namespace or call.namespace == self.namespace)
            and (not self.name or call.name == self.name)
        )

    def _matches_kind(self, call: Call) -> bool:
        kind, slash, subresource = self.kind.partition("/")
        if slash and call.subresource != subresource:
            return False
        return kind in (call.plural, f"{call.plural}.{call.group}")


@dataclass
class Dice:
    """Counts what a scope has matched, and says of each matching call whether it is hit."""

    scope: Scope
    seen: int = 0
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.scope.seed)

    def hit(self, call: Call) -> bool:
        """Whether this call is hit; it counts."""
        scope = self.scope
        if self.spent or not scope.matches(call):
            return False
        self.seen += 1
        if self.seen <= scope.after or (scope.probability < 1 and self._random.random() >= scope.probability):
            return False
        self.hits += 1
        return True

    @property
    def spent(self) -> bool:
        """Whether nothing more can be hit."""
        return self.scope.count is not None and self.hits >= self.scope.count
