"""The TTL cache in plain Python: an LRU cache whose entries carry a deadline, in a heap.

The heap holds deadlines with the numbers under which `_due` knows their entries. An entry that is set again, or
removed, leaves its old deadline behind: its number is forgotten, and it is thrown away when it comes up, or when such
deadlines outnumber the entries.

User code may run where the LRU cache runs it, and at: a given `timer`, and `rng`, both without the lock.
"""

import heapq
import math
import operator
import random
import time
from collections.abc import Callable, Hashable
from typing import Any

from fastcore._py.listeners import Gone
from fastcore._py.lru import LRUCache
from fastcore._py.slots import ABSENT, RESTORE, Entry, Load

NS_PER_S = 1_000_000_000


class TTLCache(LRUCache):
    """An LRU cache whose entries also die, `ttl` after they were written.

    `fastcore.cache.TTLCache` documents it, and adds what both twins share.
    """

    __slots__ = (
        "_due",
        "_extends",
        "_floats",
        "_heap",
        "_in_ns",
        "_latest",
        "_rng",
        "_seq",
        "_spread",
        "_timer",
        "_ttl",
    )

    def __init__(
        self,
        maxsize: float,
        ttl: float | None,
        timer: Callable[[], Any] | None = None,
        getsizeof: Callable[[Any], float] | None = None,
        *,
        jitter: float = 0.0,
        touch: str = "write",
        rng: Callable[[], float] | None = None,
        **options: Any,
    ) -> None:
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter must be at least 0 and less than 1, got {jitter!r}")
        if touch not in ("write", "access"):
            raise ValueError(f"touch must be 'write' or 'access', got {touch!r}")
        self._in_ns = timer is None or timer is time.monotonic
        self._parse(ttl)
        self._configure(maxsize, getsizeof)
        self._timer = time.monotonic if timer is None else timer
        self._rng = random.random if rng is None else rng
        self._latest = -math.inf
        self._floats = False
        self._heap: list[tuple[float, int]] = []
        self._due: dict[int, Entry] = {}
        self._seq = 0
        self._spread = jitter
        self._extends = touch == "access"
        self._ttl = ttl
        self._equip(options)

    # -- time

    def _parse(self, ttl: float | None) -> float:
        """A time to live as the clock counts: integer nanoseconds, or units of the timer; inf: for ever."""
        span = math.inf if ttl is None else ttl
        if not span >= 0:
            raise ValueError(f"ttl must be non-negative or None, got {ttl!r}")
        return self._measure(span)

    def _measure(self, span: float) -> float:
        if span >= (9.2e9 if self._in_ns else 9.2e18):
            return math.inf
        return max(1, int(span * 1e9 + 0.5)) if self._in_ns and span else span

    def _read_timer(self) -> float:
        """The clock as it is; called without the lock."""
        if self._in_ns:
            return time.monotonic_ns()
        now: Any = self._timer()
        if now != now:
            raise ValueError("timer returned nan")
        return operator.index(now) if hasattr(now, "__index__") else float(now)

    def _settle(self, now: float) -> float:
        """The current time, never less than any before."""
        self._floats |= isinstance(now, float)
        self._latest = max(self._latest, now)
        return self._latest

    def _deadline(self, now: float, span: float) -> float:
        """The first instant at which an entry written at `now` is dead; an integer as long as the timer counts so."""
        return now + (span if self._floats or span == math.inf else math.ceil(span))

    def _read_clock(self) -> float:
        now = self._read_timer()
        with self._lock:
            return self._settle(now)

    def _dead(self, entry: Entry, now: float) -> bool:
        return now >= entry.expires or self._gone(entry)

    def _arm(self, entry: Entry, expires: float) -> None:
        self._due.pop(entry.seq, None)
        entry.expires = expires
        self._seq += 1
        entry.seq = self._seq
        if expires != math.inf:
            self._due[entry.seq] = entry
            heapq.heappush(self._heap, (expires, entry.seq))
        if len(self._heap) > 2 * len(self._due) + 16:
            self._heap = [place for place in self._heap if place[1] in self._due]
            heapq.heapify(self._heap)

    def _detach(self, entry: Entry, trash: Gone, cause: str = "size") -> None:
        super()._detach(entry, trash, cause)
        self._due.pop(entry.seq, None)

    def _sweep(self, now: float, trash: Gone) -> None:
        self._bury(trash)
        while self._heap and self._heap[0][0] <= now:
            entry = self._due.get(heapq.heappop(self._heap)[1])
            if entry is not None:
                self._detach(entry, trash, "expired")
                self._counters["expirations"] += 1

    def _lifetime(self, entry: Entry, now: float) -> float | None:
        if entry.expires == math.inf:
            return None
        return (entry.expires - now) / 1e9 if self._in_ns else entry.expires - now

    def _write(self, key: Hashable, value: object, ttl: Any, mode: int, load: Load | None) -> bool:
        span = self._parse(self._ttl if ttl is ... else ttl)
        fraction = span != math.inf and span % 1 != 0
        hashed = hash(key)
        weight = self._weigh(value)
        value = self._store(value, mode)
        self._refuse_large(weight, mode)
        if self._spread and 0 < span < math.inf and mode != RESTORE:
            span *= 1 + self._spread * (2 * self._rng() - 1)
            span = max(1, int(span + 0.5)) if self._in_ns else span
        reading = self._read_timer()
        if {"popitem", "__delitem__"} & self._overrides and weight <= self._maxsize:
            self._make_room(key, weight)
        with self._operation() as trash:
            self._floats |= fraction
            now = self._settle(reading)
            self._sweep(now, trash)
            expires = self._deadline(now, span)
            if mode == ABSENT and self._find(key, hashed) is not None:
                return False
            if weight > self._maxsize or expires <= now:
                if load is None or not load.fenced:
                    self._take(key, now, trash)
                return mode == ABSENT  # stored where nothing was, for no time at all
            entry = self._put(key, value, weight, hashed, load, trash)
            if entry is None:
                return False
            entry.ttl = self._parse(self._ttl) if mode == RESTORE else span
            self._tag(entry, load)
            self._arm(entry, expires)
            return True

    # -- reading

    def _fetch(self, key: Hashable) -> tuple[bool, Any]:
        reading = 0 if self._in_ns else self._read_timer()
        hashed = hash(key)
        with self._lock:
            entry = self._find(key, hashed)
            if entry is not None:
                now = self._settle(self._read_timer() if self._in_ns else reading)
                if now < entry.expires:
                    self._seen(hashed, entry)
                    self._counters["hits"] += 1
                    self._ring(entry).move_to_end(entry)
                    if self._extends:
                        self._arm(entry, max(self._deadline(now, entry.ttl), entry.expires))
                    return True, entry.value
                self._unseen(hashed)
                self._counters["expired"] += 1
            self._seen(hashed, None)
            self._counters["misses"] += 1
            return False, None

    # -- the cachetools interface to time

    @property
    def ttl(self) -> float | None:
        """Time to live of an entry, in the unit of the timer; None: for ever."""
        return self._ttl

    @property
    def timer(self) -> Callable[[], Any]:
        """The callable that tells the time."""
        return self._timer

    def expire(self, time: Any = None) -> list[tuple[Any, Any]]:
        """Remove what is dead, now or (in O(n)) at `time`, and return it as a list of `(key, value)`."""
        now = self._read_clock()
        with self._operation() as trash:
            if time is None:
                self._sweep(now, trash)
            else:
                at = int(time * 1e9) if self._in_ns else time
                self._floats |= isinstance(at, float)
                for entry in self._all():
                    if at >= entry.expires:
                        self._detach(entry, trash, "expired")
                        self._counters["expirations"] += 1
        return [(key, value) for key, value, _ in trash]

    def _config(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The constructor's arguments, positional and by name."""
        named: dict[str, Any] = {"jitter": self._spread, "touch": "access" if self._extends else "write"}
        named |= {"rng": self._rng, **self._options}
        return (self._maxsize, self._ttl, None if self._in_ns else self._timer, self._getsizeof), named

    def _check(self) -> list[Any]:
        """As LRUCache._check; and assert that every deadline stands in the heap."""
        with self._lock:
            keys = LRUCache._check(self)
            places = set(self._heap)
            timed = [e for ring in self._rings() for e in ring if e.expires != math.inf]
            assert len(timed) == len(self._due), "deadlines lost"
            for entry in timed:
                assert self._due[entry.seq] is entry, "deadline of another entry"
                assert (entry.expires, entry.seq) in places, "deadline lost"
            return keys
