"""The rules of the built-in kinds that clients most often break."""

from typing import Any

import msgspec

from fastcore.testing.apiserver.status import Cause

_Object = dict[str, Any]
_SELECTING = frozenset({"DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"})


def validate(group: str, kind: str, obj: _Object, live: _Object | None) -> list[Cause]:
    """Every rule that an object breaks; `live` is what it replaces."""
    if group in ("apps", "batch") and kind in _SELECTING:
        return _validate_workload(obj, live, group)
    if group == "" and kind == "Pod":
        return _validate_containers(obj["spec"], "spec")
    if group == "" and kind == "Service" and obj["spec"]["type"] != "ExternalName" and not obj["spec"].get("ports"):
        return [] if obj["spec"].get("clusterIP") == "None" else [Cause.required("spec.ports")]
    if group == "" and kind in ("ConfigMap", "Secret") and live is not None and live.get("immutable"):
        changed = [member for member in ("data", "binaryData") if obj.get(member) != live.get(member)]
        if not obj.get("immutable"):
            changed.append("immutable")
        return [Cause.forbidden(member, "field is immutable when `immutable` is set") for member in changed]
    return []


def _validate_containers(spec: _Object, path: str) -> list[Cause]:
    containers = spec.get("containers")
    if not containers:
        return [Cause.required(f"{path}.containers")]
    return [
        Cause.required(f"{path}.containers[{index}].{member}")
        for index, container in enumerate(containers)
        for member in ("name", "image")
        if not container.get(member)
    ]


def _validate_workload(obj: _Object, live: _Object | None, group: str) -> list[Cause]:
    spec = obj["spec"]
    causes = []
    replicas = spec.get("replicas", 0)
    if replicas < 0:
        causes.append(Cause.invalid("spec.replicas", str(replicas), "must be greater than or equal to 0"))
    selector = spec.get("selector")
    labels = spec["template"]["metadata"].get("labels")
    if group == "apps":
        if not selector:
            causes.append(Cause.required("spec.selector"))
        wanted = (selector or {}).get("matchLabels", {})
        if not selector or any((labels or {}).get(name) != value for name, value in wanted.items()):
            written = msgspec.json.encode(labels).decode()
            causes.append(
                Cause.invalid("spec.template.metadata.labels", written, "`selector` does not match template `labels`")
            )
    causes += _validate_containers(spec["template"]["spec"], "spec.template.spec")
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
        why = "may not be specified when strategy `type` is 'Recreate'"
        causes.append(Cause.forbidden("spec.strategy.rollingUpdate", why))
    if live is not None and selector != live["spec"].get("selector"):
        written = msgspec.json.encode(selector).decode()
        causes.append(Cause.invalid("spec.selector", written, "field is immutable"))
    return causes
