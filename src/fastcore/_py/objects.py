"""Objects as bytes, by key and by index, in plain Python."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from fastcore._objecttext import change_of, dropped, kept, key_text, path_of, plain_value, text_from
from fastcore._py.frozen import decode
from fastcore._py.intake import Rules, split_event, split_list, take
from fastcore._py.jsonscan import items, member
from fastcore.errors import ReentrancyError

TRIES = 64
SAME, UPDATED, REPLACED = range(3)

Key = tuple[str, str]


class ObjectStats(NamedTuple):
    """A reading of a store's counters: objects and their bytes now; reads served hot and by decoding, so far."""

    objects: int
    bytes: int
    hot: int
    decoded: int


class Change:
    """One step of one key: `old` is None for an addition, `new` is None for a deletion."""

    __slots__ = ("_new", "_new_raw", "_old", "_old_raw", "_store", "_where")

    def __init__(self, store: "ObjectStore", where: str, old: bytes | None, new: bytes | None) -> None:
        self._store = store
        self._where = where
        self._old_raw, self._new_raw = old, new
        self._old = self._new = None

    @property
    def key(self) -> Key:
        """(namespace, name)."""
        return _pair_of(self._where)

    @property
    def old_raw(self) -> bytes | None:
        return self._old_raw

    @property
    def new_raw(self) -> bytes | None:
        return self._new_raw

    @property
    def old(self) -> Any:
        """The view of the object before, None if there was none."""
        if self._old is None and self._old_raw is not None:
            self._old = decode(self._old_raw)
        return self._old

    @property
    def new(self) -> Any:
        """The view of the object after, None if there is none."""
        if self._new is None and self._new_raw is not None:
            self._new = self._store._view_of(self._where, self._new_raw, True)
        return self._new

    def __iter__(self) -> Iterator[Any]:
        return iter((self.old, self.new))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Change | tuple):
            return NotImplemented
        return (self.old, self.new) == tuple(other)

    def __hash__(self) -> int:
        return hash((self._where, self._old_raw, self._new_raw))

    def __repr__(self) -> str:
        return f"Change(key={self.key!r}, old={self.old!r}, new={self.new!r})"


class _Index:
    """Keys by value."""

    def __init__(self, by: Any) -> None:
        self.function: Callable[[Any], Iterable[Any]] | None = by if callable(by) else None
        self.path = () if callable(by) else path_of(by)
        self.entries: dict[Any, dict[str, None]] = {}
        self.values: dict[str, tuple[Any, ...]] = {}

    def values_of(self, raw: bytes) -> tuple[Any, ...]:
        found: list[Any] = []
        if self.function is None:
            _gather(raw, self.path, found)
        else:
            found.extend(plain_value(value) for value in self.function(decode(raw)))
        return tuple(dict.fromkeys(found))

    def put(self, key: str, values: tuple[Any, ...]) -> None:
        self.remove(key)
        for value in values:
            self.entries.setdefault(value, {})[key] = None
        if values:
            self.values[key] = values

    def remove(self, key: str) -> None:
        for value in self.values.pop(key, ()):
            keys = self.entries[value]
            del keys[key]
            if not keys:
                del self.entries[value]


class ObjectStore:
    """Kubernetes objects by (namespace, name), each as one bytes object, and views of them on demand."""

    def __init__(
        self,
        *,
        drop: Iterable[Any] = ("metadata.managedFields",),
        keep: Iterable[Any] | None = None,
        metadata_only: bool = False,
        field_manager: str = "",
        api_version: str = "",
        kind: str = "",
        hot: int = 256,
    ) -> None:
        if hot < 0:
            raise ValueError(f"hot must be >= 0, got {hot!r}")
        if metadata_only:
            if keep is not None:
                raise ValueError("give either keep or metadata_only")
            keep = ("metadata",)
        self._rules = Rules(dropped(drop), None if keep is None else kept(keep), field_manager, api_version, kind)
        self._lock = threading.RLock()
        self._objects: dict[str, bytes] = {}
        self._warm: dict[str, Any] = {}
        self._indexes: dict[str, _Index] = {}
        self._limit = hot
        self._size = self._writes = self._hits = self._decodes = 0

    def replace(self, items: Any, /) -> list[Change]:
        """Hold exactly `items`; what changed, as a list of `Change`: deletions first (RF-9)."""
        if isinstance(items, bytes | bytearray | memoryview):
            items = split_list(bytes(items)).items
        new = dict(self._admitted(item) for item in items)
        for _ in range(TRIES):
            with self._lock:
                writes, indexes, objects = self._writes, self._indexes, dict(self._objects)
            found = {
                key: self._found_by(indexes, raw)
                for key, raw in new.items()
                if key not in objects or _step(objects[key], raw) != SAME
            }
            with self._lock:
                if self._writes == writes and self._indexes is indexes:
                    changes: list[Change] = []
                    for key in [key for key in self._objects if key not in new]:
                        self._forget(key, changes)
                    for key, raw in new.items():
                        self._set(key, raw, found.get(key, {}), changes)
                    return changes
        raise _contended()

    def put(self, item: Any, /) -> list[Change]:
        """Add or update an object; what changed, as `replace` says."""
        return self._put(*self._admitted(item))

    def remove(self, key: Any, /) -> list[Change]:
        """Delete an object, if it is there; what changed."""
        changes: list[Change] = []
        where = key_text(key)
        with self._lock:
            if where in self._objects:
                self._forget(where, changes)
        return changes

    def apply(self, event: Any, /) -> list[Change]:
        """Do what an event of a watch says; what changed."""
        kind, item = change_of(event, split_event)
        if kind == "BOOKMARK":
            return []
        key, raw = self._admitted(item)
        if kind != "DELETED":
            return self._put(key, raw)
        return [Change(self, key, raw, None) for _ in self.remove(key)]

    def get(self, key: Any, default: Any = None, /) -> Any:
        """The view of an object, or `default`: the same one until the object changes or others are read instead."""
        where = key_text(key)
        raw = self._objects.get(where)
        return default if raw is None else self._view_of(where, raw, True)

    def raw(self, key: Any, default: Any = None, /) -> Any:
        """The JSON text of an object, or `default`."""
        return self._objects.get(key_text(key), default)

    def path(self, key: Any, path: Any, default: Any = None, /) -> Any:
        """What stands at `path` in an object, or `default`; of a list, a decimal name picks an item."""
        found = self._objects.get(key_text(key))
        names = path_of(path)
        for name in names:
            if found is None:
                return default
            if found[:1] != b"[":
                found = member(found, name)
            elif name.isdigit() and name.isascii() and len(name) < 10:
                found = next((item for i, item in enumerate(items(found)) if i == int(name)), None)
            else:
                return default
        return default if found is None else decode(found)

    def index(self, name: str, by: Any, /) -> None:
        """Find objects, present and future, by what `by` gives for them (IN-3, IN-4)."""
        index = _Index(by)
        for _ in range(TRIES):
            with self._lock:
                writes, indexes, objects = self._writes, self._indexes, dict(self._objects)
            if name in indexes:
                raise ValueError(f"there is already an index {name!r}")
            found = {key: index.values_of(raw) for key, raw in objects.items()}
            with self._lock:
                if self._writes == writes and self._indexes is indexes:
                    for key, values in found.items():
                        index.put(key, values)
                    self._indexes = {**indexes, name: index}
                    return
        raise _contended()

    def by_index(self, name: str, value: Any, /) -> list[Any]:
        """The views of the objects that `value` finds."""
        return [view for view in map(self.get, self.keys_by_index(name, value)) if view is not None]

    def keys_by_index(self, name: str, value: Any, /) -> list[Key]:
        """The keys of the objects that `value` finds, decoding nothing."""
        index = self._indexes.get(name)
        if index is None:
            raise ValueError(f"there is no index {name!r}, only {sorted(self._indexes)}")
        with self._lock:
            where = list(index.entries.get(plain_value(value), ()))
        return [_pair_of(key) for key in where]

    def keys(self, namespace: str | None = None, /) -> list[Key]:
        """Every (namespace, name), or those in one namespace. Complexity: O(objects)."""
        with self._lock:
            pairs = [_pair_of(key) for key in self._objects]
        return pairs if namespace is None else [pair for pair in pairs if pair[0] == namespace]

    def views(self, namespace: str | None = None, /) -> list[Any]:
        """The view of every object, or of those in one namespace; they are not remembered. Complexity: O(bytes)."""
        with self._lock:
            found = list(self._objects.items())
        start = "" if namespace is None else f"{namespace}/"
        return [self._view_of(key, raw, False) for key, raw in found if key.startswith(start)]

    def stats(self) -> ObjectStats:
        """A reading of the counters."""
        with self._lock:
            return ObjectStats(len(self._objects), self._size, self._hits, self._decodes)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Any) -> bool:
        return key_text(key) in self._objects

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys())

    def _admitted(self, item: Any) -> tuple[str, bytes]:
        who, raw = take(item if type(item) is bytes else text_from(item), self._rules)
        return f"{who.namespace}/{who.name}", raw

    def _view_of(self, key: str, raw: bytes, remember: bool) -> Any:
        with self._lock:
            if self._objects.get(key) is raw and key in self._warm:
                self._hits += 1
                view = self._warm[key] = self._warm.pop(key)
                return view
        view = decode(raw)
        with self._lock:
            self._decodes += 1
            if remember and self._objects.get(key) is raw:
                view = self._warm.setdefault(key, view)
                if len(self._warm) > self._limit:
                    del self._warm[next(iter(self._warm))]
        return view

    @staticmethod
    def _found_by(indexes: dict[str, _Index], raw: bytes) -> dict[str, tuple[Any, ...]]:
        return {name: index.values_of(raw) for name, index in indexes.items()}

    def _put(self, key: str, raw: bytes) -> list[Change]:
        for _ in range(TRIES):
            indexes = self._indexes
            found = self._found_by(indexes, raw)
            changes: list[Change] = []
            with self._lock:
                if self._indexes is indexes:
                    self._set(key, raw, found, changes)
                    return changes
        raise _contended()

    def _set(self, key: str, raw: bytes, found: dict[str, tuple[Any, ...]], changes: list[Change]) -> None:
        old = self._objects.get(key)
        step = UPDATED if old is None else _step(old, raw)
        if step == SAME:
            return
        self._objects[key] = raw
        self._size += len(raw) - len(old or b"")
        self._writes += 1
        self._warm.pop(key, None)
        for name, index in self._indexes.items():
            index.put(key, found[name])
        if step == REPLACED:
            changes += [Change(self, key, old, None), Change(self, key, None, raw)]
        else:
            changes.append(Change(self, key, old, raw))

    def _forget(self, key: str, changes: list[Change]) -> None:
        old = self._objects.pop(key)
        self._size -= len(old)
        self._writes += 1
        self._warm.pop(key, None)
        for index in self._indexes.values():
            index.remove(key)
        changes.append(Change(self, key, old, None))


def _contended() -> ReentrancyError:
    return ReentrancyError(
        "the store was written to each time its index functions were asked: they must not write to it"
    )


def _pair_of(key: str) -> Key:
    namespace, _, name = key.partition("/")
    return namespace, name


def _step(old: bytes, new: bytes) -> int:
    was, now = member(old, "metadata"), member(new, "metadata")
    if member(was, "uid") != member(now, "uid"):
        return REPLACED
    revision = member(now, "resourceVersion")
    if revision is None:
        return SAME if old == new else UPDATED
    return SAME if member(was, "resourceVersion") == revision else UPDATED


def _gather(text: bytes | None, path: tuple[str, ...], found: list[Any]) -> None:
    if text is None:
        return
    if text[:1] == b"[":
        for item in items(text):
            _gather(item, path, found)
    elif path:
        _gather(member(text, path[0]), path[1:], found)
    elif text[:1] not in (b"{", b"n"):
        found.append(decode(text))
