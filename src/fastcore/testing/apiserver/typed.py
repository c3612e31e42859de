"""Compare and merge two objects of one type: the two walks under server-side apply.

Both know lists that are sets or maps by key, and maps and lists that are atomic. Inputs are never changed; results may
share structure with them. Model: Kubernetes' structured merge and diff.
"""

from typing import Any, NamedTuple

from fastcore.testing.apiserver.fieldset import Fields, item_element, items_by_element
from fastcore.testing.apiserver.typeschema import TypeSchema

_ABSENT: Any = object()


class Comparison(NamedTuple):
    """The fields that came, went, and have another value."""

    removed: Fields
    modified: Fields
    added: Fields

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.removed or self.modified or self.added)


def compare(old: dict[str, Any], new: dict[str, Any], kind: TypeSchema) -> Comparison:
    """What a write of `new` over `old` does to each field. A new map or list counts as well as what it holds.

    Example:
        >>> compare({"data": {"a": "1"}}, {"data": {"a": "2", "b": "3"}}, TypeSchema.of(None))
        Comparison(removed={}, modified={'f:data': {'f:a': {}}}, added={'f:data': {'f:b': {}}})
    """
    out = Comparison({}, {}, {})
    _compare_maps(old, new, kind, out)
    return out


def _compare_maps(old: dict[str, Any], new: dict[str, Any], kind: TypeSchema, out: Comparison) -> None:
    for name, value in new.items():
        before = old.get(name, _ABSENT)
        if before is not value:
            _compare_child("f:" + name, before, value, kind.field(name), name in kind.present, out)
    for name, value in old.items():
        if name not in new:
            _compare_child("f:" + name, value, _ABSENT, kind.field(name), name in kind.present, out)


def _compare_child(element: str, old: Any, new: Any, kind: TypeSchema | None, present: bool, out: Comparison) -> None:
    """Compare the members `element` of two containers; at most one of them is absent."""
    if kind is None:  # unknown to the schema: the object was stored before the schema, or will be pruned
        return
    if present:
        old, new = _filled(old, new), _filled(new, old)
    if old is None and new and isinstance(new, dict | list):
        old = type(new)()  # null is an empty container beside a full one, but not the same as {} or []
    elif new is None and old and isinstance(old, dict | list):
        new = type(old)()
    if new is _ABSENT:
        out.removed[element] = _everything(old, kind)
    elif old is _ABSENT:
        out.added[element] = _everything(new, kind)
    elif isinstance(old, dict) and isinstance(new, dict) and kind.has_map and not kind.map_atomic and (old or new):
        if old != new or kind.scalar:
            below = Comparison({}, {}, {})
            _compare_maps(old, new, kind, below)
            _attach(element, below, out)
    elif _is_associative(old, kind) and _is_associative(new, kind) and (old or new):
        if old != new:
            below = Comparison({}, {}, {})
            _compare_lists(old, new, kind, below)
            _attach(element, below, out)
    elif not _same(old, new):
        out.modified[element] = {}
        if type(old) is not type(new):
            _attach(element, Comparison(_below(old, kind), {}, _below(new, kind)), out)


def _filled(value: Any, other: Any) -> Any:
    """What a decoder that always creates the member puts in its place."""
    if value is not _ABSENT:
        return value
    return type(other)() if isinstance(other, dict | list) else None


def _attach(element: str, below: Comparison, out: Comparison) -> None:
    for part, whole in zip(below, out, strict=True):
        if part:
            whole[element] = {".": {}, **part} if element in whole else part


def _is_associative(value: Any, kind: TypeSchema) -> bool:
    return isinstance(value, list) and kind.item is not None and kind.list_type != "atomic"


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON values: true is not 1."""
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _compare_lists(old: list[Any], new: list[Any], kind: TypeSchema, out: Comparison) -> None:
    before, after = items_by_element(old, kind), items_by_element(new, kind)
    for element in {**before, **after}:
        olds, news = before.get(element, ()), after.get(element, ())
        if len(olds) > 1 or len(news) > 1:  # duplicates have no identity of their own
            if olds != news:
                out.modified[element] = {}
        else:
            first = olds[0] if olds else _ABSENT
            _compare_child(element, first, news[0] if news else _ABSENT, kind.item, False, out)


def _everything(value: Any, kind: TypeSchema) -> Fields:
    """The node of a value that came or went as a whole: itself and all below it."""
    below = _below(value, kind)
    return {".": {}, **below} if below else {}


def _below(value: Any, kind: TypeSchema) -> Fields:
    out: Fields = {}
    if isinstance(value, dict) and kind.has_map and not kind.map_atomic:
        for name, sub in value.items():
            sub_kind = kind.field(name)
            if sub_kind is not None:
                out["f:" + name] = _everything(sub, sub_kind)
    elif _is_associative(value, kind):
        assert kind.item is not None
        for element, items in items_by_element(value, kind).items():
            out[element] = _everything(items[-1], kind.item)
    return out


def merge(live: Any, applied: Any, kind: TypeSchema | None) -> Any:
    """`live` with what `applied` says on top.

    Items of a list keep the order of `applied`; those that only `live` has stay where they are between them.

    Example:
        >>> merge({"a": 1, "l": [1]}, {"b": 2, "l": [2]}, TypeSchema.of(None))
        {'a': 1, 'l': [2], 'b': 2}
    """
    if kind is None or applied == {} or applied == []:
        return live if isinstance(live, type(applied)) and live and not _is_atomic(applied, kind) else applied
    if isinstance(applied, dict) and kind.has_map and not kind.map_atomic:
        if not isinstance(live, dict):
            live = {}
        out = dict(live)
        for name, value in applied.items():
            out[name] = merge(live[name], value, kind.field(name)) if name in live else value
        return out
    if _is_associative(applied, kind):
        return _merge_lists(live if isinstance(live, list) else [], applied, kind)
    if applied is None and isinstance(live, dict | list) and live and not kind.scalar and not _is_atomic(live, kind):
        return live
    return applied


def _is_atomic(value: Any, kind: TypeSchema | None) -> bool:
    if kind is None:
        return True
    return kind.map_atomic if isinstance(value, dict) else kind.list_type == "atomic"


def _merge_lists(live: list[Any], applied: list[Any], kind: TypeSchema) -> list[Any]:
    mine = {item_element(item, kind): item for item in applied}
    theirs = [(item_element(item, kind), item) for item in live]
    by_element: dict[str, Any] = {}
    for element, item in theirs:
        by_element.setdefault(element, item)
    shared = iter([element for element in mine if element in by_element])
    awaited = next(shared, None)
    out, at, done = [], 0, set()
    for element, item in mine.items():
        # Items of others go first, up to the shared one that comes next; shared ones out of order wait for their turn.
        while at < len(theirs):
            other, value = theirs[at]
            if other not in mine:
                out.append(value)
            elif other == awaited and other not in done:
                break
            at += 1
        out.append(merge(by_element[element], item, kind.item) if element in by_element else item)
        done.add(element)
        if element == awaited:
            awaited = next(shared, None)
            at += 1
    out += [value for element, value in theirs[at:] if element not in mine]
    return out
