"""What eases kubectl's way from client-side to server-side apply: its annotation with the last applied object.

Fields that stand in the annotation and still have that value were kubectl's own, so an apply by "kubectl" takes them
over without a conflict, and keeps the annotation in step for clients that still read it.
"""

import json
from typing import Any

from fastcore.testing.apiserver import fieldset
from fastcore.testing.apiserver.fieldset import Fields, TypedValueError
from fastcore.testing.apiserver.typed import compare
from fastcore.testing.apiserver.typeschema import TypeSchema

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"


def own_fields(live: dict[str, Any], kind: TypeSchema) -> Fields:
    """The fields of the annotation that nobody has changed since; empty without a usable annotation."""
    text = _annotations(live).get(ANNOTATION)
    try:
        applied = json.loads(text or "")
        claimed = fieldset.of(applied, kind)
    except (ValueError, TypedValueError):
        return {}
    if applied.get("apiVersion") != live.get("apiVersion"):
        return {}
    changes = compare(applied, live, kind)
    return fieldset.difference(claimed, fieldset.union(changes.modified, changes.removed))


def keep_in_step(obj: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    """`obj` with the annotation saying `applied`, if it has the annotation at all."""
    if ANNOTATION not in _annotations(obj):
        return obj
    mine = {name: value for name, value in _annotations(applied).items() if name != ANNOTATION}
    written = {**applied, "metadata": {**(applied.get("metadata") or {}), "annotations": mine}}
    text = json.dumps(written, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    annotations = {**_annotations(obj), ANNOTATION: text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _annotations(obj: dict[str, Any]) -> dict[str, Any]:
    return (obj.get("metadata") or {}).get("annotations") or {}
