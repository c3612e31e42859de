"""Whether the step from one version of an object to the next is wholly the work of our own write (WR-9).

An event may only be kept from a reconciler if it tells nothing that the reconciler does not know. That a version is the
answer to our own write is not enough: somebody else may have written between the version that the reconciler saw and
ours, and the answer holds both. So the step is compared with what was sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastcore.diff import Change, diff

_SERVER_S = (
    ("metadata", "creationTimestamp"),
    ("metadata", "generation"),
    ("metadata", "managedFields"),
    ("metadata", "resourceVersion"),
)
_MISSING = object()
_MAPPING = (dict, Mapping)  # what is a dict is known at once

Object = Mapping[str, Any]


def changes(old: Object, new: Object) -> list[Change]:
    """What differs between two versions, but for what the server keeps by itself."""
    return diff(old, new, ignore=_SERVER_S)


def is_ours(old: Object | None, new: Object, sent: Object | None, method: str, changed: Sequence[Change]) -> bool:
    """Whether nobody but us had a part in the step from `old` to `new`.

    Args:
        old: the version that was shown before, None if there was none.
        new: the answer to the write.
        sent: the body of the write, None if it is not an object.
        method: POST creates, PUT replaces, PATCH changes.
        changed: the changes from `old` to `new`.
    """
    if old is None:
        return method == "POST" or _one_manager(new)
    if sent is None:
        return False
    base = (sent.get("metadata") or {}).get("resourceVersion")
    if base is not None and base == old["metadata"].get("resourceVersion"):
        return True  # the server itself has checked that nothing came in between
    return all(_said(change, new, sent, method) for change in changed)


def _one_manager(new: Object) -> bool:
    """Whether one manager alone has ever set a field: an apply that created the object, not one that met it."""
    entries = new["metadata"].get("managedFields") or ()
    return len({entry.get("manager") for entry in entries}) == 1 and new["metadata"].get("generation", 1) == 1


def _said(change: Change, new: Object, sent: Object, method: str) -> bool:
    """Whether a change is what we asked for."""
    index = next((i for i, step in enumerate(change.path) if isinstance(step, int)), None)
    if index is not None:  # a list without keys is one value
        whole = change.path[:index]
        return bool(_at(sent, whole) == _at(new, whole))
    said = _at(sent, change.path)
    if change.op != "remove":
        return said is not _MISSING and bool(said == change.new)
    # A field that our apply has dropped looks just like one that somebody else has removed.
    return said is _MISSING if method == "PUT" else said is None


def _at(document: Any, path: Sequence[Any]) -> Any:
    for step in path:
        if isinstance(step, str):
            if not isinstance(document, _MAPPING) or step not in document:
                return _MISSING
            document = document[step]
        elif step[0] == "=":
            return step[1] if isinstance(document, Sequence) and step[1] in document else _MISSING
        else:
            wanted = dict(zip(step[::2], step[1::2], strict=True))
            document = next((item for item in document or () if _is_item(item, wanted)), _MISSING)
            if document is _MISSING:
                return _MISSING
    return document


def _is_item(item: Any, wanted: Mapping[str, Any]) -> bool:
    return isinstance(item, _MAPPING) and all(item.get(field) == value for field, value in wanted.items())
