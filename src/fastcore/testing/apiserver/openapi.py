"""The OpenAPI documents of what a workspace serves: `/openapi/v3`, one document a group and version, and `/openapi/v2`.

kubectl asks for them to explain kinds, to learn whether a kind takes `fieldValidation`, and to build strategic merge
patches. Facts only: the documents hold no prose except that of users' own CRDs.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from fastcore.testing.apiserver import builtin
from fastcore.testing.apiserver.openapi_paths import answer, paths_of
from fastcore.testing.apiserver.resources import Resource
from fastcore.testing.apiserver.typeschema import as_resource

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_RESOURCES = _META + "APIResourceList"
_ALWAYS = [_META + name for name in ("Status", "DeleteOptions", "Patch", "APIResourceList")]
_DOCUMENTS = 256  # compiled documents kept in a process: those of the built-in kinds are shared by all servers


class Document(NamedTuple):
    """One OpenAPI document: JSON, and the hash that stands in its URL and its ETag."""

    body: bytes
    hash: str


def index(resources: Iterable[Resource], prefix: str = "") -> dict[str, Any]:
    """What `/openapi/v3` answers: the URL of each document; it changes with the document, so clients may cache.

    Args:
        resources: what is served.
        prefix: the path below which the workspace is served, such as "/clusters/a".

    Example:
        >>> from fastcore.testing.apiserver.resources import BUILT_IN
        >>> index(BUILT_IN, "/clusters/a")["paths"]["apis/apps/v1"]["serverRelativeURL"].partition("=")[0]
        '/clusters/a/openapi/v3/apis/apps/v1?hash'
    """
    return {
        "paths": {
            name: {"serverRelativeURL": f"{prefix}/openapi/v3/{name}?hash={_document(name, served).hash}"}
            for name, served in sorted(_by_path(resources).items())
        }
    }


def document(resources: Iterable[Resource], name: str) -> Document | None:
    """The document of one group and version, such as "apis/apps/v1"; None if it is not served."""
    served = _by_path(resources).get(name)
    return None if served is None else _document(name, served)


def swagger(resources: Iterable[Resource]) -> Document:
    """What `/openapi/v2` answers in JSON: all documents in one, in the older form."""
    return _swagger(tuple(resources))


def _by_path(resources: Iterable[Resource]) -> dict[str, tuple[Resource, ...]]:
    out: dict[str, tuple[Resource, ...]] = {}
    for resource in resources:
        name = f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"
        out[name] = (*out.get(name, ()), resource)
    return out


@lru_cache(_DOCUMENTS)
def _document(name: str, resources: tuple[Resource, ...]) -> Document:
    schemas = {}
    paths: dict[str, Any] = {f"/{name}/": {"get": {"responses": answer(_RESOURCES)}}}
    roots = list(_ALWAYS)
    for resource in resources:
        schemas.update(_custom_schemas(resource))
        paths.update(paths_of(name, resource, schema_name(resource)))
        roots += [schema_name(resource), schema_name(resource) + "List"]
        if resource.scale:
            roots.append(str(builtin.name_of("autoscaling", "v1", "Scale")))
    _reach(roots, schemas)
    return _encoded(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "1.37"},
            "paths": paths,
            "components": {"schemas": dict(sorted(schemas.items()))},
        }
    )


@lru_cache(_DOCUMENTS)
def _swagger(resources: tuple[Resource, ...]) -> Document:
    paths: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for name, served in _by_path(resources).items():
        found = json.loads(_document(name, served).body)
        definitions.update(found["components"]["schemas"])
        for path, operations in found["paths"].items():
            paths[path] = {method: _old_operation(operation) for method, operation in operations.items()}
    whole = {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "1.37"},
        "paths": paths,
        "definitions": {name: _old_schema(schema) for name, schema in definitions.items()},
    }
    text = json.dumps(whole, separators=(",", ":")).replace(_REF, "#/definitions/")
    return _encoded(json.loads(text))


def _encoded(whole: dict[str, Any]) -> Document:
    body = json.dumps(whole, separators=(",", ":")).encode()
    return Document(body, hashlib.sha512(body).hexdigest().upper())


def schema_name(resource: Resource) -> str:
    """The name of a kind's schema: for custom kinds the reversed group, as in "dev.example.v1.Demo"."""
    known = builtin.name_of(resource.group, resource.version, resource.kind)
    if known is not None and not resource.custom:
        return known
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _custom_schemas(resource: Resource) -> dict[str, Any]:
    """The schemas of a custom kind and of its lists, as the real server publishes them."""
    if not resource.custom:
        return {}
    name = schema_name(resource)
    gvk = {"group": resource.group, "version": resource.version}
    schema = as_resource(resource.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    own = {**schema, "x-kubernetes-group-version-kind": [{**gvk, "kind": resource.kind}]}
    text = {"type": "string"}
    listed = {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text,
            "items": {"type": "array", "items": {"$ref": _REF + name}},
            "kind": text,
            "metadata": {"allOf": [{"$ref": _REF + _META + "ListMeta"}]},
        },
        "x-kubernetes-group-version-kind": [{**gvk, "kind": resource.list_name}],
    }
    return {name: own, name + "List": listed}


def _reach(roots: list[str], schemas: dict[str, Any]) -> None:
    """Add every definition that the roots and the schemas refer to."""
    known = builtin.definitions()
    waiting = [*roots, *(name for schema in schemas.values() for name in _references(schema))]
    done = set(schemas)
    while waiting:
        name = waiting.pop()
        if name not in done and name in known:
            done.add(name)
            schemas[name] = known[name]
            waiting += _references(known[name])


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(_REF)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _old_operation(operation: dict[str, Any]) -> dict[str, Any]:
    """An operation as OpenAPI v2 writes it."""
    out = {name: value for name, value in operation.items() if name not in ("parameters", "requestBody", "responses")}
    parameters = [
        {**{name: value for name, value in parameter.items() if name != "schema"}, "type": parameter["schema"]["type"]}
        for parameter in operation.get("parameters", ())
    ]
    body = operation.get("requestBody")
    if body:
        content = next(iter(body["content"].values()))
        parameters.append({"name": "body", "in": "body", "required": True, "schema": content["schema"]})
        out["consumes"] = list(body["content"])
    out["parameters"] = parameters
    out["responses"] = {
        code: {"description": answer["description"], "schema": answer["content"]["application/json"]["schema"]}
        for code, answer in operation["responses"].items()
    }
    out["produces"] = ["application/json"]
    return out


def _old_schema(schema: Any) -> Any:
    """A schema as OpenAPI v2 writes it: a reference stands alone, and there are no alternatives."""
    if isinstance(schema, list):
        return [_old_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if len(schema.get("allOf", ())) == 1 and "$ref" in schema["allOf"][0]:
        return {
            **{name: value for name, value in schema.items() if name not in ("allOf", "default")},
            **schema["allOf"][0],
        }
    if "oneOf" in schema and "properties" not in schema:
        return {"type": "string", **{name: schema[name] for name in ("format",) if name in schema}}
    return {name: _old_schema(value) for name, value in schema.items() if name != "nullable"}
