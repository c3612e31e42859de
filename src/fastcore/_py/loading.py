"""What a loading cache keeps and how it reads, in plain Python: envelopes in a TTL cache, or S3-FIFO cache.

An envelope holds a value, or that there is none, with the times that decide what a read does. The TTL cache holds the
envelopes, orders and evicts them, removes those that are of no use to anybody any more, and fences their loads. It is
asked without a clock of its own: a `Clock` hands it the reading of the operation under way.

User code may run at: a given timer and `rng`, the tagger and the copiers, without a lock; and where the TTL cache runs
it. Times of an envelope change under the TTL cache's lock. A subclass says how to load: `_load(key)` returns an
envelope, `_refresh(key, envelope, loader=None, tags=())` starts a reload; both are called without a lock.
"""

import math
import random
from collections.abc import Callable, Iterable
from types import GenericAlias
from typing import Any

from fastcore._py.envelope import (
    FAILED,
    NOT_FOUND,
    NOTHING,
    REFRESHING,
    VALUE,
    Clock,
    Envelope,
    refreshes_early,
)
from fastcore._py.s3fifo import S3FIFOCache
from fastcore._py.slots import QUIET, STRICT, Entry, Load
from fastcore._py.ttl import TTLCache
from fastcore.errors import NotFound

LOAD, HIT, TEMPTED, REFRESH, NEGATIVE, STALE = range(6)  # what to do about a read
FAR = 40.0  # exp(-40): a chance that never comes

COUNTERS = (
    "hits",
    "negative_hits",
    "stale_hits",
    "misses",
    "refreshes",
    "early_refreshes",
    "refresh_failures",
    "stale_answers",
)


def _duration(name: str, given: Any) -> float:
    span = float(given)
    if not span >= 0:
        raise ValueError(f"{name} must be non-negative, got {given!r}")
    return span


class LoadingCache:
    """A cache that loads what it does not have, and knows what to do while a value ages.

    `fastcore.cache.LoadingCache` documents it, and adds how to load.
    """

    def __init__(
        self,
        maxsize: float,
        ttl: float | None = None,
        *,
        negative_ttl: float = 0,
        refresh_after: float | None = None,
        max_stale: float = 0,
        throttle: float = 30.0,
        beta: float = 0.0,
        jitter: float = 0.0,
        timer: Callable[[], Any] | None = None,
        rng: Callable[[], float] | None = None,
        getsizeof: Callable[[Any], float] | None = None,
        policy: str = "lru",
        tagger: Callable[[Any, Any], Iterable[str]] | None = None,
        copy_in: Callable[[Any], Any] | None = None,
        copy_out: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        span = self._parse(ttl)
        if refresh_after is not None and not 0 < refresh_after < span:
            raise ValueError(f"refresh_after must be more than 0 and less than ttl, got {refresh_after!r}")
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta must be finite and non-negative, got {beta!r}")
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter must be at least 0 and less than 1, got {jitter!r}")
        self._negative = _duration("negative_ttl", negative_ttl)
        self._max_stale = _duration("max_stale", max_stale)
        self._throttle = _duration("throttle", throttle)
        self._span = span
        self._refresh_after = math.inf if refresh_after is None else float(refresh_after)
        self._beta = float(beta)
        self._spread = float(jitter)
        self._rng = random.random if rng is None else rng
        self._tagger = tagger  # says the tags of what is loaded or set without
        self._copy_in = copy_in
        self._copy_out = copy_out
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._clock = Clock(timer)
        if policy == "lru":
            self._store = TTLCache(maxsize, None, self._clock, getsizeof, **options)
        elif policy == "s3fifo":
            self._store = S3FIFOCache(maxsize, getsizeof, None, self._clock, **options)
        else:
            raise ValueError(f"policy must be 'lru' or 's3fifo', got {policy!r}")

    def _parse(self, ttl: Any) -> float:
        span = math.inf if ttl is None else float(ttl)
        if not span >= 0:
            raise ValueError(f"ttl must be non-negative or None, got {ttl!r}")
        return span

    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias:
        """Generic alias, for annotations."""
        return GenericAlias(cls, item)

    # -- reading

    def _judge(self, envelope: Envelope, now: float) -> int:
        """What a read at `now` does; called under the lock."""
        if envelope.negative:
            return NEGATIVE if now < envelope.expires else LOAD
        if now < envelope.expires:
            if now < envelope._due:
                left = envelope.expires - now
                tempted = envelope._state == VALUE and left < FAR * self._beta * envelope.cost
                return TEMPTED if tempted else HIT
            self._claim(envelope)
            return REFRESH
        return STALE if now < envelope._due and now < envelope.expires + self._max_stale else LOAD

    def _claim(self, envelope: Envelope) -> None:
        """From here on reads leave the reload to the one who claimed it, until it has failed."""
        envelope._state = REFRESHING
        envelope._due = envelope.expires
        self._counters["refreshes"] += 1

    def _find(self, key: Any) -> Entry | None:
        """The entry of `key`; called under the lock, after which nothing may compare keys before it is used."""
        while True:
            entry = self._store._find(key, hash(key))
            # Entries that the search let go of last may have taken this one with them.
            if entry is None or entry.linked:
                return entry

    def _read(self, key: Any) -> tuple[int, Envelope | None]:
        now = self._clock._read()
        store = self._store
        with store._lock:
            entry = self._find(key)
            envelope: Any = None if entry is None else entry.value
            decision = LOAD if envelope is None else self._judge(envelope, now)
            if decision == LOAD:
                if entry is not None:
                    store._unseen(entry.hash)
                if store._sampler is not None:
                    store._seen(hash(key), None)
            elif entry is not None:
                store._seen(entry.hash, entry)
                if isinstance(store, S3FIFOCache):
                    store._use(entry)
                else:
                    store._ring(entry).move_to_end(entry)
            counter = ("misses", "hits", "hits", "hits", "negative_hits", "stale_hits")[decision]
            self._counters[counter] += 1
        if decision == TEMPTED:
            decision = HIT
            if refreshes_early(envelope.expires - now, envelope.cost, self._beta, self._rng()):
                with store._lock:
                    if envelope._state == VALUE:
                        self._claim(envelope)
                        self._counters["early_refreshes"] += 1
                        decision = REFRESH
        return decision, envelope

    def _lend(self, envelope: Envelope, /) -> Any:
        """What a reader gets for an envelope that was found."""
        if self._copy_out is None or envelope.negative:
            return envelope.value
        return self._copy_out(envelope.value)

    def _look(self, key: Any, loader: Any = None, tags: Any = (), /) -> Envelope | None:
        """The envelope that answers a read of `key` now, a reload started if one is due; None: it has to be loaded."""
        decision, envelope = self._read(key)
        if decision == REFRESH:
            self._refresh(key, envelope, loader, tags)  # type: ignore[attr-defined]
        return None if decision == LOAD else envelope

    def __getitem__(self, key: Any) -> Any:
        envelope = self._look(key)
        if envelope is None:
            envelope = self._load(key)  # type: ignore[attr-defined]
        if not envelope.found:
            raise NotFound(key)
        return self._lend(envelope)

    def get(self, key: Any, default: Any = None) -> Any:
        """As `[]`; `default` if there is no such thing."""
        envelope = self._look(key)
        if envelope is None:
            envelope = self._load(key)  # type: ignore[attr-defined]
        return self._lend(envelope) if envelope.found else default

    def _peek(self, key: Any, /) -> tuple[Envelope | None, float]:
        """The envelope of `key` if it would answer a read now, and the time; changes nothing."""
        now = self._clock._read()
        with self._store._lock:
            entry = self._find(key)
            if entry is None:
                return None, now
            envelope: Any = entry.value
            return (envelope if self._answers(envelope, now) else None), now

    def _answers(self, envelope: Envelope, now: float) -> bool:
        """Whether a read at `now` calls no loader first."""
        if now < envelope.expires:
            return True
        return not envelope.negative and now < envelope._due and now < envelope.expires + self._max_stale

    # -- writing

    def _wrap(self, value: Any, started: float | None = None, ttl: Any = ..., /) -> Envelope:
        """An envelope for a value that was got just now, by a load begun at `started`."""
        span = self._span if ttl is ... else self._parse(ttl)
        factor = 1.0
        if self._spread and 0 < span < math.inf:
            factor += self._spread * (2 * self._rng() - 1)
        now = self._clock._read()
        cost = 0.0 if started is None else now - started
        expires = now + span * factor
        return Envelope(value, VALUE, now, expires, min(expires, now + self._refresh_after * factor), cost)

    def _wrap_nothing(self, found: bool, keep: bool, started: float, /) -> Envelope:
        """An envelope that says that there is no such thing, or, `found`, that it is None; to `keep` or not."""
        now = self._clock._read()
        expires = now + (self._negative if keep else 0)
        return Envelope(None, NOTHING if found else NOT_FOUND, now, expires, expires, now - started)

    def _terms(self, key: Any, envelope: Envelope, tags: Any) -> Load | None:
        """What gives an entry that is being set its tags; None: it has none. Called without the lock."""
        if tags == ():
            if self._tagger is None or envelope.negative:
                return None
            tags = self._tagger(key, envelope.value)
        terms = Load()
        terms._tag(tags)
        return terms

    def _write(self, key: Any, envelope: Envelope, mode: int, load: Load | None) -> bool:
        life = envelope.expires - envelope.written
        if not envelope.negative:
            if life:
                life += self._max_stale
            if self._copy_in is not None:
                e, value = envelope, self._copy_in(envelope.value)
                envelope = Envelope(value, VALUE, e.written, e.expires, e._due, e.cost)
        return self._store._write(key, envelope, None if life == math.inf else life, mode, load)

    def set(self, key: Any, value: Any, /, *, ttl: Any = ..., tags: Iterable[str] = ()) -> bool:
        """Store `value`; False if it does not fit or `ttl` is 0, and then `key` is absent. A load under way is not."""
        envelope = self._wrap(value, None, ttl)
        return self._write(key, envelope, QUIET, self._terms(key, envelope, tags))

    def __setitem__(self, key: Any, value: Any) -> None:
        envelope = self._wrap(value)
        self._write(key, envelope, STRICT, self._terms(key, envelope, ()))

    def __delitem__(self, key: Any) -> None:
        del self._inside()[key]

    # -- loads in flight

    def _begin_load(self, key: Any, load: Load, /) -> tuple[bool, Any]:
        """`(True, envelope)` if one answers now; else `(False, flight)`: `load` if it may run, or the one in flight."""
        return self._begin(key, load, None)

    def _begin_refresh(self, key: Any, load: Load, envelope: Envelope, /) -> bool:
        """Whether `load` is to reload `envelope`: not if it is gone, or another load is under way, or has failed."""
        return self._begin(key, load, envelope)[1] is load

    def _begin(self, key: Any, load: Load, old: Envelope | None) -> tuple[bool, Any]:
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        now = self._clock._read()
        store = self._store
        with store._lock:
            try:
                while True:
                    current = store._flights.setdefault(key, load)
                    store._flight_version += 1
                    if current is load:
                        break
                    if not current.fenced:
                        if set(load.tags) <= set(current.tags):
                            break
                        current.fenced = True
                    store._retire(key, current)
                if current is not load:
                    return False, current
                entry = self._find(key)
                envelope: Any = None if entry is None else entry.value
                fresh = envelope is not None and self._answers(envelope, now)
                if fresh if old is None else envelope is not old or old._state != REFRESHING:
                    load.fenced = True
                    store._retire(key, load)
                    return True, envelope
                store._counters["loads"] += 1
                if old is not None and self._tagger is None and not load.tags:
                    load.tags = store._tags.tags.get(entry, ())  # a reload keeps the tags of what it replaces
                return False, load
            except BaseException:
                load.fenced = True  # whoever meets it among the loads in flight takes it out
                raise

    def _end_load(self, key: Any, load: Load, envelope: Envelope, /) -> bool:
        """Store what `load` brought, unless it was fenced; whether it is stored."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        if self._tagger is not None and not load.tags:
            terms = self._terms(key, envelope, ())
            if terms is not None:
                load.tags = terms.tags
        store = self._store
        stored = True
        try:
            stored = self._write(key, envelope, QUIET, load)
        finally:
            with store._lock:
                store._counters["loads_discarded"] += not stored and envelope.expires > envelope.written
                load.fenced = True
                store._retire(key, load)
        return stored

    def _fail_load(self, key: Any, load: Load, refresh: bool, error: bool, /) -> Envelope | None:
        """Forget a load that brought nothing; the old envelope if it may stand in.

        After an `error` nobody loads again for `throttle`; after an interruption the next reader does.
        """
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        now = self._clock._read()
        store = self._store
        stand_in = None
        try:
            with store._lock:
                store._counters["load_failures"] += 1
                self._counters["refresh_failures"] += refresh
                entry = self._find(key)
                envelope: Any = None if entry is None else entry.value
                if envelope is not None and not load.fenced and not envelope.negative:
                    envelope._state = FAILED if error else VALUE
                    envelope._due = now + self._throttle if error else now
                    if error and now < envelope.expires + self._max_stale:
                        stand_in = envelope
                        self._counters["stale_answers"] += now >= envelope.expires
        finally:
            with store._lock:
                load.fenced = True
                store._retire(key, load)
        return stand_in

    def _postpone(self, envelope: Envelope, /) -> None:
        """Give back a claim that could not be followed: the next one may be made after `throttle`."""
        now = self._clock._read()
        with self._store._lock:
            if envelope._state == REFRESHING:
                self._counters["refreshes"] -= 1
                envelope._state = FAILED
                envelope._due = now + self._throttle

    # -- looking at the whole

    def _now(self) -> float:
        """The time, in the unit of the timer."""
        return self._clock._read()

    def _inside(self) -> TTLCache:
        """The cache of envelopes, its clock at the present."""
        self._clock._read()
        return self._store

    def _counts(self, reset: bool = False, /) -> tuple[int, ...]:
        """All counters of reads; then start again from zero."""
        with self._store._lock:
            counts = tuple(self._counters.values())
            if reset:
                self._counters = dict.fromkeys(COUNTERS, 0)
            return counts
