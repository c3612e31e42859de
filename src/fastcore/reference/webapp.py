"""The WebApp: its kind, what its schema cannot check, and the children that it asks for."""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, Kind, Resource

WEBAPP = Kind("apps.fastcore.dev", "v1", "WebApp", "webapps")
FIELD_MANAGER = "fastcore"
NAME_LABEL = "app.kubernetes.io/name"
CONFIG_HASH = "apps.fastcore.dev/config-hash"
CONTAINER = "app"

MAX_NAME = 63  # the name becomes a label's value
MAX_CONFIG_BYTES = 1024 * 1024  # the API server's limit for a ConfigMap
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")

_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


def problems(webapp: Resource) -> Iterator[str]:
    """What is wrong with a WebApp although its schema accepts it: the children's own rules would refuse it."""
    name, spec = webapp["metadata"]["name"], webapp["spec"]
    if len(name) > MAX_NAME:
        yield f"metadata.name has {len(name)} characters, but it becomes a label: at most {MAX_NAME}"
    image = spec["image"]
    if image != image.strip() or not image:
        yield f"spec.image must not be empty nor begin or end with white space: {image!r}"
    size = 0
    for key, value in spec.get("config", {}).items():
        size += len(key.encode()) + len(value.encode())
        if not _CONFIG_KEY.fullmatch(key) or key in (".", "..") or key.startswith(".."):
            yield f"spec.config: {key!r} is no key of a ConfigMap: letters, digits, '-', '_' and '.', at most 253"
    if size > MAX_CONFIG_BYTES:
        yield f"spec.config has {size} bytes; a ConfigMap holds {MAX_CONFIG_BYTES}"
    names: set[str] = set()
    numbers: set[int] = set()
    for port in spec.get("ports", ()):
        name, number = port["name"], port["port"]
        if name in names:
            yield f"spec.ports: two ports are named {name!r}"
        if number in numbers:
            yield f"spec.ports: two ports have the number {number}"
        if not any(c.isalpha() for c in name) or "--" in name:
            yield f"spec.ports: a port's name needs a letter and no '--': {name!r}"
        names.add(name)
        numbers.add(number)


def config_hash(config: Mapping[str, str]) -> str:
    """Changes when the configuration does, and only then: a new process or version must not restart every pod."""
    return sha256(_encode_sorted(config)).hexdigest()[:32]


def config_map(webapp: Resource) -> Resource:
    """The ConfigMap that a WebApp asks for: the fields that this controller owns."""
    child = _child(CONFIG_MAP, webapp)
    config = webapp["spec"].get("config")
    if config:
        child["data"] = config
    return child


def deployment(webapp: Resource) -> Resource:
    """The Deployment that a WebApp asks for: the fields that this controller owns."""
    name, spec = webapp["metadata"]["name"], webapp["spec"]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec["image"],
        "envFrom": [{"configMapRef": {"name": name}}],
    }
    if ports := spec.get("ports"):
        container["ports"] = [
            {"name": port["name"], "containerPort": port["port"], "protocol": "TCP"} for port in ports
        ]
    child = _child(DEPLOYMENT, webapp)
    child["spec"] = {
        "replicas": spec.get("replicas", 1),
        "selector": {"matchLabels": {NAME_LABEL: name}},
        "template": {
            "metadata": {
                "labels": {NAME_LABEL: name},
                "annotations": {CONFIG_HASH: config_hash(spec.get("config") or {})},
            },
            "spec": {"containers": [container]},
        },
    }
    return child


def is_owned(child: Mapping[str, Any], webapp: Resource) -> bool:
    """Whether this very WebApp, not one of the same name before it, is the controller of `child`."""
    uid = webapp["metadata"]["uid"]
    return any(o["uid"] == uid and o.get("controller") for o in child["metadata"].get("ownerReferences") or ())


def is_leaving(child: Mapping[str, Any], webapp: Resource) -> bool:
    """Whether `child` will go by itself: it is being deleted, or belongs to a WebApp of this name that is gone."""
    meta = child["metadata"]
    if meta.get("deletionTimestamp"):
        return True
    return not is_owned(child, webapp) and any(
        o["kind"] == WEBAPP.kind and o["name"] == webapp["metadata"]["name"] and o.get("controller")
        for o in meta.get("ownerReferences") or ()
    )


def _child(kind: Kind, webapp: Resource) -> Resource:
    meta = webapp["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": {NAME_LABEL: meta["name"]},
            "ownerReferences": [WEBAPP.owner_reference(webapp)],
        },
    }
