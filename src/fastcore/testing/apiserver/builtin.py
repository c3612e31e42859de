"""OpenAPI schemas of the built-in kinds that the embedded server serves, as package data.

`tests/apiserver/generate_builtin.py` makes the data from a real kube-apiserver.
"""

import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any

from fastcore.testing.apiserver.typeschema import TypeSchema

DATA = files("fastcore.testing.apiserver") / "data" / "openapi.json.gz"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."


@cache
def definitions() -> dict[str, Any]:
    """Every component schema by its name, such as "io.k8s.api.core.v1.Pod"; shared, not to be changed.

    Example:
        >>> definitions()["io.k8s.api.core.v1.ConfigMap"]["properties"]["immutable"]
        {'type': 'boolean'}
    """
    loaded: dict[str, Any] = json.loads(gzip.decompress(DATA.read_bytes()))
    return loaded


@cache
def _names() -> dict[tuple[str, str, str], str]:
    """Schema names by group, version and kind; meta types belong to no group in particular."""
    return {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, schema in definitions().items()
        if not name.startswith(META)
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
    }


def name_of(group: str, version: str, kind: str) -> str | None:
    """The name of a kind's component schema; None if it is not a built-in one."""
    return _names().get((group, version, kind))


def schema_for(group: str, version: str, kind: str) -> dict[str, Any] | None:
    """The OpenAPI v3 schema of a built-in kind, with `$ref`s into `definitions()`; None if unknown.

    Example:
        >>> sorted(schema_for("apps", "v1", "Deployment")["properties"])
        ['apiVersion', 'kind', 'metadata', 'spec', 'status']
    """
    name = name_of(group, version, kind)
    return None if name is None else definitions()[name]


@cache
def type_for(group: str, version: str, kind: str) -> TypeSchema | None:
    """The walkable type of a built-in kind; None if unknown. Built once in a process."""
    schema = schema_for(group, version, kind)
    return None if schema is None else TypeSchema.of(schema, definitions())
