"""Make `fastcore/testing/apiserver/data/openapi.json.gz` from a real kube-apiserver.

Run `KUBEBUILDER_ASSETS=... python tests/apiserver/generate_builtin.py`. Only facts are kept: no descriptions, and only
what the served kinds reach. `test_builtin.py` compares the file with the real server again.
"""

import gzip
import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastcore.testing.apiserver import builtin
from fastcore.testing.kube import KubeServer

PREFIX = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
KINDS = {
    "api/v1": (
        "ConfigMap", "Event", "Namespace", "Node", "Pod", "Secret", "Service", "ServiceAccount",
    ),
    "apis/apps/v1": ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    "apis/autoscaling/v1": ("Scale",),
    "apis/batch/v1": ("Job",),
    "apis/coordination.k8s.io/v1": ("Lease",),
    "apis/events.k8s.io/v1": ("Event",),
    "apis/rbac.authorization.k8s.io/v1": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    "apis/apiextensions.k8s.io/v1": ("CustomResourceDefinition",),
}  # fmt: skip
META_TYPES = ("APIResourceList", "DeleteOptions", "Patch", "Status", "WatchEvent")
# Zero values of required scalars: the real server fills them while decoding, which hides that the field is missing.
ZEROS = ("", 0, False)


def download(server: KubeServer) -> dict[str, Any]:
    """Every component schema that the kinds above reach, stripped."""
    schemas: dict[str, Any] = {}
    for group_version in KINDS:
        schemas.update(fetch(server, f"/openapi/v3/{group_version}")["components"]["schemas"])
    wanted = {
        (*group_version.removeprefix("apis/").removeprefix("api/").rpartition("/")[::2], kind + suffix)
        for group_version, kinds in KINDS.items()
        for kind in kinds
        for suffix in ("", "List")
    }
    roots = [META + name for name in META_TYPES]
    roots += [name for name, schema in schemas.items() if wanted & set(kinds_of(name, schema))]
    kept: dict[str, Any] = {}
    while roots:
        name = roots.pop()
        if name not in kept:
            kept[name] = strip(schemas[name])
            roots += references(kept[name])
    return dict(sorted(kept.items()))


def fetch(server: KubeServer, path: str) -> Any:
    context = ssl.create_default_context(cadata=server.ca)
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {server.token}"})
    with urllib.request.urlopen(request, context=context) as response:
        return json.load(response)


def kinds_of(name: str, schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if not name.startswith(META):  # DeleteOptions and the like carry every group of the server
        for gvk in schema.get("x-kubernetes-group-version-kind", ()):
            yield gvk["group"], gvk["version"], gvk["kind"]


def strip(schema: Any) -> Any:
    """The schema without prose; a property that is named "description" stays."""
    if not isinstance(schema, dict):
        return [strip(item) for item in schema] if isinstance(schema, list) else schema
    kept = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: strip(sub) for name, sub in value.items()}
        elif key == "x-kubernetes-group-version-kind":
            kept[key] = value if len(value) <= 2 else [gvk for gvk in value if gvk["group"] == ""]
        elif key in ("description", "externalDocs") or (key == "default" and value in ZEROS and value != {}):
            continue
        else:
            kept[key] = strip(value)
    return kept


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(PREFIX)
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from references(item)


def main() -> None:
    with KubeServer() as server:
        text = json.dumps(download(server), separators=(",", ":"), sort_keys=True)
    path = Path(str(builtin.DATA))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
