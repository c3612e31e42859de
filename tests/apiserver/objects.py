"""Objects that the tests of the API servers use, and small questions to ask them."""

import time
from collections.abc import Callable
from typing import Any

from apiserver.http_client import Client

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "conformance.fastcore.dev"


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return {**obj, "data": data} if data is not None else obj


def demo(name: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    spec = {"image": "nginx"} if spec is None else spec
    return {"apiVersion": f"{GROUP}/v1", "kind": "Demo", "metadata": {"name": name, **metadata}, "spec": spec}


def deployment(name: str, *, image: str = "nginx:1", replicas: int | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": image, "ports": [{"containerPort": 80}]}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def create_crd(
    server: Client,
    plural: str,
    kind: str,
    schema: dict[str, Any],
    *,
    subresources: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    scope: str = "Namespaced",
) -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **(extra or {})}
    if subresources is not None:
        version["subresources"] = subresources
    name = f"{plural}.{GROUP}"
    answer = server.post(
        CRD,
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {"group": GROUP, "scope": scope, "names": {"plural": plural, "kind": kind}, "versions": [version]},
        },
    )
    assert answer.code == 201, answer
    with server.watch(CRD, fieldSelector=f"metadata.name={name}") as events:
        for event in events:
            conditions = event["object"].get("status", {}).get("conditions") or []
            if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                break
    wait_until(lambda: server.get(f"/apis/{GROUP}/v1/{plural}").code == 200)


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask until it holds: some things of a real server follow a write by milliseconds, its OpenAPI by seconds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.02)


def managed(obj: dict[str, Any], manager: str, subresource: str = "") -> dict[str, Any]:
    """The fields that a manager owns."""
    entries = [
        entry
        for entry in obj["metadata"].get("managedFields", ())
        if entry["manager"] == manager and entry.get("subresource", "") == subresource
    ]
    return entries[0]["fieldsV1"] if entries else {}


_STRING = {"type": "string"}
DEMO_SUBRESOURCES = {
    "status": {},
    "scale": {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
}
DEMO_EXTRA = {
    "selectableFields": [{"jsonPath": ".spec.image"}],
    "additionalPrinterColumns": [{"name": "Image", "type": "string", "jsonPath": ".spec.image"}],
}
DEMO_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z:0-9.]+$"},
                "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
                "mode": {"type": "string", "enum": ["fast", "safe"]},
                "config": {"type": "object", "additionalProperties": _STRING},
                "plain": {"type": "array", "items": _STRING},
                "set": {"type": "array", "items": _STRING, "x-kubernetes-list-type": "set"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {
                        "type": "object",
                        "required": ["port"],
                        "properties": {
                            "port": {"type": "integer", "maximum": 65535},
                            "protocol": {"type": "string", "default": "TCP"},
                            "name": _STRING,
                        },
                    },
                },
                "block": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "properties": {"a": _STRING, "b": _STRING},
                },
                "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "nothing": {"type": "string", "nullable": True},
                "percent": {"x-kubernetes-int-or-string": True},
                "when": {"type": "string", "format": "date-time"},
                "weights": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer"}},
                "limits": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 2,
                    "additionalProperties": {"type": "integer"},
                },
                "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "multipleOf": 0.5},
                "small": {"type": "integer", "format": "int32"},
                "either": {
                    "type": "object",
                    "properties": {"a": _STRING, "b": _STRING},
                    "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                },
                "some": {"type": "integer", "anyOf": [{"minimum": 5}, {"enum": [1]}]},
                "every": {"type": "integer", "allOf": [{"minimum": 5}]},
                "never": {"type": "integer", "not": {"enum": [3]}},
                "object": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
                "defaults": {
                    "type": "object",
                    "default": {},
                    "properties": {"level": {"type": "string", "default": "info"}},
                },
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": _STRING,
                "replicas": {"type": "integer"},
                "selector": _STRING,
                "conditions": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "items": {
                        "type": "object",
                        "required": ["type"],
                        "properties": {"type": _STRING, "status": _STRING},
                    },
                },
            },
        },
    },
}
