"""The S3-FIFO cache in plain Python: the TTL cache with two queues and a third one of hashes.

A new entry goes to the small queue, or to the main one if its hash is in the ghost queue. At the old end of the small
queue an entry leaves, and its hash becomes the newest ghost, unless it was used twice: then it moves to main. At the
old end of main one that was used goes back to the end, with one use less; others leave.

User code may run where the TTL cache runs it; a read asks the timer only about an entry that has a deadline.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from fastcore._py.listeners import Gone
from fastcore._py.slots import Entry
from fastcore._py.ttl import TTLCache

USES, TWICE, YOUNG = 3, 2, 4


def share(limit: float, part: float) -> float:
    """A part of a size, rounded down unless that leaves nothing."""
    share = limit * part
    return math.floor(share) if 1 <= share < math.inf else share


def code_of(hash: int) -> int:
    """The 32 bits of a hash that a ghost keeps."""
    mixed = (hash % 2**64 * 0x9E3779B97F4A7C15) % 2**64 >> 32
    return mixed or 1


class S3FIFOCache(TTLCache):
    """A cache that keeps what is used again: one-time keys leave through a small queue and displace nothing else.

    `fastcore.cache.S3FIFOCache` documents it, and adds what both twins share.
    """

    __slots__ = ("_divided", "_evicted", "_ghost", "_ghost_total", "_limits", "_small", "_small_total")

    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[Any], float] | None = None,
        ttl: float | None = None,
        timer: Callable[[], Any] | None = None,
        *,
        jitter: float = 0.0,
        touch: str = "write",
        rng: Callable[[], float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(maxsize, ttl, timer, getsizeof, jitter=jitter, touch=touch, rng=rng, **options)

    def _configure(self, maxsize: float, getsizeof: Callable[[Any], float] | None) -> None:
        super()._configure(maxsize, getsizeof)
        self._small: OrderedDict[Entry, None] = OrderedDict()
        self._ghost: OrderedDict[int, float] = OrderedDict()
        self._forget()

    def _forget(self) -> None:
        """Begin anew, without entries."""
        self._small_total: float = 0
        self._ghost_total: float = 0
        self._ghost.clear()
        self._evicted = False
        self._divide()

    def _divide(self) -> None:
        """Divide `maxsize` among the queues: the limits of small, main and ghosts."""
        small = share(self._maxsize, 0.1)
        main = self._maxsize - small if small < self._maxsize else self._maxsize
        self._divided = self._maxsize
        self._limits = small, main, share(self._maxsize, 0.9)
        self._trim_ghosts(self._limits[2])

    # -- the ghost queue

    def _trim_ghosts(self, limit: float) -> None:
        while self._ghost and self._ghost_total > limit:
            self._ghost_total -= self._ghost.popitem(last=False)[1]
        self._ghost_total = self._ghost_total if self._ghost else 0

    def _haunt(self, entry: Entry) -> None:
        """Note the hash of an entry that is evicted from the small queue."""
        code = code_of(entry.hash)
        if entry.weight <= self._limits[2]:
            self._trim_ghosts(self._limits[2] - entry.weight)
            if code not in self._ghost:
                self._ghost[code] = entry.weight
                self._ghost_total += entry.weight

    def _exorcise(self, hash: int) -> bool:
        """Take a hash out of the ghost queue; whether it was there."""
        weight = self._ghost.pop(code_of(hash), None)
        if weight is not None:
            self._ghost_total = self._ghost_total - weight if self._ghost else 0
        return weight is not None

    # -- the other two

    def _rings(self) -> tuple[OrderedDict[Entry, None], ...]:
        return self._main, self._pinned, self._small

    def _ring(self, entry: Entry) -> OrderedDict[Entry, None]:
        if not entry.weight:
            return self._pinned
        return self._small if entry.place & YOUNG else self._main

    def _leave(self, entry: Entry) -> None:
        """Take an entry off its queue."""
        if entry.place & YOUNG:
            self._small_total = self._small_total - entry.weight if len(self._small) > 1 else 0
        del self._ring(entry)[entry]

    def _enter(self, entry: Entry, place: int) -> None:
        """Make an entry the newest of the queue that `place` says."""
        entry.place = place if entry.weight else place & USES
        self._ring(entry)[entry] = None
        if entry.place & YOUNG:
            self._small_total += entry.weight

    def _use(self, entry: Entry) -> None:
        if entry.place & USES != USES:
            entry.place += 1

    def _victim(self) -> Entry | None:
        """The entry to go next; moves what stands before it."""
        if self._small and (self._total - self._small_total <= self._limits[1] or not self._main):
            while self._small:
                entry = next(iter(self._small))
                if entry.place & USES < TWICE:
                    return entry
                self._leave(entry)
                self._enter(entry, 0)
        while self._main:
            entry = next(iter(self._main))
            if not entry.place:
                return entry
            entry.place -= 1
            self._main.move_to_end(entry)
        return None

    def _oldest(self) -> Entry | None:
        return self._victim() or next(iter(self._pinned), None)

    def _shrink(self, trash: Gone, limit: float) -> None:
        """Evict until the rest fits into `limit`."""
        if self._divided != self._maxsize:
            self._divide()
        while self._total > limit:
            entry = self._victim()
            if entry is None:
                return
            self._evicted = True
            if entry.place & YOUNG:
                self._haunt(entry)
            self._detach(entry, trash)
            self._counters["evictions"] += 1
            self._changes += 1

    def _detach(self, entry: Entry, trash: Gone, cause: str = "size") -> None:
        if entry.place & YOUNG:
            self._small_total = self._small_total - entry.weight if len(self._small) > 1 else 0
        super()._detach(entry, trash, cause)

    def _admit(self, entry: Entry, trash: Gone) -> None:
        known = self._exorcise(entry.hash)
        self._shrink(trash, self._maxsize - entry.weight)
        if entry.weight and not known and (self._evicted or self._small_total < self._limits[0]):
            entry.place = YOUNG
            self._small_total += entry.weight

    def _reuse(self, entry: Entry, weight: float, trash: Gone) -> None:
        self._use(entry)
        if weight == entry.weight:
            return
        if weight and entry.weight and self._total - entry.weight + weight <= self._maxsize:
            self._total += weight - entry.weight
            if entry.place & YOUNG:
                self._small_total += weight - entry.weight
            entry.weight = weight
            return
        self._leave(entry)
        self._total -= entry.weight
        self._shrink(trash, self._maxsize - weight)
        entry.weight = weight
        self._enter(entry, entry.place)
        self._total += weight

    # -- reading

    def _fetch(self, key: Hashable) -> tuple[bool, Any]:
        hashed, reading = hash(key), None
        while True:
            with self._lock:
                entry = self._find(key, hashed)
                if entry is None:
                    self._seen(hashed, None)
                    self._counters["misses"] += 1
                    return False, None
                if entry.expires == math.inf or reading is not None:
                    if reading is not None and entry.expires != math.inf:
                        now = self._settle(reading)
                        if now >= entry.expires:
                            self._unseen(hashed)
                            self._seen(hashed, None)
                            self._counters["expired"] += 1
                            self._counters["misses"] += 1
                            return False, None
                        if self._extends:
                            self._arm(entry, max(self._deadline(now, entry.ttl), entry.expires))
                    self._seen(hashed, entry)
                    self._counters["hits"] += 1
                    self._use(entry)
                    return True, entry.value
            reading = self._read_timer()

    # -- the whole

    def _config(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The constructor's arguments, positional and by name."""
        (maxsize, ttl, timer, getsizeof), named = super()._config()
        return (maxsize, getsizeof, ttl, timer), named

    def _snapshot(self, entry: Entry, now: float) -> tuple[Any, ...]:
        return *super()._snapshot(entry, now), entry.place

    def _restore(self, entries: Iterable[tuple[Any, ...]], /) -> None:
        """Store what another cache's `_entries` returned, each in its queue and with its uses."""
        for key, value, lifetime, place in entries:
            super()._restore([(key, value, lifetime)])
            with self._lock:
                entry = self._find(key, hash(key))
                if entry is not None:
                    self._leave(entry)
                    self._enter(entry, place)

    def _ghosts(self) -> list[int]:
        """The hashes in the ghost queue, the first to be forgotten first."""
        with self._lock:
            return list(self._ghost)

    def _check(self) -> list[Any]:
        """As TTLCache._check; and assert that queues and ghosts are what their sizes say."""
        with self._lock:
            keys = super()._check()
            assert all(e.place & YOUNG for e in self._small), "entry of the small queue is not young"
            assert all(e.place <= USES for ring in (self._main, self._pinned) for e in ring), "impossible place"
            small, ghosts = sum(e.weight for e in self._small), sum(self._ghost.values())
            assert abs(small - self._small_total) <= 1e-9 * (1 + small), "sizes of the small queue do not add up"
            assert abs(ghosts - self._ghost_total) <= 1e-9 * (1 + ghosts), "sizes of ghosts do not add up"
            assert self._ghost_total <= self._limits[2], "too many ghosts"
            return keys
