"""Which kinds each workspace serves: the built-in ones everywhere, custom ones where their CRD was applied.

A CRD of the workspace `root` serves every workspace; a workspace's own CRD of the same name takes its place there. So
one `kubectl apply -f crd.yaml` without a prefix is enough for all, and a workspace can still try another version.
"""

from collections.abc import Iterable

from fastcore.testing.apiserver.resources import BUILT_IN, Resource
from fastcore.testing.apiserver.target import ROOT, Key, Target

_Name = tuple[str, str, str]  # group, version, plural


class Registry:
    """Finds the resource that a path names, and lists what a workspace serves."""

    def __init__(self) -> None:
        self._built_in = {(r.group, r.version, r.plural): r for r in BUILT_IN}
        self._by_kind = {(r.group, r.version, r.kind): r for r in BUILT_IN}
        self._by_storage = {r.storage: r for r in reversed(BUILT_IN)}
        self._custom: dict[str, dict[str, tuple[Resource, ...]]] = {}
        self._custom_names: dict[str, dict[_Name, Resource]] = {}
        self.generation = 0

    def lookup(self, workspace: str | None, group: str, version: str, plural: str) -> Resource | None:
        """The resource of that name in a workspace (None: in any); O(1) but for the wildcard."""
        name = (group, version, plural)
        found = self._built_in.get(name)
        if found is not None:
            return found
        for place in self._places(workspace):
            found = self._custom_names.get(place, {}).get(name)
            if found is not None:
                return found
        return None

    def resources(self, workspace: str | None) -> list[Resource]:
        """Everything that a workspace serves (None: that any serves), built-in kinds first."""
        merged: dict[_Name, Resource] = {}
        for place in reversed(self._places(workspace)):
            merged.update(self._custom_names.get(place, {}))
        return [*self._built_in.values(), *(merged[name] for name in sorted(merged))]

    def target(self, group: str, plural: str, key: Key) -> Target | None:
        """The stored object at `key` as something to read and write, in any served version; None if none is served."""
        resource = self._by_storage.get((group, plural))
        if resource is None:
            for place in self._places(key[0]):
                resources = self._custom.get(place, {}).get(f"{plural}.{group}")
                if resources:
                    resource = resources[0]
                    break
            else:
                return None
        return Target(key[0], resource, key[1], key[2])

    def by_kind(self, workspace: str, group: str, version: str, kind: str) -> Resource | None:
        """The resource of a kind; None if the workspace does not serve it."""
        wanted = (group, version, kind)
        found = self._by_kind.get(wanted)
        if found is not None:
            return found
        for place in self._places(workspace):
            for resource in self._custom_names.get(place, {}).values():
                if (resource.group, resource.version, resource.kind) == wanted:
                    return resource
        return None

    def custom(self, workspace: str, crd: str) -> tuple[Resource, ...]:
        """The served versions of a CRD that was applied in that workspace itself."""
        return self._custom.get(workspace, {}).get(crd, ())

    def set_custom(self, workspace: str, crd: str, versions: Iterable[Resource]) -> None:
        """Serve these versions for a CRD of a workspace, in place of those before; none at all removes it."""
        known = self._custom.setdefault(workspace, {})
        known[crd] = tuple(versions)
        if not known[crd]:
            del known[crd]
        self._custom_names[workspace] = {
            (r.group, r.version, r.plural): r for resources in known.values() for r in resources
        }
        self.generation += 1

    def defines(self, workspace: str, crd: str) -> bool:
        """Whether the workspace has a CRD of that name of its own."""
        return crd in self._custom.get(workspace, {})

    def _places(self, workspace: str | None) -> list[str]:
        if workspace is None:
            return [ROOT, *(name for name in self._custom_names if name != ROOT)]
        return [workspace] if workspace == ROOT else [workspace, ROOT]
