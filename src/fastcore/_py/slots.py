"""What every cache in plain Python is made of: entries, how they are found, and in which order they stand.

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


class Slots:
    """The entries of a cache."""

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

    def _tag(self, entry: Entry | None, load: Load | None) -> None:
        """Give an entry that has just been stored the tags of its load."""
        if entry is not None and load is not None and load.tags:
            self._tags.attach(entry, load.tags)

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
