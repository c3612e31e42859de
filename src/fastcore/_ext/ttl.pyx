# cython: freethreading_compatible=True
"""The compiled TTL cache: an LRU cache whose slots also carry a deadline, on the timing wheel of `wheel.pxd`.

Time is an unsigned 64-bit number that sorts as the timer's numbers do: nanoseconds of the C clock; the integers of a
given timer; or, from the first number or ttl on that is not one, the floats, by their bit pattern. So no deadline loses
precision, whatever the timer counts.

User code may run where the LRU cache runs it, and at: a given `timer`, and `rng`, both before the critical section. The
default clock is read inside it, after the key was found: a miss reads no clock.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.math cimport INFINITY, ceil, floor, isinf
from libc.string cimport memcpy, memset

import random
from time import monotonic

from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.ring cimport FREE, PyMem_Free, PyMem_Realloc, ROOTS
from fastcore._ext.slots cimport (
    ABSENT, ASKS, COPIES_IN, EVICTS, Gone, LENDS, LISTENS, Load, READS, RESTORE, RNG, SPECIAL,
    STRICT, TIMER, WEAK, WEIGHS, drop, exceeds, find, finish, hash_of, locate_value, seen, store, touch as refresh,
    unseen, value_at
)
from fastcore._ext.wheel cimport NEVER, wheel_add, wheel_due, wheel_move, wheel_remove

cdef extern from *:
    const int64_t INT64_MAX
    const int64_t INT64_MIN


cdef inline uint64_t encode_integer(int64_t ticks) noexcept:
    return <uint64_t>ticks ^ (<uint64_t>1 << 63)


cdef inline int64_t decode_integer(uint64_t code) noexcept:
    return <int64_t>(code ^ (<uint64_t>1 << 63))


cdef inline uint64_t encode_float(double seconds) noexcept:
    """Bits of a float, turned so that they sort as the float does."""
    cdef uint64_t bits = 0
    seconds += 0.0      # -0.0 and 0.0 are one instant
    memcpy(&bits, &seconds, 8)
    return ~bits if bits >> 63 else bits | (<uint64_t>1 << 63)


cdef inline double decode_float(uint64_t code) noexcept:
    cdef uint64_t bits = code ^ (<uint64_t>1 << 63) if code >> 63 else ~code
    cdef double seconds = 0
    memcpy(&seconds, &bits, 8)
    return seconds


cdef int to_reading(object number, Reading *reading) except -1:
    cdef int overflow = 0
    reading.fraction = False
    reading.ticks = 0
    if not isinstance(number, int):
        if hasattr(number, "__index__"):
            number = number.__index__()
        else:
            reading.fraction = True
    if not reading.fraction:
        reading.ticks = PyLong_AsLongLongAndOverflow(number, &overflow)
        reading.fraction = overflow != 0
    reading.seconds = number
    if reading.seconds != reading.seconds:
        raise ValueError("timer returned nan")
    return 0


@cython.no_gc_clear
cdef class TTLCache(LRUCache):
    """TTLCache(maxsize, ttl, timer=None, getsizeof=None, *, jitter=0.0, touch="write", rng=None, **options)
--

    An LRU cache whose entries also die, `ttl` after they were written.

    `fastcore.cache.TTLCache` documents it, and adds what both twins share.
    """

    def __init__(self, maxsize, ttl, timer=None, getsizeof=None, *, jitter=0.0, touch="write", rng=None, **options):
        cdef double spread = jitter
        cdef Span span = [False, False, 0, 0]
        cdef object default_timer = monotonic, default_rng = random.random, given = ttl
        if not 0 <= spread < 1:
            raise ValueError(f"jitter must be at least 0 and less than 1, got {jitter!r}")
        if touch not in ("write", "access"):
            raise ValueError(f"touch must be 'write' or 'access', got {touch!r}")
        self.parse(ttl, &span)
        self.configure(maxsize, getsizeof)
        with cython.critical_section(self):
            self.injected = timer is not None and timer is not default_timer
            self.domain = INTEGERS if self.injected else NANOSECONDS
            # What an earlier call left goes when this returns.
            timer, self.hooks[TIMER] = self.hooks[TIMER], default_timer if timer is None else timer
            rng, self.hooks[RNG] = self.hooks[RNG], default_rng if rng is None else rng
            self.latest = 0
            memset(&self.wheel, 0, sizeof(self.wheel))
            self.spread = spread
            if self.injected or spread:
                self.flags |= ASKS
            self.extends = touch == "access"
            given, self.ttl_given = self.ttl_given, given
        self.parse(ttl, &self.span)
        self.equip(options)

    def __dealloc__(self):
        PyMem_Free(self.timers)
        PyMem_Free(self.spans)

    cdef type compiled_type(self):
        return TTLCache

    # -- time ----------------------------------------------------------------------------------------------------------

    cdef int read_timer(self, Reading *reading) except -1:
        """Ask a given timer; the default clock is read by `settle`. Runs user code; called with no section held."""
        if self.injected:
            to_reading(self.hooks[TIMER](), reading)
        return 0

    cdef uint64_t settle(self, Reading *reading) noexcept:
        """The current time, never less than any before. Inside the section."""
        cdef uint64_t now
        if self.domain == NANOSECONDS:
            now = encode_integer(monotonic_ns())
        elif self.domain == INTEGERS and not reading.fraction:
            now = encode_integer(reading.ticks)
        else:
            if self.domain == INTEGERS:
                self.to_floats()
            now = encode_float(reading.seconds)
        if now < self.latest:
            return self.latest
        self.latest = now
        return now

    cdef void to_floats(self) noexcept:
        """From here on the timer's numbers are floats: translate what was noted as integers."""
        cdef uint32_t slot
        cdef uint64_t *expires
        for slot in range(<uint32_t>ROOTS, self.table.used):
            if self.table.slots[slot].prev != FREE:
                expires = &self.timers[slot].expires
                if expires[0] != NEVER:
                    expires[0] = encode_float(<double>decode_integer(expires[0]))
        self.domain = FLOATS
        self.latest = encode_float(<double>decode_integer(self.latest))
        memset(&self.wheel, 0, sizeof(self.wheel))
        for slot in range(<uint32_t>ROOTS, self.table.used):
            if self.table.slots[slot].prev != FREE:
                wheel_add(&self.wheel, self.timers, slot)

    cdef uint64_t deadline(self, uint64_t now, Span *span) noexcept:
        """The first instant at which an entry written at `now` is dead; `now` itself if it never lives."""
        cdef int64_t ticks
        cdef double seconds
        if span.endless:
            return NEVER
        if self.domain == FLOATS:
            seconds = decode_float(now) + span.seconds
            return NEVER if isinf(seconds) else encode_float(seconds)
        ticks = decode_integer(now)
        if ticks > 0 and span.ticks > INT64_MAX - 1 - ticks:
            return NEVER
        return encode_integer(ticks + span.ticks)

    cdef int parse(self, object ttl, Span *span) except -1:
        """Understand a time to live."""
        cdef double seconds = INFINITY if ttl is None else ttl
        if not seconds >= 0:
            raise ValueError(f"ttl must be non-negative or None, got {ttl!r}")
        self.measure(seconds, span)
        span.fraction = not span.endless and seconds != floor(seconds)
        if self.injected and isinstance(ttl, int) and not span.endless:
            span.ticks = ttl        # a float would round beyond 2 ** 53
        return 0

    cdef void measure(self, double seconds, Span *span) noexcept:
        cdef double ticks = ceil(seconds) if self.injected else seconds * 1e9 + 0.5
        span.endless = ticks >= 9.2e18
        span.seconds = seconds
        span.ticks = INT64_MAX - 1 if ticks >= 9.2e18 else <int64_t>ticks
        if seconds > 0 and span.ticks == 0:
            span.ticks = 1

    cdef int scatter(self, Span *span) except -1:
        """Apply jitter, where there is some. Runs user code; called with no section held."""
        cdef double draw
        if not span.endless and span.seconds > 0:
            draw = self.hooks[RNG]()
            self.measure(span.seconds * (1 + self.spread * (2 * draw - 1)), span)
        return 0

    # -- hooks of the entries, inside the section ----------------------------------------------------------------------

    cdef int read_clock(self, uint64_t *now) except -1:
        cdef Reading reading = [False, 0, 0]
        self.read_timer(&reading)
        with cython.critical_section(self):
            now[0] = self.settle(&reading) if self.timed() else self.latest
        return 0

    cdef bint timed(self) noexcept:
        """Whether the time matters: a given timer was read anyway, and without deadlines the clock need not be."""
        return self.injected or self.wheel.levels != 0

    cdef bint dead(self, uint32_t slot, uint64_t now) noexcept:
        return now >= self.timers[slot].expires or (self.flags & WEAK and LRUCache.dead(self, slot, now))

    cdef void arm(self, uint32_t slot, uint64_t expires) noexcept:
        wheel_move(&self.wheel, self.timers, slot, expires)

    cdef void disarm(self, uint32_t slot) noexcept:
        wheel_remove(&self.wheel, self.timers, slot)
        self.timers[slot].expires = NEVER

    cdef void forget(self) noexcept:
        cdef uint64_t last = self.wheel.last
        memset(&self.wheel, 0, sizeof(self.wheel))
        self.wheel.last = last

    cdef int widen(self, uint32_t capacity) except -1:
        cdef Timer *timers
        cdef Span *spans
        cdef uint32_t slot
        LRUCache.widen(self, capacity)
        timers = <Timer *>PyMem_Realloc(self.timers, capacity * sizeof(Timer))
        if timers == NULL:
            raise MemoryError
        self.timers = timers
        for slot in range(self.side, capacity):
            timers[slot].expires = NEVER
        if self.extends:
            spans = <Span *>PyMem_Realloc(self.spans, capacity * sizeof(Span))
            if spans == NULL:
                raise MemoryError
            self.spans = spans
        return 0

    cdef int sweep(self, uint64_t now, list trash) except -1:
        cdef uint32_t slot
        LRUCache.sweep(self, now, trash)
        slot = wheel_due(&self.wheel, self.timers, now)
        while slot:
            self.discard(slot, trash, "expired")
            self.counters.expirations += 1
            slot = wheel_due(&self.wheel, self.timers, now)
        return 0

    cdef object lifetime(self, uint32_t slot, uint64_t now):
        cdef uint64_t expires = self.timers[slot].expires
        if expires == NEVER:
            return None
        if self.domain == FLOATS:
            return decode_float(expires) - decode_float(now)
        if self.domain == INTEGERS:
            return decode_integer(expires) - decode_integer(now)
        return (decode_integer(expires) - decode_integer(now)) / 1e9

    cdef int write(self, object key, object value, object ttl, int mode, Load load) except -1:
        cdef Gone gone = [NULL, NULL]
        cdef Reading reading = [False, 0, 0]
        cdef Span span = self.span
        cdef int64_t slot = 0
        cdef uint64_t now, expires
        cdef double weight = 1
        cdef uint32_t hash
        cdef list trash = None
        cdef bint brief = False     # stored where nothing was, for no time at all
        if ttl is not ...:
            self.parse(ttl, &span)
        hash = hash_of(key)
        if self.flags & (WEIGHS | LISTENS | COPIES_IN | WEAK):
            trash = []
            value = self.prepared(value, mode, &weight)
        if load is not None and load.tags:
            self.expect_tags()
        if (mode == STRICT or mode == ABSENT) and exceeds(self, weight):
            raise ValueError(f"value too large: size {weight:g}, maxsize {self.maxsize!r}")
        if self.spread and mode != RESTORE:
            self.scatter(&span)
        self.read_timer(&reading)
        if self.flags & EVICTS and not exceeds(self, weight):
            self.make_room(key, weight)
        try:
            with cython.critical_section(self):
                if PyList_GET_SIZE(self.items) < 2 * <Py_ssize_t>self.table.used:
                    self.intact()
                if span.fraction and self.domain == INTEGERS:
                    self.to_floats()
                now = self.settle(&reading) if not span.endless or self.timed() else self.latest
                if wheel_due(&self.wheel, self.timers, now) or self.flags & WEAK:
                    if trash is None:
                        trash = []
                        self.intact()   # again: making a list may run the collector, and so user code
                    self.sweep(now, trash)
                expires = self.deadline(now, &span)
                if mode == ABSENT and find(self, key, hash):
                    pass
                elif weight > self.limit or expires <= now:
                    if load is None or not load.fenced:
                        self.take(key, now, &gone, trash)
                    brief = mode == ABSENT
                else:
                    slot = self.put(key, value, weight, hash, load, &gone, trash)
                    if slot:
                        if load is not None and load.tags:
                            self.tag(<uint32_t>slot, load)
                        if self.flags & WEAK:
                            locate_value(value, <uint32_t>slot)
                        self.arm(<uint32_t>slot, expires)
                        if self.extends:
                            self.spans[slot] = self.span if mode == RESTORE else span
                if trash is not None:
                    self.announce(trash)
        finally:
            self.release(&gone, trash)
        return slot != 0 or brief

    # -- writing: the common case of `write` ---------------------------------------------------------------------------

    def __setitem__(self, key, value):
        cdef Gone gone = [NULL, NULL]
        cdef int64_t slot = 0
        cdef uint64_t now, expires
        cdef uint32_t hash
        if not self.flags & SPECIAL:
            hash = hash_of(key)
            with cython.critical_section(self):
                now = self.latest
                if not self.span.endless or self.wheel.levels:
                    now = max(now, encode_integer(monotonic_ns()))
                    self.latest = now
                # As `deadline`: an endless or a far one saturates.
                expires = now + <uint64_t>self.span.ticks
                if expires < now or self.span.endless:
                    expires = NEVER
                if expires > now and not wheel_due(&self.wheel, self.timers, now):
                    slot = store(self, key, value, hash, &gone)
                    if slot:
                        wheel_move(&self.wheel, self.timers, <uint32_t>slot, expires)
                        if self.extends:
                            self.spans[slot] = self.span
            drop(&gone)
        if not slot:
            self.write(key, value, ..., STRICT, None)

    # -- reading -------------------------------------------------------------------------------------------------------

    def __getitem__(self, key):
        cdef bint found = False
        cdef object value = self.fetch(key, &found)
        if self.flags & LENDS and found:
            value = self.borrow(value, &found)
        return value if found else self.__missing__(key)

    def get(self, key, default=None):
        """The value of `key`, its use noted; `default` if it is absent."""
        cdef bint found = False
        cdef object value
        if self.flags & READS:
            return self[key] if key in self else default
        value = self.fetch(key, &found)
        if self.flags & LENDS and found:
            value = self.borrow(value, &found)
        return value if found else default

    cdef object fetch(self, object key, bint *found):
        """The value for a read that counts and refreshes. Takes the section itself."""
        cdef Reading reading = [False, 0, 0]
        cdef int64_t slot
        cdef uint64_t now, expires
        cdef uint32_t hash = hash_of(key)
        if self.injected:
            self.read_timer(&reading)
        found[0] = False
        with cython.critical_section(self):
            slot = find(self, key, hash)
            if slot:
                now = self.settle(&reading)
                if now < self.timers[slot].expires:
                    seen(self, hash, <uint32_t>slot)
                    self.counters.hits += 1
                    refresh(self, <uint32_t>slot)
                    if self.extends:
                        expires = self.deadline(now, &self.spans[slot])
                        if expires > self.timers[slot].expires:
                            self.arm(<uint32_t>slot, expires)
                    found[0] = True
                    return value_at(self, <uint32_t>slot)
                unseen(self, hash)
                self.counters.expired += 1
            seen(self, hash, 0)
            self.counters.misses += 1
        return None

    # -- the cachetools interface to time ------------------------------------------------------------------------------

    @property
    def ttl(self):
        """Time to live of an entry, in the unit of the timer; None: for ever."""
        with cython.critical_section(self):
            return self.ttl_given

    @property
    def timer(self):
        """The callable that tells the time."""
        return self.hooks[TIMER]

    def expire(self, time=None):
        """Remove what is dead, now or (in O(n)) at `time`, and return it as a list of `(key, value)`."""
        cdef Reading reading = [False, 0, 0]
        cdef uint64_t now = 0, at = 0
        cdef uint32_t slot
        cdef list trash = []
        self.read_clock(&now)
        if time is not None:
            to_reading(time, &reading)
        with cython.critical_section(self):
            self.intact()
            if time is None:
                self.sweep(now, trash)
            else:
                if self.domain == NANOSECONDS:
                    at = encode_integer(<int64_t>(reading.seconds * 1e9))
                elif self.domain == INTEGERS and not reading.fraction:
                    at = encode_integer(reading.ticks)
                else:
                    if self.domain == INTEGERS:
                        self.to_floats()
                    at = encode_float(reading.seconds)
                for slot in range(<uint32_t>ROOTS, self.table.used):
                    if self.table.slots[slot].prev != FREE and at >= self.timers[slot].expires:
                        self.discard(slot, trash, "expired")
                        self.counters.expirations += 1
            self.announce(trash)
        dead = list(zip(trash[::3], trash[1::3]))
        if self.flags & WEAK:
            dead = [(key, value()) for key, value in dead]
        finish(self, trash)
        return dead

    def _config(self):
        """The constructor's arguments, positional and by name."""
        timer = self.hooks[TIMER] if self.injected else None
        arguments, named = LRUCache._config(self)
        named |= {"jitter": self.spread, "touch": "access" if self.extends else "write", "rng": self.hooks[RNG]}
        return (arguments[0], self.ttl, timer, arguments[1]), named
