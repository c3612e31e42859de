"""What a CustomResourceDefinition says: its defaults, its rules, and the resources that it describes."""

from typing import Any

from fastcore.testing.apiserver.resources import CUSTOM_VERBS, Column, Resource, Scale
from fastcore.testing.apiserver.status import Cause


def set_defaults(obj: dict[str, Any]) -> None:
    """Fill in what a CRD leaves out, in place."""
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})


def validate(obj: dict[str, Any]) -> list[Cause]:
    """Every rule that a CRD breaks."""
    spec = obj["spec"]
    names = spec["names"]
    causes = [Cause.required(f"spec.{path}") for path in ("group", "scope", "versions") if not spec.get(path)] + [
        Cause.required(f"spec.names.{path}") for path in ("plural", "kind") if not names.get(path)
    ]
    if causes:
        return causes
    if obj["metadata"].get("name") != f"{names['plural']}.{spec['group']}":
        name = f'"{obj["metadata"].get("name", "")}"'
        causes.append(Cause.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if spec["scope"] not in ("Namespaced", "Cluster"):
        causes.append(Cause.unsupported("spec.scope", f'"{spec["scope"]}"', ("Cluster", "Namespaced")))
    versions = spec["versions"]
    for index, version in enumerate(versions):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        field = f"spec.versions[{index}].schema.openAPIV3Schema"
        if not schema:
            causes.append(Cause.required(field))
        elif schema.get("type") != "object":
            causes.append(Cause.invalid(f"{field}.type", f'"{schema.get("type", "")}"', "must be object at the root"))
    if len({version.get("name") for version in versions}) != len(versions):
        causes.append(Cause.invalid("spec.versions", "[]", "must contain unique version names"))
    storage = [version["name"] for version in versions if version.get("storage") and version.get("name")]
    if len(storage) != 1:
        causes.append(Cause.invalid("spec.versions", "[]", "must have exactly one version marked as storage version"))
    return causes


def resources_of(obj: dict[str, Any]) -> list[Resource]:
    """What a CRD serves, one resource a version."""
    spec = obj["spec"]
    names = spec["names"]
    return [
        Resource(
            spec["group"],
            version["name"],
            names["kind"],
            names["plural"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames", ())),
            singular=names["singular"],
            list_kind=names["listKind"],
            categories=tuple(names.get("categories", ())),
            verbs=CUSTOM_VERBS,
            status="status" in (version.get("subresources") or {}),
            scale=_scale((version.get("subresources") or {}).get("scale")),
            unconditional_update=False,
            custom=True,
            fields={
                field["jsonPath"].removeprefix("."): _path(field["jsonPath"])
                for field in version.get("selectableFields", ())
            },
            schema=version["schema"]["openAPIV3Schema"],
            columns=tuple(
                Column(
                    column["name"],
                    column["type"],
                    column["jsonPath"],
                    column.get("format", ""),
                    column.get("description", ""),
                    column.get("priority", 0),
                )
                for column in version.get("additionalPrinterColumns", ())
            ),
            terminating="deletionTimestamp" in obj["metadata"],
        )
        for version in spec["versions"]
        if version.get("served")
    ]


def _path(json_path: str) -> tuple[str, ...]:
    return tuple(part for part in json_path.split(".") if part)


def _scale(spec: dict[str, str] | None) -> Scale | None:
    if not spec:
        return None
    selector = spec.get("labelSelectorPath")
    return Scale(
        _path(spec["specReplicasPath"]), _path(spec["statusReplicasPath"]), _path(selector) if selector else None
    )
