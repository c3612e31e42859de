# cython: freethreading_compatible=True
"""What a loading cache keeps and how it reads: envelopes in a compiled TTL cache, or S3-FIFO cache.

An envelope holds a value, or that there is none, with the times that decide what a read does. The TTL cache holds the
envelopes, orders and evicts them, removes those that are of no use to anybody any more, and fences their loads. It is
asked without a clock of its own: a `Clock` hands it the reading of the operation under way.

User code may run at: a given timer and `rng`, the hash of a key, the tagger and the copiers, with no section held; the
comparison of keys, in the section of the TTL cache, as `slots.pyx` says; the drop of displaced envelopes, after it;
`_load` and `_refresh`, with no section held. Times and states of envelopes, and the counters, change under the TTL
cache's section only, after the last comparison. What else an envelope says never changes. A subclass says how to load:
`_load(key)` returns an envelope, `_refresh(key, envelope, loader=None, tags=())` starts a reload.
"""

cimport cython
from libc.math cimport INFINITY, fmin, isinf
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

import random
from types import GenericAlias

from fastcore._ext.envelope cimport (
    Clock, Envelope, FAILED, NOT_FOUND, NOTHING, REFRESHING, SETTLED, VALUE, envelope_of, is_early
)
from fastcore._ext.queues cimport queues_use
from fastcore._ext.s3fifo cimport S3FIFOCache
from fastcore._ext.slots cimport (
    Load, QUEUES, QUIET, STRICT, find, hash_of, seen, touch, unseen, value_at
)
from fastcore._ext.tags cimport covers
from fastcore._ext.ttl cimport TTLCache
from fastcore.errors import NotFound

cdef double FAR = 40.0      # exp(-40): a chance that never comes


cdef double duration(str name, object given) except -1:
    cdef double span = given
    if not span >= 0:
        raise ValueError(f"{name} must be non-negative, got {given!r}")
    return span


cdef double parse(object ttl) except -1:
    cdef double span = INFINITY if ttl is None else ttl
    if not span >= 0:
        raise ValueError(f"ttl must be non-negative or None, got {ttl!r}")
    return span


cdef class LoadingCache:
    """LoadingCache(maxsize, ttl=None, *, negative_ttl=0, refresh_after=None, max_stale=0, throttle=30.0, beta=0.0, \
jitter=0.0, timer=None, rng=None, getsizeof=None, policy="lru", tagger=None, copy_in=None, copy_out=None, **options)
--

    A cache that loads what it does not have, and knows what to do while a value ages.

    `fastcore.cache.LoadingCache` documents it, and adds how to load.
    """

    def __cinit__(self, *args, **kwargs):
        self.clock = Clock()
        self.store = TTLCache(0, None)

    def __init__(
        self, maxsize, ttl=None, *, negative_ttl=0, refresh_after=None, max_stale=0, throttle=30.0, beta=0.0,
        jitter=0.0, timer=None, rng=None, getsizeof=None, policy="lru", tagger=None, copy_in=None, copy_out=None,
        **options,
    ):
        cdef double span = parse(ttl), spread = jitter, eagerness = beta
        cdef double after = INFINITY if refresh_after is None else refresh_after
        cdef double negative, stale, pause
        cdef object draw = random.random if rng is None else rng
        if refresh_after is not None and not 0 < after < span:
            raise ValueError(f"refresh_after must be more than 0 and less than ttl, got {refresh_after!r}")
        if not 0 <= eagerness < INFINITY:
            raise ValueError(f"beta must be finite and non-negative, got {beta!r}")
        if not 0 <= spread < 1:
            raise ValueError(f"jitter must be at least 0 and less than 1, got {jitter!r}")
        negative = duration("negative_ttl", negative_ttl)
        stale = duration("max_stale", max_stale)
        pause = duration("throttle", throttle)
        clock = Clock(timer)
        if policy == "lru":
            store = TTLCache(maxsize, None, clock, getsizeof, **options)
        elif policy == "s3fifo":
            store = S3FIFOCache(maxsize, getsizeof, None, clock, **options)
        else:
            raise ValueError(f"policy must be 'lru' or 's3fifo', got {policy!r}")
        with cython.critical_section(self):
            self.span, self.spread, self.beta, self.refresh_after = span, spread, eagerness, after
            self.negative, self.max_stale, self.throttle = negative, stale, pause
            self.rng, self.clock, self.store = draw, clock, store
            self.tagger, self.copy_in, self.copy_out = tagger, copy_in, copy_out
            memset(&self.reads, 0, sizeof(Reads))

    @classmethod
    def __class_getitem__(cls, item, /):
        """Generic alias, for annotations."""
        return GenericAlias(cls, item)

    # -- reading -------------------------------------------------------------------------------------------------------

    cdef int judge(self, Envelope envelope, double now) noexcept:
        """What a read at `now` does. Inside the store's section."""
        cdef double left = envelope.expires - now
        if envelope.kind:
            return NEGATIVE if left > 0 else LOAD
        if now < envelope.due:
            if left > 0:
                return TEMPTED if envelope.state == SETTLED and left < FAR * self.beta * envelope.cost else HIT
            return STALE if now < envelope.expires + self.max_stale else LOAD
        if left > 0:
            self.claim(envelope)
            return REFRESH
        return LOAD

    cdef void claim(self, Envelope envelope) noexcept:
        """From here on reads leave the reload to the one who claimed it, until it has failed."""
        envelope.state = REFRESHING
        envelope.due = envelope.expires
        self.reads.refreshes += 1

    cdef bint answers(self, Envelope envelope, double now) noexcept:
        """Whether a read at `now` calls no loader first."""
        if now < envelope.expires:
            return True
        return not envelope.kind and now < envelope.due and now < envelope.expires + self.max_stale

    cdef Envelope read(self, object key, int *decision):
        cdef TTLCache store = self.store
        cdef Envelope envelope = None
        cdef double now = self.clock.read()
        cdef uint32_t hash = hash_of(key)
        cdef int64_t slot
        cdef int what = LOAD
        with cython.critical_section(store):
            slot = find(store, key, hash)
            if slot:
                envelope = <Envelope>value_at(store, <uint32_t>slot)
                what = self.judge(envelope, now)
            if what == LOAD:
                if slot:
                    unseen(store, hash)
                seen(store, hash, 0)
                self.reads.misses += 1
            else:
                seen(store, hash, <uint32_t>slot)
                if store.flags & QUEUES:
                    queues_use(&(<S3FIFOCache>store).queues, <uint32_t>slot)
                else:
                    touch(store, <uint32_t>slot)
                if what == NEGATIVE:
                    self.reads.negative_hits += 1
                elif what == STALE:
                    self.reads.stale_hits += 1
                else:
                    self.reads.hits += 1
        if what == TEMPTED:
            what = HIT
            if is_early(envelope.expires - now, envelope.cost, self.beta, self.rng()):
                with cython.critical_section(store):
                    if envelope.state == SETTLED:
                        self.claim(envelope)
                        self.reads.early_refreshes += 1
                        what = REFRESH
        decision[0] = what
        return envelope

    cdef object lend(self, Envelope envelope):
        """What a reader gets for an envelope that was found. May run `copy_out`; called with no section held."""
        if self.copy_out is None or envelope.kind:
            return envelope.value
        return self.copy_out(envelope.value)

    def _lend(self, Envelope envelope not None, /):
        """What a reader gets for an envelope that was found."""
        return self.lend(envelope)

    def _look(self, key, loader=None, tags=(), /):
        """The envelope that answers a read of `key` now, a reload started if one is due; None: it has to be loaded."""
        cdef int decision = LOAD
        cdef Envelope envelope = self.read(key, &decision)
        if decision == REFRESH:
            self._refresh(key, envelope, loader, tags)
        return None if decision == LOAD else envelope

    def __getitem__(self, key):
        cdef int decision = LOAD
        cdef Envelope envelope = self.read(key, &decision)
        if decision != HIT:
            if decision == LOAD:
                envelope = self._load(key)
            elif decision == REFRESH:
                self._refresh(key, envelope)
            if envelope.kind == NOT_FOUND:
                raise NotFound(key)
        return envelope.value if self.copy_out is None else self.lend(envelope)

    def get(self, key, default=None):
        """As `[]`; `default` if there is no such thing."""
        cdef int decision = LOAD
        cdef Envelope envelope = self.read(key, &decision)
        if decision != HIT:
            if decision == LOAD:
                envelope = self._load(key)
            elif decision == REFRESH:
                self._refresh(key, envelope)
            if envelope.kind == NOT_FOUND:
                return default
        return envelope.value if self.copy_out is None else self.lend(envelope)

    def _peek(self, key, /):
        """The envelope of `key` if it would answer a read now, and the time; changes nothing."""
        cdef TTLCache store = self.store
        cdef Envelope envelope = None
        cdef double now = self.clock.read()
        cdef uint32_t hash = hash_of(key)
        cdef int64_t slot
        cdef bint usable = False
        with cython.critical_section(store):
            slot = find(store, key, hash)
            if slot:
                envelope = <Envelope>value_at(store, <uint32_t>slot)
                usable = self.answers(envelope, now)
        return envelope if usable else None, now

    # -- writing -------------------------------------------------------------------------------------------------------

    cdef Envelope wrap(self, object value, object started, object ttl):
        """An envelope for a value that was got just now. Runs a given timer and `rng`; called with no section held."""
        cdef double span = self.span if ttl is ... else parse(ttl)
        cdef double factor = 1, now, expires, cost
        if self.spread and 0 < span < INFINITY:
            factor += self.spread * (2 * <double>self.rng() - 1)
        now = self.clock.tick()
        cost = 0 if started is None else now - <double>started
        expires = now + span * factor
        return envelope_of(value, VALUE, now, expires, fmin(expires, now + self.refresh_after * factor), cost)

    def _wrap(self, value, started=None, ttl=..., /):
        """An envelope for a value that was got just now, by a load begun at `started`."""
        return self.wrap(value, started, ttl)

    def _wrap_nothing(self, bint found, bint keep, double started, /):
        """An envelope that says that there is no such thing, or, `found`, that it is None; to `keep` or not."""
        cdef double now = self.clock.tick()
        cdef double expires = now + (self.negative if keep else 0)
        return envelope_of(None, NOTHING if found else NOT_FOUND, now, expires, expires, now - started)

    cdef Load terms(self, object key, Envelope envelope, object tags):
        """What gives an entry that is being set its tags; None: it has none. May run the tagger."""
        cdef Load terms
        if tags == ():
            if self.tagger is None or envelope.kind:
                return None
            tags = self.tagger(key, envelope.value)
        terms = Load()
        terms._tag(tags)
        return terms

    cdef int write(self, object key, Envelope envelope, int mode, Load load) except -1:
        cdef double life = envelope.expires - envelope.written
        if not envelope.kind:
            if life:
                life += self.max_stale
            if self.copy_in is not None:
                envelope = envelope_of(
                    self.copy_in(envelope.value), VALUE, envelope.written, envelope.expires, envelope.due, envelope.cost
                )
        return self.store.write(key, envelope, None if isinf(life) else life, mode, load)

    def set(self, key, value, /, *, ttl=..., tags=()):
        """Store `value`; False if it does not fit or `ttl` is 0, and then `key` is absent. A load under way is not."""
        cdef Envelope envelope = self.wrap(value, None, ttl)
        return self.write(key, envelope, QUIET, self.terms(key, envelope, tags)) != 0

    def __setitem__(self, key, value):
        cdef Envelope envelope = self.wrap(value, None, ...)
        self.write(key, envelope, STRICT, None if self.tagger is None else self.terms(key, envelope, ()))

    def __delitem__(self, key):
        self.clock.tick()
        del self.store[key]

    # -- loads in flight -----------------------------------------------------------------------------------------------

    def _begin_load(self, key, load, /):
        """`(True, envelope)` if one answers now; else `(False, flight)`: `load` if it may run, or the one in flight."""
        return self.begin(key, load, None)

    def _begin_refresh(self, key, load, Envelope envelope not None, /):
        """Whether `load` is to reload `envelope`: not if it is gone, or another load is under way, or has failed."""
        return self.begin(key, load, envelope)[1] is load

    cdef tuple begin(self, object key, object load, Envelope old):
        cdef TTLCache store = self.store
        cdef Envelope envelope = None
        cdef double now = self.clock.read()
        cdef uint32_t hash = hash_of(key)
        cdef int64_t slot
        cdef bint settled = False
        cdef object current = None
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        with cython.critical_section(store):
            store.intact()
            try:
                while True:
                    current = store.flights.setdefault(key, load)
                    store.flight_version += 1
                    if current is load:
                        break
                    if not (<Load>current).fenced:
                        if covers((<Load>current).tags, (<Load>load).tags):
                            break
                        (<Load>current).fenced = True
                    store.retire(key, current)
                if current is load:
                    # Registered first: a load that ends now was either joined above or has stored what is found here.
                    slot = find(store, key, hash)
                    if slot:
                        envelope = <Envelope>value_at(store, <uint32_t>slot)
                    if old is None:
                        settled = envelope is not None and self.answers(envelope, now)
                    else:
                        settled = envelope is not old or old.state != REFRESHING
                    if settled:
                        (<Load>load).fenced = True
                        store.retire(key, load)
                    else:
                        store.counters.loads += 1
                        if old is not None and self.tagger is None and store.tagged:
                            self.inherit(<Load>load, <uint32_t>slot)
            except BaseException:
                (<Load>load).fenced = True  # whoever meets it among the loads in flight takes it out
                raise
        return (True, envelope) if settled else (False, current)

    cdef int inherit(self, Load load, uint32_t slot) except -1:
        """Give a reload without tags of its own those of the entry that it replaces. Inside the store's section."""
        cdef object tags = self.store.tags.tags.get(slot, ())
        if not load.tags and tags:
            load.tags = tags
            load.fresh = [set() for _ in tags]      # the last step: it may run the collector, and so user code
        return 0

    def _end_load(self, key, load, Envelope envelope not None, /):
        """Store what `load` brought, unless it was fenced; whether it is stored."""
        cdef TTLCache store = self.store
        cdef Load terms = None
        cdef bint stored = True
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        if self.tagger is not None and not (<Load>load).tags:
            terms = self.terms(key, envelope, ())
            if terms is not None:
                with cython.critical_section(store):
                    (<Load>load).tags, (<Load>load).fresh = terms.tags, terms.fresh
        try:
            stored = self.write(key, envelope, QUIET, <Load>load)
        finally:
            with cython.critical_section(store):
                store.counters.loads_discarded += not stored and envelope.expires > envelope.written
                (<Load>load).fenced = True
                store.retire(key, load)
        return stored

    def _fail_load(self, key, load, bint refresh, bint error, /):
        """Forget a load that brought nothing; the old envelope if it may stand in.

        After an `error` nobody loads again for `throttle`; after an interruption the next reader does.
        """
        cdef TTLCache store = self.store
        cdef Envelope envelope, stand_in = None
        cdef double now = self.clock.read()
        cdef uint32_t hash = hash_of(key)
        cdef int64_t slot
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        try:
            with cython.critical_section(store):
                store.counters.load_failures += 1
                self.reads.refresh_failures += refresh
                slot = find(store, key, hash)
                if slot and not (<Load>load).fenced:
                    envelope = <Envelope>value_at(store, <uint32_t>slot)
                    if not envelope.kind:
                        envelope.state = FAILED if error else SETTLED
                        envelope.due = now + self.throttle if error else now
                        if error and now < envelope.expires + self.max_stale:
                            stand_in = envelope
                            self.reads.stale_answers += now >= envelope.expires
        finally:
            with cython.critical_section(store):
                (<Load>load).fenced = True
                store.retire(key, load)
        return stand_in

    def _postpone(self, Envelope envelope not None, /):
        """Give back a claim that could not be followed: the next one may be made after `throttle`."""
        cdef double now = self.clock.read()
        with cython.critical_section(self.store):
            if envelope.state == REFRESHING:
                self.reads.refreshes -= 1
                envelope.state = FAILED
                envelope.due = now + self.throttle

    # -- looking at the whole ------------------------------------------------------------------------------------------

    def _now(self):
        """The time, in the unit of the timer."""
        return self.clock.read()

    def _inside(self):
        """The cache of envelopes, its clock at the present."""
        self.clock.tick()
        return self.store

    def _counts(self, reset=False, /):
        """All counters of reads; then start again from zero."""
        cdef Reads r
        with cython.critical_section(self.store):
            r = self.reads
            if reset:
                memset(&self.reads, 0, sizeof(Reads))
        return (
            r.hits, r.negative_hits, r.stale_hits, r.misses, r.refreshes, r.early_refreshes, r.refresh_failures,
            r.stale_answers,
        )
