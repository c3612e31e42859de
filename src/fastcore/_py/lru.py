"""The LRU cache in plain Python.

An entry is an object of its own. Buckets of entries by hash find it, an ordered dict of entries (by identity) orders it
by use. Keys are compared in `_find` alone, so removing an entry runs no user code and cannot fail half-way.

A re-entrant lock makes each method atomic. It is held while keys are compared, and never while a value is weighed or a
displaced key or value is dropped.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from types import GenericAlias
from typing import Any
from weakref import ref

from fastcore._py.listeners import Gone, Listeners, Section
from fastcore._py.tags import Tags, exact

QUIET, STRICT, ABSENT, RESTORE = range(4)

COUNTERS = (
    "hits",
    "misses",
    "expired",
    "insertions",
    "updates",
    "removals",
    "evictions",
    "expirations",
    "loads",
    "load_failures",
    "loads_discarded",
)


class Load:
    """A load in flight; a fenced one must not store its result.

    The cache fences it when its key is set, removed or invalidated. Subclasses add what waiters need.
    """

    fenced = False
    tags: tuple[str, ...] = ()  # of the entry to be; empty: not known

    def _tag(self, tags: Iterable[str], /) -> None:
        """Give what is going to be stored these tags, before it is begun."""
        self.tags = exact(tags)


class Entry:
    """A key with its value; `linked` as long as it is in the cache."""

    __slots__ = ("expires", "hash", "key", "linked", "place", "seq", "ttl", "value", "weight")

    def __init__(self, key: Hashable, value: object, hash: int) -> None:
        self.key = key
        self.value = value
        self.hash = hash
        self.weight: float = 1
        self.linked = False
        self.expires: float = math.inf
        self.ttl: float = math.inf
        self.seq = 0
        self.place = 0


class LRUCache:
    """A mapping that holds at most `maxsize` and drops the least recently used entry to make room.

    `fastcore.cache.LRUCache` documents it, and adds what both twins share.
    """

    __slots__ = (
        "__weakref__",
        "_buckets",
        "_changes",
        "_copier",
        "_copies",
        "_counters",
        "_deaths",
        "_flight_version",
        "_flights",
        "_fractions",
        "_getsizeof",
        "_listeners",
        "_lock",
        "_main",
        "_maxsize",
        "_options",
        "_overrides",
        "_pinned",
        "_references",
        "_sampler",
        "_tags",
        "_total",
        "_version",
        "_weak",
        "_weighs",
    )

    def __init__(self, maxsize: float, getsizeof: Callable[[Any], float] | None = None, **options: Any) -> None:
        self._configure(maxsize, getsizeof)
        self._equip(options)

    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias:
        """Generic alias, for annotations."""
        return GenericAlias(cls, item)

    # -- hooks of a subclass with deadlines

    def _read_clock(self) -> float:
        return 0

    def _dead(self, entry: Entry, now: float) -> bool:
        return self._gone(entry)

    def _sweep(self, now: float, trash: Gone) -> None:
        self._bury(trash)

    def _forget(self) -> None:
        """All entries are gone."""

    def _lifetime(self, entry: Entry, now: float) -> float | None:
        return None

    def _snapshot(self, entry: Entry, now: float) -> tuple[Any, ...]:
        """An entry as `_restore` understands it."""
        return entry.key, self._held(entry), self._lifetime(entry, now)

    # -- inner parts; those that take no lock run under it

    def _configure(self, maxsize: float, getsizeof: Callable[[Any], float] | None) -> None:
        if not maxsize >= 0:
            raise ValueError(f"maxsize must be non-negative, got {maxsize!r}")
        own = next(c for c in type(self).__mro__ if c.__module__.startswith("fastcore._py."))
        names = ("__getitem__", "__contains__", "__setitem__", "__delitem__", "popitem", "getsizeof")
        self._overrides = frozenset(n for n in names if getattr(type(self), n) is not getattr(own, n))
        self._lock = Section(type(self).__name__)
        self._listeners: Listeners | None = None
        self._tags = Tags()
        self._deaths: deque[Any] = deque()
        self._references: dict[int, Entry] = {}
        self._weak = False
        self._sampler: Any = None
        self._buckets: dict[int, list[Entry]] = {}
        self._main: OrderedDict[Entry, None] = OrderedDict()
        self._pinned: OrderedDict[Entry, None] = OrderedDict()
        self._flights: dict[Hashable, Load] = {}
        self._flight_version = self._version = self._changes = 0
        self._getsizeof = getsizeof
        self._maxsize = maxsize
        self._total: float = 0
        self._weighs = getsizeof is not None or "getsizeof" in self._overrides
        self._fractions = False
        self._counters = dict.fromkeys(COUNTERS, 0)

    def _equip(self, options: dict[str, Any]) -> None:
        """Take up the options that every cache has, the last step of the constructor."""
        self._options = dict(options)
        on_removal, on_eviction = options.pop("on_removal", None), options.pop("on_eviction", None)
        way, copier = options.pop("copy", None), options.pop("copier", None)
        self._weak = bool(options.pop("weak_values", False))
        if self._weak and way is not None:
            raise ValueError("weak_values and copy exclude each other: a copy would die at once")
        if way is not None and way not in ("on_read", "on_write", "both"):
            raise ValueError(f"copy must be 'on_read', 'on_write', 'both' or None, got {way!r}")
        if copier is not None and not callable(copier):
            raise TypeError(f"copier must be callable, got {copier!r}")
        if options:
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {next(iter(options))!r}")
        if on_removal is not None or on_eviction is not None:
            self._listeners = Listeners(on_removal, on_eviction)
        self._copier = deepcopy if copier is None else copier
        self._copies = frozenset({"on_read", "on_write"} if way == "both" else {way})

    def _store(self, value: Any, mode: int) -> Any:
        """What is stored for `value`; called without the lock."""
        if self._weak:
            return ref(value, self._deaths.append)
        return self._copier(value) if "on_write" in self._copies and mode != RESTORE else value

    def _held(self, entry: Entry) -> Any:
        """The value of an entry; None if it is weakly held and gone."""
        return entry.value() if self._weak else entry.value  # type: ignore[operator]

    def _gone(self, entry: Entry) -> bool:
        return self._weak and self._held(entry) is None

    def _bury(self, trash: Gone) -> None:
        """Remove the entries whose values were weakly held and are gone."""
        while self._deaths:
            reference = self._deaths.popleft()
            entry = self._references.get(id(reference))
            if entry is not None and entry.value is reference:
                self._detach(entry, trash, "collected")
                self._counters["expirations"] += 1

    def _lend(self, value: Any, /) -> Any:
        """What one who waited for a load gets for the `value` that it brought."""
        return self._copier(value) if "on_read" in self._copies else value

    @contextmanager
    def _operation(self) -> Iterator[Gone]:
        """The lock, and a list for what goes, which is dropped and told to listeners afterwards."""
        gone: Gone = []
        try:
            with self._lock:
                yield gone
                if self._listeners is not None:
                    self._listeners.announce(self._lock, gone)
        finally:
            if self._listeners is not None:
                self._listeners.notify(gone)

    def _seen(self, hash: int, entry: Entry | None) -> None:
        """Tell a shadow of a read."""
        if self._sampler is not None:
            self._sampler.read(hash, None if entry is None else entry.weight)

    def _unseen(self, hash: int) -> None:
        """Tell a shadow of a key that somebody removed, or that has died."""
        if self._sampler is not None:
            self._sampler.remove(hash)

    def _ring(self, entry: Entry) -> OrderedDict[Entry, None]:
        return self._main if entry.weight else self._pinned

    def _rings(self) -> tuple[OrderedDict[Entry, None], ...]:
        return self._main, self._pinned

    def _all(self) -> list[Entry]:
        return [entry for ring in self._rings() for entry in ring]

    def _oldest(self) -> Entry | None:
        """The entry to go first."""
        return next(iter(self._main or self._pinned), None)

    def _reuse(self, entry: Entry, weight: float, trash: Gone) -> None:
        """`entry` is set again, at `weight`."""
        del self._ring(entry)[entry]
        self._total += weight - entry.weight
        entry.weight = weight
        self._ring(entry)[entry] = None

    def _admit(self, entry: Entry, trash: Gone) -> None:
        """Make room for a new `entry`, where that is done beforehand."""
        if not self._weighs and self._total + 1 > self._maxsize:
            self._shrink(trash, self._maxsize - 1)

    def _find(self, key: Hashable, hash: int) -> Entry | None:
        """The entry of `key`. What it returns is true when it returns."""
        rejected: list[Entry] = []
        while True:
            version = self._version
            entry = self._search(key, hash, rejected)
            if entry is not None or version == self._version:
                # Entries that were removed meanwhile die here, and that may change the cache too.
                version = self._version
                rejected.clear()
                if version == self._version if entry is None else entry.linked:
                    return entry
            entry = None

    def _search(self, key: Hashable, hash: int, rejected: list[Entry]) -> Entry | None:
        """As `_find`, or None because a comparison has changed the cache; no key of `rejected` is asked again."""
        version = self._version
        for entry in tuple(self._buckets.get(hash, ())):
            if entry.key is key:
                return entry
            if any(entry is r for r in rejected):
                continue
            equal = bool(entry.key == key)
            if equal and entry.linked:
                return entry
            if version != self._version:
                if not equal:
                    rejected.append(entry)
                break
        return None

    def _locate(self, key: Hashable, hash: int) -> tuple[Entry | None, Load | None]:
        """The entry of `key` and its load in flight, both true at the same instant."""
        while True:
            version = self._flight_version
            flight = self._flights.get(key) if self._flights else None
            entry = self._find(key, hash)
            if version == self._flight_version:
                return entry, flight
            entry = flight = None  # their drop may change the cache

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

    def _link(self, entry: Entry) -> None:
        self._buckets.setdefault(entry.hash, []).append(entry)
        self._ring(entry)[entry] = None
        entry.linked = True
        self._total += entry.weight
        self._version += 1

    def _detach(self, entry: Entry, trash: Gone, cause: str = "size") -> None:
        """Take an entry out and keep what it held in `trash`, which the caller drops after the lock."""
        bucket = self._buckets[entry.hash]
        del bucket[next(i for i, e in enumerate(bucket) if e is entry)]
        if not bucket:
            del self._buckets[entry.hash]
        del self._ring(entry)[entry]
        entry.linked = False
        # No drift from fractions: what is pinned weighs nothing.
        self._total = self._total - entry.weight if any(r for r in self._rings() if r is not self._pinned) else 0
        self._version += 1
        if cause != "size":
            self._unseen(entry.hash)
        self._tags.remove(entry)
        self._references.pop(id(entry.value), None)
        trash.append((entry.key, self._held(entry), cause))

    def _shrink(self, trash: Gone, limit: float) -> None:
        """Evict the least recently used until the rest fits into `limit`."""
        while self._total > limit and self._main:
            entry = next(iter(self._main))
            if len(self._main) == 1:
                self._total = entry.weight  # what is alone is not evicted by the drift of fractions
                if self._total <= limit:
                    break
            self._detach(entry, trash)
            self._counters["evictions"] += 1
            self._changes += 1

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

    def _put(
        self, key: Hashable, value: object, weight: float, hash: int, load: Load | None, trash: Gone
    ) -> Entry | None:
        """Store an entry that fits, fence a load of its key; None if it is not stored."""
        entry, flight = self._locate(key, hash)
        if load is not None and load.fenced:
            return None
        if weight > self._maxsize:
            # The cache shrank while keys were compared: as if that had come after this.
            if flight is not None:
                flight.fenced = True
            if entry is not None:
                self._detach(entry, trash)
                self._counters["evictions"] += 1
                self._changes += 1
            return None
        if entry is not None:
            self._references.pop(id(entry.value), None)
            trash.append((entry.key, self._held(entry), "replaced"))
            entry.value = value
            self._tags.remove(entry)
            self._reuse(entry, weight, trash)
            self._counters["updates"] += 1
        else:
            entry = Entry(key, value, hash)
            entry.weight = weight
            self._admit(entry, trash)
            self._link(entry)
            self._counters["insertions"] += 1
            self._changes += 1
        if self._weak:
            self._references[id(value)] = entry
        if flight is not None:
            flight.fenced = True
        if self._sampler is not None:
            self._sampler.write(hash, weight)
        self._shrink(trash, self._maxsize)
        return entry if entry.linked else None

    def _take(self, key: Hashable, now: float, trash: Gone) -> Entry | None:
        """Remove the entry of `key` and fence its load; the entry if it was alive."""
        hashed = hash(key)
        entry, flight = self._locate(key, hashed)
        self._unseen(hashed)
        if flight is not None:
            flight.fenced = True
        if entry is None:
            return None
        value = self._held(entry)  # first, and to the end: nothing on the way may let go of the last reference
        dead = self._dead(entry, now)
        collected = self._weak and value is None
        self._detach(entry, trash, "collected" if collected else "expired" if dead else "explicit")
        self._changes += 1
        self._counters["expirations" if dead else "removals"] += 1
        return None if dead else entry

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

    def _tag(self, entry: Entry | None, load: Load | None) -> None:
        """Give an entry that has just been stored the tags of its load."""
        if entry is not None and load is not None and load.tags:
            self._tags.attach(entry, load.tags)

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

    def invalidate(self, key: Any, /) -> bool:
        """Remove `key`; True if it was there. A load of it that is in flight will not be stored."""
        now = self._read_clock()
        with self._operation() as trash:
            return self._take(key, now, trash) is not None

    def invalidate_prefix(self, prefix: str | bytes, /) -> int:
        """Remove the str (or bytes) keys that begin with `prefix` and fence their loads; the number removed. O(n)."""
        if not isinstance(prefix, (str, bytes)):
            raise TypeError(f"prefix must be str or bytes, got {type(prefix).__name__}")
        now = self._read_clock()
        with self._operation() as trash:
            self._sweep(now, trash)
            for key, load in self._flights.items():
                if _begins(key, prefix):
                    load.fenced = True
            doomed = [e for ring in self._rings() for e in ring if _begins(e.key, prefix)]
            for entry in doomed:
                self._detach(entry, trash, "explicit")
            self._counters["removals"] += len(doomed)
            self._changes += len(doomed)
        return len(doomed)

    def invalidate_tag(self, tag: str, /) -> int:
        """Remove the entries with `tag`; the number removed. Loads that may be of such are not stored. O(removed)."""
        if not isinstance(tag, str):
            raise TypeError(f"tag must be str, got {type(tag).__name__}")
        tag = str.__str__(tag)
        now = self._read_clock()
        with self._operation() as trash:
            self._sweep(now, trash)
            for load in self._flights.values():
                if not load.tags or tag in load.tags:
                    load.fenced = True
            doomed = list(self._tags.entries.get(tag, ()))
            for entry in doomed:
                self._detach(entry, trash, "explicit")
            self._counters["removals"] += len(doomed)
            self._changes += len(doomed)
        return len(doomed)

    def invalidate_all(self) -> None:
        """Remove every entry; no load that is in flight will be stored."""
        LRUCache.clear(self)

    def clear(self) -> None:
        """Remove every entry; no load that is in flight will be stored."""
        now = self._read_clock()
        with self._operation() as trash:
            for load in self._flights.values():
                load.fenced = True
            self._sweep(now, trash)
            entries = self._all()
            for entry in entries:
                self._detach(entry, trash, "explicit")
            self._forget()
            if self._sampler is not None:
                self._sampler.clear()
            self._counters["removals"] += len(entries)
            self._changes += 1
            self._version += 1

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

    def _tagged(self) -> list[tuple[Any, tuple[str, ...]]]:
        """A list of `(key, tags)` of the entries that have tags."""
        with self._lock:
            return [(entry.key, tags) for entry, tags in self._tags.tags.items()]

    def _retag(self, pairs: Iterable[tuple[Any, tuple[str, ...]]], /) -> None:
        """Tag entries as another cache's `_tagged` says."""
        for key, tags in pairs:
            with self._lock:
                entry = self._find(key, hash(key))
                if entry is not None:
                    self._tags.remove(entry)
                    self._tags.attach(entry, tags)

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

    # -- loads in flight: the half of single flight that needs the lock

    def _begin_load(self, key: Any, load: Load, /) -> tuple[bool, Any]:
        """`(True, value)` if `key` is there; else `(False, flight)`: `load` if it may run, or the one to wait for."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        now = self._read_clock()
        with self._lock:
            try:
                while True:
                    current = None  # here: no drop may come between the entry of a load and its version
                    current = self._flights.setdefault(key, load)
                    self._flight_version += 1
                    if current is load:
                        break
                    if not current.fenced:
                        # Who invalidates one of the tags asked for must fence the load that is joined.
                        if set(load.tags) <= set(current.tags):
                            break
                        current.fenced = True
                    self._retire(key, current)
                if current is not load:
                    return False, current
                # Registered first: a load that ends now was either joined above or has stored what is found here.
                entry = self._find(key, hash(key))
                value = None if entry is None else self._held(entry)
                if entry is not None and not self._dead(entry, now):
                    load.fenced = True
                    self._retire(key, load)
                    return True, value
                self._counters["loads"] += 1
                return False, load
            except BaseException:
                load.fenced = True  # whoever meets it among the loads in flight takes it out
                raise

    def _end_load(self, key: Any, load: Load, value: Any, /) -> bool:
        """Store what `load` brought, unless it was fenced; whether it is stored."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        try:
            stored = self._write(key, value, ..., QUIET, load)
            if not stored:
                self._counters["loads_discarded"] += 1
        finally:
            with self._lock:
                load.fenced = True
                self._retire(key, load)
        return stored

    def _fail_load(self, key: Any, load: Load, /) -> None:
        """Forget a load that brought nothing."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        with self._lock:
            self._counters["load_failures"] += 1
            load.fenced = True
            self._retire(key, load)

    def _retire(self, key: Any, load: Load) -> None:
        """Take a fenced `load` out of the loads in flight, if it is the one that stands there."""
        if self._flights.get(key) is load:
            removed = self._flights.pop(key, None)
            self._flight_version += 1
            if removed is not None:
                # Another may have taken its place while the keys were compared: it runs, but nobody will find it.
                removed.fenced = True

    # -- for tests

    def _check(self) -> list[Any]:
        """Assert that buckets and rings agree, without running user code; the keys, first to be evicted first."""
        with self._lock:
            entries = self._all()
            bucketed = [e for bucket in self._buckets.values() for e in bucket]
            assert {id(e) for e in entries} == {id(e) for e in bucketed}, "buckets and rings differ"
            assert len(entries) == len(bucketed), "an entry stands in two places"
            assert all(e.linked for e in entries), "entry not linked"
            assert all(bool(e.weight) != (e in self._pinned) for e in entries), "entry on the wrong ring"
            total = sum(e.weight for e in entries)
            assert abs(total - self._total) <= 1e-9 * (1 + total), "sizes do not add up"
            assert self._total <= self._maxsize, "over maxsize"
            self._tags.check()
            assert set(self._tags.tags) <= set(entries), "tags of an entry that is gone"
            return [e.key for e in entries]


def _begins(key: object, prefix: str | bytes) -> bool:
    """Whether `key` begins with `prefix` and is of its type, without a method that a subclass could override."""
    if isinstance(prefix, str):
        return isinstance(key, str) and str.startswith(key, prefix)
    return isinstance(key, bytes) and bytes.startswith(key, prefix)
