"""Tables, as `kubectl get` asks for them: columns of each kind, cells of each object."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from fastcore.testing.apiserver.resources import Column, Resource, dig
from fastcore.testing.apiserver.storage import Record

_PART = re.compile(r"\.?([^.\[\]\\]+(?:\\.[^.\[\]\\]+)*)|\[['\"]?([^\]'\"]+)['\"]?\]")
_FILTER = re.compile(r"\?\(@\.([^=]+)==['\"]?([^'\")]*)['\"]?\)")


class Cell(NamedTuple):
    """A column of a built-in kind."""

    name: str
    value: Callable[[dict[str, Any]], Any]
    type: str = "string"


def _count(*path: str) -> Callable[[dict[str, Any]], Any]:
    return lambda obj: len(dig(obj, path) or ())


def _at(*path: str, default: Any = "") -> Callable[[dict[str, Any]], Any]:
    def value(obj: dict[str, Any]) -> Any:
        found = dig(obj, path)
        return default if found is None else found

    return value


def _ready(obj: dict[str, Any]) -> str:
    return f"{dig(obj, ('status', 'readyReplicas')) or 0}/{dig(obj, ('spec', 'replicas')) or 0}"


def _containers(obj: dict[str, Any]) -> str:
    states = dig(obj, ("status", "containerStatuses")) or ()
    return f"{sum(bool(state.get('ready')) for state in states)}/{len(dig(obj, ('spec', 'containers')) or ())}"


def _node(obj: dict[str, Any]) -> str:
    conditions = {c["type"]: c["status"] for c in dig(obj, ("status", "conditions")) or ()}
    return {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")


def _ports(obj: dict[str, Any]) -> str:
    ports = dig(obj, ("spec", "ports")) or ()
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _involved(obj: dict[str, Any]) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _role(obj: dict[str, Any]) -> str:
    reference = obj.get("roleRef") or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


_AGE = Cell("Age", lambda obj: age(dig(obj, ("metadata", "creationTimestamp"))))
_CREATED = Cell("Created At", _at("metadata", "creationTimestamp"))
_STATUS_COUNT = ("status", "replicas")
_CELLS: dict[tuple[str, str], tuple[Cell, ...]] = {
    ("", "configmaps"): (Cell("Data", _count("data"), "integer"), _AGE),
    ("", "events"): (
        Cell("Last Seen", lambda obj: age(obj.get("lastTimestamp") or obj.get("eventTime"))),
        Cell("Type", _at("type")),
        Cell("Reason", _at("reason")),
        Cell("Object", _involved),
        Cell("Message", _at("message")),
    ),
    ("", "namespaces"): (Cell("Status", _at("status", "phase")), _AGE),
    ("", "nodes"): (Cell("Status", _node), Cell("Version", _at("status", "nodeInfo", "kubeletVersion")), _AGE),
    ("", "pods"): (Cell("Ready", _containers), Cell("Status", _at("status", "phase")), _AGE),
    ("", "secrets"): (Cell("Type", _at("type")), Cell("Data", _count("data"), "integer"), _AGE),
    ("", "services"): (
        Cell("Type", _at("spec", "type")),
        Cell("Cluster-IP", _at("spec", "clusterIP", default="<none>")),
        Cell("Port(s)", _ports),
        _AGE,
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (_CREATED,),
    ("apps", "daemonsets"): (
        Cell("Desired", _at("status", "desiredNumberScheduled", default=0), "integer"),
        Cell("Ready", _at("status", "numberReady", default=0), "integer"),
        _AGE,
    ),
    ("apps", "deployments"): (
        Cell("Ready", _ready),
        Cell("Up-to-date", _at("status", "updatedReplicas", default=0), "integer"),
        Cell("Available", _at("status", "availableReplicas", default=0), "integer"),
        _AGE,
    ),
    ("apps", "replicasets"): (
        Cell("Desired", _at("spec", "replicas", default=0), "integer"),
        Cell("Current", _at(*_STATUS_COUNT, default=0), "integer"),
        Cell("Ready", _at("status", "readyReplicas", default=0), "integer"),
        _AGE,
    ),
    ("apps", "statefulsets"): (Cell("Ready", _ready), _AGE),
    ("batch", "jobs"): (
        Cell(
            "Completions", lambda obj: f"{dig(obj, ('status', 'succeeded')) or 0}/{obj['spec'].get('completions', 1)}"
        ),
        _AGE,
    ),
    ("coordination.k8s.io", "leases"): (Cell("Holder", _at("spec", "holderIdentity")), _AGE),
    ("rbac.authorization.k8s.io", "clusterroles"): (_CREATED,),
    ("rbac.authorization.k8s.io", "roles"): (_CREATED,),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): (Cell("Role", _role), _AGE),
    ("rbac.authorization.k8s.io", "rolebindings"): (Cell("Role", _role), _AGE),
}


def age(timestamp: Any) -> str:
    """How long ago a time was, in kubectl's short form such as "5m"."""
    if not isinstance(timestamp, str):
        return "<unknown>"
    try:
        then = datetime.fromisoformat(timestamp).astimezone(UTC).timestamp()
    except ValueError:
        return "<invalid>"
    seconds = max(int(time.time() - then), 0)
    for unit, length, limit in (("s", 1, 120), ("m", 60, 180 * 60), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds // length}{unit}"
    return f"{seconds // 86400}d"


def json_path(obj: Any, path: str) -> Any:
    """The value at a printer column's JSONPath: members, indexes and `?(@.a=="b")` filters; None if there is none."""
    current = [obj]
    for member, bracket in _PART.findall(path):
        found: list[Any] = []
        for value in current:
            if member:
                name = member.replace("\\.", ".")
                if isinstance(value, dict) and name in value:
                    found.append(value[name])
            elif matched := _FILTER.fullmatch(bracket):
                key = tuple(matched[1].split("."))
                items = value if isinstance(value, list) else ()
                found.extend(item for item in items if str(dig(item, key)) == matched[2])
            elif bracket == "*":
                found.extend(value if isinstance(value, list) else value.values() if isinstance(value, dict) else ())
            elif isinstance(value, list) and bracket.isdecimal() and int(bracket) < len(value):
                found.append(value[int(bracket)])
            elif isinstance(value, dict) and bracket in value:
                found.append(value[bracket])
        current = found
    return current[0] if current else None


def _custom_cell(obj: dict[str, Any], column: Column) -> Any:
    value = json_path(obj, column.json_path)
    if column.type == "date":
        return age(value)
    if value is None:
        return None
    if column.type == "string" and not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return value


def _layout(resource: Resource) -> tuple[list[Column], list[Callable[[dict[str, Any]], Any]]]:
    """The columns behind the name, and what fills them."""
    if resource.columns:
        return list(resource.columns), [lambda obj, c=column: _custom_cell(obj, c) for column in resource.columns]  # type: ignore[misc]
    cells = _CELLS.get(resource.storage, (_AGE,))
    return [Column(cell.name, cell.type, "") for cell in cells], [cell.value for cell in cells]


def table(
    resource: Resource,
    records: list[Record],
    revision: int,
    *,
    token: str = "",
    remaining: int | None = None,
    include: str = "Metadata",
) -> bytes:
    """A Table of these records; `include` says what stands beside the cells: Metadata, Object or None."""
    columns, fillers = _layout(resource)
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if token:
        metadata["continue"] = token
    if remaining:
        metadata["remainingItemCount"] = remaining
    name = Column("Name", "string", "", "name", "Name of the object.")
    rows = []
    for record in records:
        obj = record.decode(resource.head)
        row: dict[str, Any] = {"cells": [record.key[2], *(filler(obj) for filler in fillers)]}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"],
            }  # fmt: skip
        rows.append(row)
    return msgspec.json.encode(
        {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": [
                {
                    "name": column.name,
                    "type": column.type,
                    "format": column.format,
                    "description": column.description,
                    "priority": column.priority,
                }
                for column in (name, *columns)
            ],
            "rows": rows,
        }
    )
