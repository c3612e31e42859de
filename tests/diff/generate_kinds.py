"""Make `fastcore/kinds.json`: how strategic merge patches treat the built-in kinds, from a real kube-apiserver.

Run `KUBEBUILDER_ASSETS=... python tests/diff/generate_kinds.py`. Only facts are kept, and only of types from which a
member with a patch strategy can be reached. `test_kinds.py` compares the file with the real server again.
"""

import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import fastcore
from fastcore.testing.kube import KubeServer

PATH = Path(fastcore.__file__).with_name("kinds.json")
AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
PREFIX = "#/components/schemas/"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
Schemas = dict[str, dict[str, Any]]


def download(server: KubeServer) -> tuple[str, Schemas]:
    """The server's version, and the component schemas of its own groups: not those of custom resources."""
    context = ssl.create_default_context(cadata=server.ca)

    def fetch(path: str) -> Any:
        request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {server.token}"})
        with urllib.request.urlopen(request, context=context) as response:
            return json.load(response)

    schemas: Schemas = {}
    services = fetch("/apis/apiregistration.k8s.io/v1/apiservices")["items"]
    own = [s["spec"] for s in services if s["metadata"]["labels"].get(AUTOMANAGED) == "onstart"]
    groups = {spec.get("group") or "v1" for spec in own} | {"apiregistration.k8s.io"}
    for path in fetch("/openapi/v3")["paths"]:
        root, _, rest = path.partition("/")
        if root in ("api", "apis") and (not rest or rest.split("/")[0] in groups):
            schemas.update(fetch(f"/openapi/v3/{path}").get("components", {}).get("schemas", {}))
    return fetch("/version")["gitVersion"], schemas


def target(schema: dict[str, Any]) -> str:
    """The name of the schema that a reference stands for, "" if it is none."""
    reference = schema.get("$ref") or (schema.get("allOf") or [{}])[0].get("$ref", "")
    return str(reference).removeprefix(PREFIX)


def short(name: str) -> str:
    return name.removeprefix("io.k8s.").removeprefix("api.").replace("apimachinery.pkg.apis.", "")


def kinds_of(name: str, schema: dict[str, Any]) -> list[str]:
    """`apps/v1 Deployment` of each kind that the schema is; options and lists are never patched."""
    if name.startswith("io.k8s.apimachinery.") or {"items", "kind"} <= schema.get("properties", {}).keys():
        return []
    found = schema.get("x-kubernetes-group-version-kind", ())
    return ["/".join(filter(None, (gvk["group"], gvk["version"]))) + " " + gvk["kind"] for gvk in found]


def strategies(schemas: Schemas) -> dict[str, dict[str, list[str]]]:
    """Type -> member -> [type of the value or of its items, strategies, merge key]; "*" is any member of a map."""
    types: dict[str, dict[str, list[str]]] = {}
    for name, schema in schemas.items():
        members = types[short(name)] = {}
        for member, value in schema.get("properties", {}).items():
            strategy = value.get("x-kubernetes-patch-strategy", "")
            inner = value["items"] if value.get("type") == "array" and "merge" in strategy else value
            kind = short(target(inner))
            if isinstance(value.get("additionalProperties"), dict) and target(value["additionalProperties"]):
                element = short(target(value["additionalProperties"]))
                kind = f"{element} by name"
                types[kind] = {"*": [element, "", ""]}
            members[member] = [kind, strategy, value.get("x-kubernetes-patch-merge-key", "")]
    useful: set[str] = set()
    while True:
        more = {
            name for name, members in types.items() if any(m[1] or m[0] in useful for m in members.values())
        } - useful
        if not more:
            break
        useful |= more
    kept = {
        name: {
            member: [kind if kind in useful else "", strategy, key]
            for member, (kind, strategy, key) in sorted(types[name].items())
            if strategy or kind in useful
        }
        for name in sorted(useful)
    }
    roots = {
        kind: kept[short(name)] for name in schemas for kind in kinds_of(name, schemas[name]) if short(name) in kept
    }
    reached: dict[str, dict[str, list[str]]] = {}
    waiting = [kind for members in roots.values() for kind, _, _ in members.values()]
    while waiting:
        kind = waiting.pop()
        if kind and kind not in reached:
            reached[kind] = kept[kind]
            waiting += [inner for inner, _, _ in kept[kind].values()]
    return dict(sorted({**roots, **reached}.items()))


def quantities(schemas: Schemas) -> set[tuple[str, str]]:
    """(kind, path) of every quantity; "*" is any member or item."""
    found: set[tuple[str, str]] = set()

    def visit(kind: str, path: tuple[str, ...], schema: dict[str, Any], inside: frozenset[str]) -> None:
        name = target(schema)
        if name == QUANTITY:
            found.add((kind, ".".join(path)))
        elif name and name not in inside:
            for member, value in schemas[name].get("properties", {}).items():
                visit(kind, (*path, member), value, inside | {name})
        elif not name:
            for element in (schema.get("items"), schema.get("additionalProperties")):
                if isinstance(element, dict):
                    visit(kind, (*path, "*"), element, inside)

    for name, schema in schemas.items():
        for kind in kinds_of(name, schema):
            visit(kind.partition(" ")[2], (), {"$ref": PREFIX + name}, frozenset())
    return found


def text(version: str, schemas: Schemas) -> str:
    """The file: one line a type, so that a change of the table reads well."""
    lines = [f"{json.dumps(name)}: {json.dumps(members)}" for name, members in strategies(schemas).items()]
    return f'{{"source": {json.dumps(version)}, "types": {{\n' + ",\n".join(lines) + "\n}}\n"


def main() -> None:
    with KubeServer() as server:
        version, schemas = download(server)
    PATH.write_text(text(version, schemas))
    print(f"{PATH}: {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
