"""The `paths` of an OpenAPI v3 document: which operations a kind has, and what they take and return."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastcore.testing.apiserver import builtin
from fastcore.testing.apiserver.resources import Resource

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_STATUS, _OPTIONS, _PATCH = _META + "Status", _META + "DeleteOptions", _META + "Patch"
_SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_QUERY = {
    "list": ("continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "watch"),
    "create": _WRITE,
    "update": _WRITE,
    "patch": (*_WRITE, "force"),
    "delete": ("dryRun", "gracePeriodSeconds", "propagationPolicy"),
    "deletecollection": ("dryRun", "fieldSelector", "labelSelector", "propagationPolicy"),
}
_TYPES = {"limit": "integer", "gracePeriodSeconds": "integer", "watch": "boolean", "force": "boolean"}
_METHODS = {
    "get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete",
    "deletecollection": "delete",
}  # fmt: skip
_ACTIONS = {"create": "post", "update": "put"}  # how the real server names them in x-kubernetes-action
_PATCHES = ("json-patch+json", "merge-patch+json", "apply-patch+yaml")
_STRATEGIC = "strategic-merge-patch+json"  # kubectl makes such a patch only for a kind that lists it


def paths_of(root: str, resource: Resource, schema: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every path of a kind and the operations there.

    Args:
        root: "api/v1" or "apis/GROUP/VERSION".
        resource: the kind.
        schema: name of its schema.

    Example:
        >>> from fastcore.testing.apiserver.resources import BUILT_IN
        >>> [path for path, _ in paths_of("api/v1", BUILT_IN[0], "io.k8s.api.core.v1.ConfigMap")][:2]
        ['/api/v1/namespaces/{namespace}/configmaps', '/api/v1/configmaps']
    """
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    kind = _Kind(gvk, schema, resource.namespaced, resource.custom)
    whole = f"/{root}/{resource.plural}"
    base = f"/{root}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else whole
    yield base, kind.operations(verb for verb in ("list", "create", "deletecollection") if verb in resource.verbs)
    if resource.namespaced:
        yield whole, {"get": _Kind(gvk, schema, False, resource.custom).operation("list")}
    verbs = [verb for verb in ("get", "update", "delete", "patch") if verb in resource.verbs]
    yield f"{base}/{{name}}", kind.operations(verbs, named=True)
    for subresource in resource.subresources:
        of = kind
        if subresource == "scale":
            of = _Kind(_SCALE, str(builtin.name_of("autoscaling", "v1", "Scale")), resource.namespaced, resource.custom)
        verbs = ["update"] if subresource == "finalize" else ["get", "update", "patch"]
        yield f"{base}/{{name}}/{subresource}", of.operations(verbs, named=True)


def answer(schema: str, *, created: bool = False) -> dict[str, Any]:
    """The `responses` of an operation that returns `schema`."""
    content = {"application/json": {"schema": {"$ref": _REF + schema}}}
    out = {"200": {"description": "OK", "content": content}}
    if created:
        out["201"] = {"description": "Created", "content": content}
    return out


@dataclass(frozen=True)
class _Kind:
    """What the operations of a kind (or of Scale) have in common."""

    gvk: dict[str, str]
    schema: str
    namespaced: bool
    custom: bool

    def operations(self, verbs: Iterable[str], *, named: bool = False) -> dict[str, Any]:
        return {_METHODS[verb]: self.operation(verb, named=named) for verb in verbs}

    def operation(self, verb: str, *, named: bool = False) -> dict[str, Any]:
        places = [name for name, there in (("name", named), ("namespace", self.namespaced)) if there]
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in places
        ]
        parameters += [
            {"name": name, "in": "query", "schema": {"type": _TYPES.get(name, "string"), "uniqueItems": True}}
            for name in _QUERY.get(verb, ())
        ]
        returned = {"list": self.schema + "List", "delete": _STATUS, "deletecollection": _STATUS}
        operation: dict[str, Any] = {
            "parameters": parameters,
            "responses": answer(returned.get(verb, self.schema), created=verb == "create"),
            "x-kubernetes-action": _ACTIONS.get(verb, verb),
            "x-kubernetes-group-version-kind": self.gvk,
        }
        if verb in ("create", "update"):
            operation["requestBody"] = {"content": {"*/*": {"schema": {"$ref": _REF + self.schema}}}, "required": True}
        elif verb in ("delete", "deletecollection"):
            operation["requestBody"] = {"content": {"*/*": {"schema": {"$ref": _REF + _OPTIONS}}}}
        elif verb == "patch":
            forms = _PATCHES if self.custom else (*_PATCHES, _STRATEGIC)
            content = {f"application/{form}": {"schema": {"$ref": _REF + _PATCH}} for form in forms}
            operation["requestBody"] = {"content": content, "required": True}
        return operation
