"""Strategic merge patch: a merge patch that knows which lists are merged item by item.

Directives: `$patch: replace | delete | merge`, `$retainKeys`, `$deleteFromPrimitiveList/NAME`, `$setElementOrder/NAME`.
The type says which lists are merged (`x-kubernetes-patch-strategy`) and by which key (`x-kubernetes-patch-merge-key`);
all other lists are replaced. Model: Kubernetes' strategicpatch, as documented in its "sig-api-machinery" notes.
"""

from typing import Any

from fastcore.testing.apiserver.status import bad_request
from fastcore.testing.apiserver.typeschema import DEDUCED, TypeSchema

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_ITEMS = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(live: dict[str, Any], patch: dict[str, Any], schema: TypeSchema | None) -> dict[str, Any]:
    """`live` with a strategic merge patch on top; neither is changed.

    Args:
        schema: type of the object; None: every list is replaced.

    Raises:
        StatusError: 400, the patch is malformed: an unknown directive, or an item without its merge key.

    Example:
        >>> kind = TypeSchema.of({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "object"},
        ...     "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"}}})
        >>> strategic_merge({"l": [{"name": "a"}, {"name": "b"}]}, {"l": [{"name": "a", "$patch": "delete"}]}, kind)
        {'l': [{'name': 'b'}]}
    """
    return _merge_map(live, patch, schema or DEDUCED)


def _merge_map(live: dict[str, Any], patch: dict[str, Any], kind: TypeSchema) -> dict[str, Any]:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type found: {directive}")
    for name, value in patch.items():
        if (name == _RETAIN or name.startswith((_DELETE_ITEMS, _ORDER))) and not isinstance(value, list):
            raise bad_request(f"{name} must be a list")
    out = dict(live)
    if _RETAIN in patch:
        out = {name: value for name, value in out.items() if name in patch[_RETAIN]}
    for name, value in patch.items():
        if name.startswith(_DELETE_ITEMS):
            target = name.removeprefix(_DELETE_ITEMS)
            if isinstance(out.get(target), list):
                out[target] = [item for item in out[target] if item not in value]
        elif name in (_PATCH, _RETAIN) or name.startswith(_ORDER):
            continue
        elif value is None:
            out.pop(name, None)
        else:
            order = patch.get(_ORDER + name)
            out[name] = _merge_value(live.get(name) if name in out else None, value, kind.field(name), order)
    for name, order in patch.items():
        target = name.removeprefix(_ORDER)
        if name != target and target not in patch and isinstance(out.get(target), list):
            out[target] = _ordered(out[target], live[target], order, kind.field(target) or DEDUCED)
    return out


def _merge_value(live: Any, value: Any, kind: TypeSchema | None, order: list[Any] | None) -> Any:
    kind = kind or DEDUCED
    if isinstance(value, dict):
        if not isinstance(live, dict) or "replace" in kind.strategies:
            live = {}
        return _merge_map(live, value, kind)
    if not isinstance(value, list):
        return value
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in value):
        return [item for item in value if not isinstance(item, dict) or _PATCH not in item]
    before = live if isinstance(live, list) else []
    if "merge" not in kind.strategies:
        return value
    merged = _merge_items(before, value, kind) if kind.merge_key else _merge_primitives(before, value)
    return _ordered(merged, before, value if order is None else order, kind)


def _merge_primitives(live: list[Any], value: list[Any]) -> list[Any]:
    out = list(live)
    for item in value:
        if item not in out:
            out.append(item)
    return out


def _merge_items(live: list[Any], value: list[Any], kind: TypeSchema) -> list[Any]:
    key = kind.merge_key
    item_kind = kind.item or DEDUCED
    out = list(live)
    for item in value:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = [i for i, other in enumerate(out) if isinstance(other, dict) and other.get(key) == item[key]]
        if item.get(_PATCH) == "delete":
            out = [other for i, other in enumerate(out) if i not in at]
        elif at:
            out[at[0]] = _merge_map(out[at[0]], item, item_kind)
        else:
            out.append(_merge_map({}, item, item_kind))
    return out


def _ordered(items: list[Any], live: list[Any], order: list[Any], kind: TypeSchema) -> list[Any]:
    """`items` in the order of the patch; one that the patch does not name keeps its place before the next one that
    was behind it already, if there is one."""

    def identity(item: Any) -> str:
        return repr(item.get(kind.merge_key) if isinstance(item, dict) else item)

    wanted = {identity(item): index for index, item in reversed(list(enumerate(order)))}
    position = {identity(item): index for index, item in enumerate(live)}
    named = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted[identity(item)])
    rest = [item for item in items if identity(item) not in wanted]
    out: list[Any] = []
    for item in named:
        here = position.get(identity(item), -1)
        while rest and position.get(identity(rest[0]), here) < here:
            out.append(rest.pop(0))
        out.append(item)
    return out + rest
