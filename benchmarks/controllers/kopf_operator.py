"""The reference job as an idiomatic kopf operator: `kopf run --standalone --all-namespaces kopf_operator.py`.

The children are applied server-side through the official client, as kopf's own documentation does it; kopf writes the
status. It hears of new and changed WebApps only: drift of the children passes it by.
"""

import datetime
import hashlib
import json
import os
from typing import Any

import kopf
from kubernetes.aio import client, config

MANAGER = "fastcore"
NAME_LABEL = "app.kubernetes.io/name"
APPLY = "application/apply-patch+yaml"

_api: client.ApiClient
_models: list[type] = []


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
    global _api
    # An Event for each handler that succeeds would be one more write an object.
    settings.posting.enabled = False
    await config.load_kube_config(os.environ["KUBECONFIG"])
    _api = client.ApiClient()
    # Its models are imported when first used: that belongs to the start, not to the first object.
    _models.extend((client.V1ConfigMap, client.V1Deployment))


@kopf.on.cleanup()
async def stop(**_: Any) -> None:
    await _api.close()


@kopf.on.create("apps.fastcore.dev", "v1", "webapps")
@kopf.on.update("apps.fastcore.dev", "v1", "webapps", field="spec")
async def reconcile(
    body: kopf.Body, spec: kopf.Spec, meta: kopf.Meta, status: kopf.Status, patch: kopf.Patch, **_: Any
) -> None:
    name, namespace, generation = meta["name"], meta["namespace"], meta["generation"]
    options = {"field_manager": MANAGER, "force": True, "_content_type": APPLY}
    await client.CoreV1Api(_api).patch_namespaced_config_map(name, namespace, config_map(body), **options)
    await client.AppsV1Api(_api).patch_namespaced_deployment(name, namespace, deployment(body), **options)
    wanted = spec.get("replicas", 1)
    patch.status["observedGeneration"] = generation
    patch.status["phase"] = "Ready" if wanted == 0 else "Progressing"
    patch.status["readyReplicas"] = 0
    ready = "True" if wanted == 0 else "False"
    reason = "ReplicasReady" if wanted == 0 else "RollingOut"
    message = f"0 of {wanted} replicas are ready"
    in_order = "ConfigMap and Deployment are as the spec says"
    patch.status["conditions"] = [
        condition(status, "Synced", "True", generation, "InOrder", in_order),
        condition(status, "Ready", ready, generation, reason, message),
    ]


def condition(status: kopf.Status, kind: str, value: str, generation: int, reason: str, message: str) -> dict[str, Any]:
    since = next(
        (
            old["lastTransitionTime"]
            for old in status.get("conditions") or ()
            if (old["type"], old["status"]) == (kind, value)
        ),
        None,
    )
    return {
        "type": kind,
        "status": value,
        "observedGeneration": generation,
        "lastTransitionTime": since or now(),
        "reason": reason,
        "message": message,
    }


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def child(api_version: str, kind: str, body: kopf.Body) -> dict[str, Any]:
    meta = body["metadata"]
    owner = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "labels": {NAME_LABEL: meta["name"]},
        "ownerReferences": [owner],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def config_map(body: kopf.Body) -> dict[str, Any]:
    return {**child("v1", "ConfigMap", body), "data": dict(body["spec"].get("config") or {})}


def deployment(body: kopf.Body) -> dict[str, Any]:
    spec, labels = body["spec"], {NAME_LABEL: body["metadata"]["name"]}
    settings = dict(spec.get("config") or {})
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    container: dict[str, Any] = {
        "name": "app",
        "image": spec["image"],
        "envFrom": [{"configMapRef": {"name": body["metadata"]["name"]}}],
    }
    if ports := spec.get("ports"):
        container["ports"] = [{"name": p["name"], "containerPort": p["port"], "protocol": "TCP"} for p in ports]
    hashed = hashlib.sha256(text.encode()).hexdigest()[:32]
    template = {
        "metadata": {"labels": labels, "annotations": {"apps.fastcore.dev/config-hash": hashed}},
        "spec": {"containers": [container]},
    }
    return {
        **child("apps/v1", "Deployment", body),
        "spec": {"replicas": spec.get("replicas", 1), "selector": {"matchLabels": labels}, "template": template},
    }
