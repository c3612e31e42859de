"""The scale subresource: replicas of any kind in the form of autoscaling/v1."""

from typing import Any

from fastcore.testing.apiserver.resources import Scale, dig
from fastcore.testing.apiserver.status import Cause, bad_request, internal, invalid
from fastcore.testing.apiserver.storage import Record
from fastcore.testing.apiserver.target import Target
from fastcore.testing.apiserver.writes import Options, Outcome, Writer


def selector_text(selector: dict[str, Any] | None) -> str:
    """A label selector object in the form that queries use."""
    if not selector:
        return ""
    terms = [f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())]
    forms = {"In": "{} in ({})", "NotIn": "{} notin ({})", "Exists": "{}", "DoesNotExist": "!{}"}
    terms += [
        forms[entry["operator"]].format(entry["key"], ",".join(sorted(entry.get("values") or ())))
        for entry in selector.get("matchExpressions") or ()
    ]
    return ",".join(terms)


def scale_of(target: Target, obj: dict[str, Any]) -> dict[str, Any]:
    """The Scale of an object.

    Raises:
        StatusError: 500 if the object has no replicas yet.
    """
    paths = target.resource.scale
    assert paths is not None
    replicas = dig(obj, paths.spec)
    if replicas is None:
        raise internal(f'the spec replicas field ".{".".join(paths.spec)}" does not exist')
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: dict[str, Any] = {"replicas": dig(obj, paths.status) or 0}
    selector = _selector(paths, obj)
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": replicas},
        "status": status,
    }


def _selector(paths: Scale, obj: dict[str, Any]) -> str:
    if paths.selector is not None:
        return str(dig(obj, paths.selector) or "")
    return selector_text(dig(obj, ("spec", "selector")))


def set_scale(
    writer: Writer, target: Target, record: Record, scale: dict[str, Any], options: Options, *, patch: bool
) -> Outcome:
    """Set the replicas that a Scale asks for; the object's status and metadata stay.

    Raises:
        StatusError: 400, 409 or 422.
    """
    paths = target.resource.scale
    assert paths is not None
    metadata = scale.get("metadata") or {}
    name = metadata.get("name")
    if name and name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
    replicas = dig(scale, ("spec", "replicas")) or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
    if replicas < 0:
        cause = Cause.invalid("spec.replicas", str(replicas), "must be greater than or equal to 0")
        raise invalid("autoscaling", "Scale", target.name, [cause])
    obj = writer.admission.read(target, record)
    place: Any = obj
    for member in paths.spec[:-1]:
        place = place.setdefault(member, {})
    place[paths.spec[-1]] = replicas
    for member in ("resourceVersion", "uid"):
        obj["metadata"].pop(member, None)
        if metadata.get(member):
            obj["metadata"][member] = metadata[member]
    return writer.update(target, record, obj, options, patch=True)
