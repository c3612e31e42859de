"""The kinds that the server knows: their names, verbs, subresources and peculiarities."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_NO_FIELDS: dict[str, tuple[str, ...]] = {}


class Scale(NamedTuple):
    """Where a scalable object keeps its replicas and selector: paths of member names."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] | None


class Column(NamedTuple):
    """A column that `kubectl get` prints, as a CRD's additionalPrinterColumns describe it."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, eq=False)
class Resource:
    """One kind in one version.

    Attributes:
        storage: (group, plural) of the collection that holds it; differs from its own for events.k8s.io.
        status: whether `/status` exists, and the main endpoint therefore ignores the status.
        generation: whether metadata.generation counts changes of the spec.
        create_on_update: whether a PUT of a missing object creates it.
        unconditional_update: whether a PUT may leave resourceVersion out.
        returns_deleted: whether DELETE answers with the object instead of a Status.
        orphans: whether deleting without a policy leaves the dependents.
        fields: selectable fields besides name and namespace, and where they are.
        schema: the OpenAPI schema of a custom kind; None for a built-in one.
        terminating: the CRD is being deleted: no more creates.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    singular: str = ""
    list_kind: str = ""
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    storage_group: str | None = None
    status: bool = False
    scale: Scale | None = None
    generation: bool = False
    create_on_update: bool = False
    unconditional_update: bool = True
    returns_deleted: bool = False
    orphans: bool = False
    custom: bool = False
    fields: dict[str, tuple[str, ...]] | None = None
    schema: dict[str, Any] | None = None
    columns: tuple[Column, ...] = ()
    terminating: bool = False
    extra_subresources: tuple[str, ...] = ()

    @cached_property
    def storage(self) -> tuple[str, str]:
        """Key of the collection."""
        return (self.group if self.storage_group is None else self.storage_group, self.plural)

    @cached_property
    def api_version(self) -> str:
        """`group/version`, or `version` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def head(self) -> bytes:
        """The first bytes of every object of this kind; a record's body follows."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()

    @cached_property
    def list_name(self) -> str:
        """Kind of a list of these objects."""
        return self.list_kind or f"{self.kind}List"

    @cached_property
    def protected(self) -> tuple[str, ...]:
        """Members that an update of the object itself leaves as they are."""
        if self.kind == "Namespace" and not self.custom:
            return ("spec", "status")
        return ("status",) if self.status else ()

    @cached_property
    def supported_fields(self) -> tuple[str, ...]:
        """Names that a field selector may use."""
        return ("metadata.name", "metadata.namespace", *(self.fields or _NO_FIELDS))

    @cached_property
    def subresources(self) -> tuple[str, ...]:
        """Names of the subresources, in the order of discovery."""
        served = (*self.extra_subresources, *(("scale",) if self.scale else ()), *(("status",) if self.status else ()))
        # The real server lists those of custom kinds in the order status, scale.
        return tuple(reversed(served)) if self.custom else served

    def selectable(self, obj: dict[str, Any]) -> dict[str, str]:
        """The values of the selectable fields of an object, as text."""
        return {name: _text(dig(obj, path)) for name, path in (self.fields or _NO_FIELDS).items()}


def dig(obj: Any, path: tuple[str, ...]) -> Any:
    """What lies at a path of member names, or None."""
    for member in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(member)
    return obj


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _fields(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(name.split(".")) for name in names}


def _workload(kind: str, short: str, *, scale: bool = True) -> Resource:
    paths = Scale(("spec", "replicas"), ("status", "replicas"), None) if scale else None
    return Resource(
        "apps", "v1", kind, f"{kind.lower()}s", short_names=(short,), categories=("all",), status=True,
        scale=paths, generation=True,
    )  # fmt: skip


def _rbac(kind: str, namespaced: bool) -> Resource:
    group = "rbac.authorization.k8s.io"
    return Resource(group, "v1", kind, f"{kind.lower()}s", namespaced=namespaced, create_on_update=True)


_EVENT_FIELDS = _fields(
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingComponent", "type",
) | {"source": ("source", "component")}  # fmt: skip
# Both kinds of Event lie in one collection, so both select by both sets of names.
_EVENT_FIELDS |= {
    name.replace("involvedObject", "regarding"): path
    for name, path in _EVENT_FIELDS.items()
    if name.startswith("involvedObject")
}

BUILT_IN = (
    Resource("", "v1", "ConfigMap", "configmaps", short_names=("cm",)),
    Resource(
        "", "v1", "Event", "events", short_names=("ev",), create_on_update=True, fields=_EVENT_FIELDS,
    ),
    Resource(
        "", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",), status=True,
        verbs=tuple(verb for verb in VERBS if verb != "deletecollection"), extra_subresources=("finalize",),
        fields=_fields("status.phase"), returns_deleted=True,
    ),
    Resource(
        "", "v1", "Node", "nodes", namespaced=False, short_names=("no",), status=True,
        fields=_fields("spec.unschedulable"),
    ),
    Resource(
        "", "v1", "Pod", "pods", short_names=("po",), categories=("all",), status=True, generation=True,
        returns_deleted=True,
        fields=_fields(
            "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
            "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
        ),
    ),
    Resource("", "v1", "Secret", "secrets", fields=_fields("type")),
    Resource("", "v1", "Service", "services", short_names=("svc",), categories=("all",), status=True,
             create_on_update=True, returns_deleted=True, fields=_fields("spec.clusterIP", "spec.type")),
    Resource("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",), returns_deleted=True),
    Resource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False,
        short_names=("crd", "crds"), categories=("api-extensions",), status=True, generation=True,
        unconditional_update=False,
    ),
    _workload("DaemonSet", "ds", scale=False),
    _workload("Deployment", "deploy"),
    _workload("ReplicaSet", "rs"),
    _workload("StatefulSet", "sts"),
    Resource(
        "batch", "v1", "Job", "jobs", categories=("all",), status=True, generation=True, orphans=True,
        fields=_fields("status.successful"),
    ),
    Resource("coordination.k8s.io", "v1", "Lease", "leases", create_on_update=True, unconditional_update=False),
    Resource(
        "events.k8s.io", "v1", "Event", "events", short_names=("ev",), create_on_update=True, storage_group="",
        fields=_EVENT_FIELDS,
    ),
    _rbac("ClusterRole", False),
    _rbac("ClusterRoleBinding", False),
    _rbac("Role", True),
    _rbac("RoleBinding", True),
)  # fmt: skip
"""The built-in kinds, by group and name."""
