"""The package data, and the OpenAPI documents made from it."""

import doctest
import importlib
import json

import pytest

from apiserver.generate_builtin import download
from fastcore.testing.apiserver import builtin, openapi
from fastcore.testing.apiserver.resources import BUILT_IN, Resource
from fastcore.testing.kube import KubeServer


@pytest.mark.kube
def test_data_is_that_of_a_real_server(kube_server: KubeServer) -> None:
    """Group 10: types, defaults and keys are facts of the real server; this is how drift shows."""
    assert download(kube_server) == builtin.definitions()


def test_data_has_no_prose() -> None:
    """Group 10: facts only, and small."""
    text = json.dumps(builtin.definitions())
    assert '"description": "' not in text
    assert len(text) < 250_000


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda resource: resource.kind)
def test_every_served_kind_is_described(resource: Resource) -> None:
    """Group 10: each has a schema and a type."""
    assert builtin.schema_for(resource.group, resource.version, resource.kind) is not None
    kind = builtin.type_for(resource.group, resource.version, resource.kind)
    assert kind is not None
    assert {"apiVersion", "kind", "metadata"} <= kind.fields.keys()


def test_every_reference_resolves() -> None:
    """Group 1: documents are complete."""
    for name in openapi.index(BUILT_IN)["paths"]:
        document = openapi.document(BUILT_IN, name)
        assert document is not None
        schemas = json.loads(document.body)["components"]["schemas"]
        text = document.body.decode()
        references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert references == references & schemas.keys()


def test_unknown_document() -> None:
    """Group 1: None, so the server answers 404."""
    assert openapi.document(BUILT_IN, "apis/nonsense/v1") is None


def test_old_form() -> None:
    """Group 1: /openapi/v2 has the same kinds."""
    whole = json.loads(openapi.swagger(BUILT_IN).body)
    assert whole["swagger"] == "2.0"
    pod = whole["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert pod["affinity"] == {"$ref": "#/definitions/io.k8s.api.core.v1.Affinity"}
    assert "#/components" not in json.dumps(whole)


def test_custom_kinds_get_a_document() -> None:
    """Group 1: with the schema of the CRD and a hash that changes with it."""
    hashes = set()
    for description in ("one", "two"):
        schema = {"type": "object", "properties": {"spec": {"type": "object", "description": description}}}
        resource = Resource("x.dev", "v1", "Thing", "things", custom=True, schema=schema)
        document = openapi.document([resource], "apis/x.dev/v1")
        assert document is not None
        hashes.add(document.hash)
        thing = json.loads(document.body)["components"]["schemas"]["dev.x.v1.Thing"]
        assert thing["properties"]["spec"]["description"] == description
    assert len(hashes) == 2


@pytest.mark.parametrize(
    "name",
    ["apply", "builtin", "fieldset", "formats", "last_applied", "openapi", "openapi_paths", "schema", "strategic",
     "typed", "typeschema", "validate"],
)  # fmt: skip
def test_examples(name: str) -> None:
    """Every example in a docstring runs."""
    assert doctest.testmod(importlib.import_module(f"fastcore.testing.apiserver.{name}")).failed == 0
