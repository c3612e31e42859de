"""The LRU cache in plain Python: the mapping, over the entries of `slots` and the loads of `loads`."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from importlib import import_module
from types import GenericAlias
from typing import Any

from fastcore._py.loads import Loads
from fastcore._py.slots import ABSENT, COUNTERS, QUIET, RESTORE, STRICT, Entry, Load


class LRUCache(Loads):
    """A mapping that holds at most `maxsize` and drops the least recently used entry to make room.

    `fastcore.cache.LRUCache` documents it, and adds what both twins share.
    """

    __slots__ = ()

    def __init__(self, maxsize: float, getsizeof: Callable[[Any], float] | None = None, **options: Any) -> None:
        self._configure(maxsize, getsizeof)
        self._equip(options)

    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias:
        """Generic alias, for annotations."""
        return GenericAlias(cls, item)

    # -- reading

    def _fetch(self, key: Hashable) -> tuple[bool, Any]:
        """Whether `key` is there, and its value, for a read that counts and refreshes."""
        hashed = hash(key)
        with self._lock:
            entry = self._find(key, hashed)
            self._seen(hashed, entry)
            if entry is None:
                self._counters["misses"] += 1
                return False, None
            self._counters["hits"] += 1
            self._ring(entry).move_to_end(entry)
            return True, entry.value

    def _read(self, key: Hashable) -> tuple[bool, Any]:
        """As `_fetch`, the value itself where it is weakly held; a miss after all if that is gone."""
        found, value = self._fetch(key)
        if found and self._weak:
            value = value()
            if value is None:
                with self._lock:
                    self._counters["hits"] -= 1
                    self._counters["misses"] += 1
                    self._counters["expired"] += 1
                return False, None
        return found, value

    def __getitem__(self, key: Any) -> Any:
        found, value = self._read(key)
        return self._lend(value) if found else self.__missing__(key)

    def __missing__(self, key: Any) -> Any:
        """What `[]` does about an absent key; a subclass may return, and store, a value instead."""
        raise KeyError(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of `key`, its use noted; `default` if it is absent."""
        if {"__getitem__", "__contains__"} & self._overrides:
            return self[key] if key in self else default  # noqa: SIM401 - the subclass's methods are to be called
        found, value = self._read(key)
        return self._lend(value) if found else default

    def peek(self, key: Any, default: Any = None, /) -> Any:
        """The value of `key`, or `default`; refreshes nothing and is not counted."""
        now = self._read_clock()
        with self._lock:
            entry = self._find(key, hash(key))
            value = None if entry is None else self._held(entry)  # first: `_dead` is not to drop the last reference
            found = entry is not None and not self._dead(entry, now)
        return self._lend(value) if found else default

    def __contains__(self, key: Any) -> bool:
        now = self._read_clock()
        with self._lock:
            entry = self._find(key, hash(key))
            return entry is not None and not self._dead(entry, now)

    def get_many(self, keys: Iterable[Any], /, bulk_loader: Any = None) -> dict[Any, Any]:
        """A dict of those `keys` that are there, each read as by `get`; with `bulk_loader`, of those it brings too."""
        if bulk_loader is not None:
            return self._load_many(keys, bulk_loader)  # type: ignore[attr-defined,no-any-return]
        found = {}
        absent = object()
        for key in keys:
            value = self.get(key, absent)
            if value is not absent:
                found[key] = value
        return found

    # -- writing

    def _weigh(self, value: object) -> float:
        """The size of `value`; called without the lock."""
        if not self._weighs:
            return 1
        weight = self.getsizeof(value) if self._getsizeof is None else self._getsizeof(value)
        if not weight >= 0:
            raise ValueError(f"value size must be non-negative, got {weight!r}")
        if weight != math.floor(weight):
            self._fractions = True
        return float(weight)

    def _make_room(self, key: Hashable, weight: float) -> None:
        """Evict through a subclass's `popitem`, as cachetools does; called without the lock."""
        while True:
            with self._lock:
                entry = self._find(key, hash(key))
                needed = self._total + weight - (entry.weight if entry else 0)
                empty = not self._buckets
            if needed <= self._maxsize or empty:
                return
            self.popitem()

    def _refuse_large(self, weight: float, mode: int) -> None:
        if weight > self._maxsize and mode in (STRICT, ABSENT):
            raise ValueError(f"value too large: size {weight:g}, maxsize {self._maxsize!r}")

    def _write(self, key: Hashable, value: object, ttl: Any, mode: int, load: Load | None) -> bool:
        """Behind `[]=`, `set` and loads; takes the lock itself. Whether the value is stored."""
        if ttl is not ... and ttl is not None:
            raise ValueError(f"ttl must be None: entries of {type(self).__name__} do not expire, got {ttl!r}")
        hashed = hash(key)
        weight = self._weigh(value)
        value = self._store(value, mode)
        self._refuse_large(weight, mode)
        if {"popitem", "__delitem__"} & self._overrides and weight <= self._maxsize:
            self._make_room(key, weight)
        with self._operation() as trash:
            self._bury(trash)
            if weight > self._maxsize:
                if load is None or not load.fenced:
                    self._take(key, 0, trash)
                return False
            if mode == ABSENT and self._find(key, hashed) is not None:
                return False
            entry = self._put(key, value, weight, hashed, load, trash)
            self._tag(entry, load)
            return entry is not None

    def __setitem__(self, key: Any, value: Any) -> None:
        self._write(key, value, ..., STRICT, None)

    def set(self, key: Any, value: Any, /, *, ttl: Any = ..., tags: Iterable[str] = ()) -> bool:
        """Store `value`; False if it does not fit, and then `key` is absent. `ttl` other than None needs a TTLCache."""
        terms = None
        if tags != ():
            terms = Load()
            terms._tag(tags)
        return self._write(key, value, ttl, QUIET, terms)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The value of `key`; if it is absent, `default`, stored."""
        if {"__getitem__", "__contains__", "__setitem__"} & self._overrides:
            if key in self:
                return self[key]
            self[key] = default
            return default
        absent = object()
        while True:
            value = self.get(key, absent)
            if value is not absent:
                return value
            if self._write(key, default, ..., ABSENT, None):
                return self._lend(default)

    def __delitem__(self, key: Any) -> None:
        if not self.invalidate(key):
            raise KeyError(key)

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove `key` and return its value; `default`, or KeyError without one, if it is absent."""
        if len(default) > 1:
            raise TypeError(f"pop expected at most 2 arguments, got {len(default) + 1}")
        if {"__getitem__", "__contains__", "__delitem__"} & self._overrides:
            if key in self:
                value = self[key]
                del self[key]
                return value
        else:
            now = self._read_clock()
            with self._operation() as trash:
                entry = self._take(key, now, trash)
                value = None if entry is None else self._held(entry)
            if entry is not None and not (self._weak and value is None):
                return value
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self) -> tuple[Any, Any]:
        """Remove and return the `(key, value)` that is to be evicted first; KeyError if the cache is empty."""
        now = self._read_clock()
        with self._operation() as trash:
            self._sweep(now, trash)
            entry = self._oldest()
            if entry is not None and "__delitem__" not in self._overrides:
                self._detach(entry, trash, "explicit")
                self._changes += 1
                self._counters["removals"] += 1
        if entry is None:
            raise KeyError(f"{type(self).__name__} is empty")
        key, value = entry.key, self._held(entry)
        if "__delitem__" in self._overrides:
            del self[key]
        return key, value

    def resize(self, maxsize: float, /) -> None:
        """Change `maxsize`; what no longer fits is evicted at once, in the order of the policy."""
        if not maxsize >= 0:
            raise ValueError(f"maxsize must be non-negative, got {maxsize!r}")
        now = self._read_clock()
        with self._operation() as trash:
            self._maxsize = maxsize
            self._sweep(now, trash)
            self._shrink(trash, maxsize)

    # -- looking at the whole

    def __len__(self) -> int:
        now = self._read_clock()
        with self._operation() as trash:
            self._sweep(now, trash)
            return sum(map(len, self._rings()))

    def _iterate(self) -> Iterator[Entry]:
        with self._lock:
            entries = self._all()
            changes = self._changes
        return self._walk(entries, changes)

    def _walk(self, entries: list[Entry], changes: int) -> Iterator[Entry]:
        for entry in entries:
            now = self._read_clock()
            if changes != self._changes:
                raise RuntimeError("cache changed during iteration")
            if entry.linked and not self._dead(entry, now):
                yield entry
        if changes != self._changes:
            raise RuntimeError("cache changed during iteration")

    def __iter__(self) -> Iterator[Any]:
        return (entry.key for entry in self._iterate())

    def _values(self) -> Iterator[Any]:
        """An iterator over the values, which refreshes nothing."""
        return (self._lend(self._held(entry)) for entry in self._iterate())

    def _items(self) -> Iterator[tuple[Any, Any]]:
        """An iterator over `(key, value)`, which refreshes nothing."""
        return ((entry.key, self._lend(self._held(entry))) for entry in self._iterate())

    def getsizeof(self, value: Any, /) -> float:
        """The size of `value` in this cache; a subclass may override it."""
        return 1 if self._getsizeof is None else self._getsizeof(value)

    @property
    def maxsize(self) -> float:
        """The sum of sizes that fits."""
        return self._maxsize

    @property
    def currsize(self) -> float:
        """The sum of sizes of what the cache holds."""
        len(self)
        with self._lock:
            return self._total if self._fractions else int(self._total)

    def _entries(self) -> list[tuple[Any, ...]]:
        """`(key, value, lifetime)` of all live entries, the first to be evicted first; lifetime None: for ever."""
        now = self._read_clock()
        with self._operation() as trash:
            self._sweep(now, trash)
            return [self._snapshot(e, now) for e in self._all()]

    def _restore(self, entries: Iterable[tuple[Any, ...]], /) -> None:
        """Store what another cache's `_entries` returned, in that order."""
        for key, value, lifetime in entries:
            if value is None and self._weak:
                continue
            self._write(key, value, lifetime, RESTORE, None)

    def _config(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The constructor's arguments, positional and by name."""
        return (self._maxsize, self._getsizeof), dict(self._options)

    def _counts(self, reset: bool = False, /) -> tuple[Any, ...]:
        """All counters, the number of entries, their size and maxsize, at one instant; then start again from zero."""
        with self._lock:
            size = self.currsize
            count = sum(map(len, self._rings()))
            counts = (*self._counters.values(), count, size, self._maxsize)
            if reset:
                self._counters = dict.fromkeys(COUNTERS, 0)
                self._counters["insertions"] = count  # what is there now counts as inserted since
            return counts

    def shadow(self, rate: float | None = None) -> Any:
        """Watch what LRU and S3-FIFO would hit in place of this cache, at half, the same and double size: a Shadow."""
        return import_module("fastcore._py.shadow").Shadow(self, rate)
