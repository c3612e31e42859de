"""Puts the writes of a batch in order: by object, and in waves of what may run at the same time.

Writes to one object keep their order and never overlap; one that says again what the one before it says is not sent
again. Everything else follows what needs what: an object comes after its owners, after a CRD that defines it, after
what its `after` names, and after the kinds that it usually needs (a Namespace before what lives in it, a ConfigMap
before the Deployment that mounts it). Within a kind, creations come before changes. Deletions come last, in reverse.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastcore.controller.client import JSON_PATCH
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION, Kind
from fastcore.controller.writes import Apply, Create, Delete, Patch, Target, Write, key_of_write, target_of
from fastcore.errors import FastcoreError

# What is needed comes before what needs it. The kinds of other groups come in the middle of the last two lines.
_KINDS = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("PriorityClass", "StorageClass", "RuntimeClass", "IngressClass"),
    ("ResourceQuota", "LimitRange", "NetworkPolicy"),
    ("ServiceAccount",),
    ("ClusterRole", "Role"),
    ("ClusterRoleBinding", "RoleBinding"),
    ("ConfigMap", "Secret"),
    ("PersistentVolume",),
    ("PersistentVolumeClaim",),
    ("Service",),
    ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob"),
    ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "EndpointSlice", "Endpoints"),
)
_GROUPS = frozenset({
    "", "apiextensions.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "node.k8s.io", "networking.k8s.io", "apps",
    "rbac.authorization.k8s.io", "batch", "autoscaling", "policy", "discovery.k8s.io",
})  # fmt: skip
_RANKS = {kind: rank for rank, kinds in enumerate(_KINDS) for kind in kinds}
_OTHER = len(_KINDS)
# They stand in the way of other writes as soon as they exist, so they come when those are through.
_LAST = {
    ("apiregistration.k8s.io", "APIService"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
}


_WHOLE = (Create, Apply)  # they carry an object


class PlanError(FastcoreError, ValueError):
    """The writes of a batch wait for each other in a circle; the message names them."""


class _Position(NamedTuple):
    """When something is done: deletions after all else, then by kind, creations before changes, then what waits."""

    deletes: bool
    rank: int
    changes: bool
    wait: int = 0


@dataclass(slots=True, eq=False)
class Chain:
    """The writes of one run to one object, in their order.

    Attributes:
        target: the object.
        places: where its writes stand in the run; a write that repeats the one before it is in `repeats` instead.
        repeats: place of a write that need not be sent to the place of the one that it repeats.
        needs: what has to succeed first.
        defines: for a CRD, a kind that it defines, if the run writes any of it.
    """

    target: Target
    places: list[int]
    repeats: dict[int, int] = field(default_factory=dict)
    needs: list["Chain"] = field(default_factory=list)
    defines: Kind | None = None


def waves(writes: Sequence[Write], live: Sequence[Mapping[str, Any] | None]) -> list[list[Chain]]:
    """The chains of `writes`, in waves: those of one wave may run at the same time, each after the wave before it.

    Args:
        writes: in the order given.
        live: for each of them the live object, if that is known: an apply without one is a creation.

    Raises:
        PlanError: writes wait for each other.

    Complexity: O(n log n) for n writes.
    """
    chains = _chains(writes)
    by_target = {chain.target: chain for chain in chains}
    _add_needs(writes, chains, by_target)
    positions: dict[int, _Position] = {}
    for chain in chains:
        _place(chain, writes, live, positions, [])
    found: dict[_Position, list[Chain]] = {}
    for chain in chains:
        found.setdefault(positions[id(chain)], []).append(chain)
    return [found[position] for position in sorted(found)]


def _chains(writes: Sequence[Write]) -> list[Chain]:
    chains: list[Chain] = []
    by_target: dict[Target, Chain] = {}
    for place, write in enumerate(writes):
        target = target_of(write)
        chain = by_target.get(target) if target.name else None
        if chain is None:
            chain = Chain(target, [place])
            chains.append(chain)
            if target.name:
                by_target[target] = chain
        elif _repeats(writes[chain.places[-1]], write):
            chain.repeats[place] = chain.places[-1]
        else:
            chain.places.append(place)
    return chains


def _repeats(before: Write, write: Write) -> bool:
    """A JSON patch may do something else the second time; everything else is done when it is done."""
    return before == write and not (isinstance(write, Patch) and write.patch_type == JSON_PATCH)


def _add_needs(writes: Sequence[Write], chains: list[Chain], by_target: Mapping[Target, Chain]) -> None:
    definitions: dict[tuple[str, str], Chain] = {}
    for chain in chains:
        if chain.target[:2] == (CUSTOM_RESOURCE_DEFINITION.group, CUSTOM_RESOURCE_DEFINITION.kind):
            for write in _bodies(writes, chain):
                spec = write.obj.get("spec") or {}
                definitions[spec.get("group", ""), (spec.get("names") or {}).get("kind", "")] = chain
    kinds = {target.kind for target in by_target}
    for chain in chains:
        needed = {id(chain): chain}
        for place in chain.places:
            for other in writes[place].after:
                _need(needed, by_target.get(target_of(other)))
        for write in _bodies(writes, chain):
            for owner in (write.obj.get("metadata") or {}).get("ownerReferences") or ():
                if isinstance(owner, Mapping):  # what is none is for the server to refuse
                    _need(needed, _owner(owner, chain.target.namespace, kinds, by_target))
        if definitions and (crd := definitions.get(chain.target[:2])) is not None:
            _need(needed, crd)
            crd.defines = writes[chain.places[0]].kind
        chain.needs = [other for other in needed.values() if other is not chain]


def _bodies(writes: Sequence[Write], chain: Chain) -> Iterable[Create | Apply]:
    return (write for place in chain.places if isinstance(write := writes[place], _WHOLE))


def _need(needed: dict[int, Chain], chain: Chain | None) -> None:
    if chain is not None:
        needed[id(chain)] = chain


def _owner(
    owner: Mapping[str, Any], namespace: str, kinds: Collection[str], by_target: Mapping[Target, Chain]
) -> Chain | None:
    """The chain of an owner in this run, of one of the `kinds` there are: in the same namespace, or in none (WR-7)."""
    kind = owner.get("kind", "")
    if kind not in kinds:
        return None
    group, _, _ = owner.get("apiVersion", "").rpartition("/")
    name = owner.get("name", "")
    return by_target.get(Target(group, kind, namespace, name)) or by_target.get(Target(group, kind, "", name))


def _place(
    chain: Chain,
    writes: Sequence[Write],
    live: Sequence[Mapping[str, Any] | None],
    positions: dict[int, _Position],
    path: list[Chain],
) -> _Position:
    known = positions.get(id(chain))
    if known is not None:
        return known
    path.append(chain)
    position = _own_position(chain, writes, live)
    for other in chain.needs:
        if other in path:
            circle = path[path.index(other) :]
            raise PlanError(
                "these writes wait for each other: "
                + " after ".join(key_of_write(writes[c.places[0]]) for c in [*circle, other])
            )
        before = _place(other, writes, live, positions, path)
        position = max(position, before._replace(wait=before.wait + 1))
    path.pop()
    positions[id(chain)] = position
    return position


def _own_position(chain: Chain, writes: Sequence[Write], live: Sequence[Mapping[str, Any] | None]) -> _Position:
    rank = _rank(chain.target.group, chain.target.kind)
    for place in chain.places:
        write = writes[place]
        if not isinstance(write, Delete):
            creates = isinstance(write, Create) or (isinstance(write, Apply) and live[place] is None)
            return _Position(False, rank, not creates)
    return _Position(True, -rank, False)


def _rank(group: str, kind: str) -> int:
    if group in _GROUPS:
        return _RANKS.get(kind, _OTHER)
    return _OTHER + 1 if (group, kind) in _LAST else _OTHER
