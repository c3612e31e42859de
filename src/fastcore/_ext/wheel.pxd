# When entries expire: a hierarchical timing wheel over the slots of a cache. O(1) to add, move and remove; exact.
#
# A time is an unsigned 64-bit number; its 16 hexadecimal digits are the levels. An entry lies on the level of the
# highest digit in which its last instant alive, `expires - 1`, differs from `last`, the time up to which the wheel has
# run, in the bucket of that digit (level 0 if they are equal). So every entry of a lower level is due before any of a
# higher one, and when time moves on, only the bucket that holds the new time has to be spread over lower levels: each
# entry moves at most 15 times in its life.
#
# Buckets are lists through the timers' `next`; the first one's `prev` is the last. Slot 0 is a root and has no
# timer, so 0 ends a list.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(_MSC_VER)
    #include <intrin.h>
    static inline uint32_t fastcore_log2(uint64_t x) {
        unsigned long high;
        if (_BitScanReverse(&high, (unsigned long)(x >> 32))) return (uint32_t)high + 32;
        _BitScanReverse(&high, (unsigned long)x);
        return (uint32_t)high;
    }
    static inline uint32_t fastcore_low(uint32_t x) {
        unsigned long low;
        _BitScanForward(&low, x);
        return (uint32_t)low;
    }
    #else
    static inline uint32_t fastcore_log2(uint64_t x) { return 63u - (uint32_t)__builtin_clzll(x); }
    static inline uint32_t fastcore_low(uint32_t x) { return (uint32_t)__builtin_ctz(x); }
    #endif
    """
    uint32_t log2 "fastcore_log2"(uint64_t x) noexcept nogil        # of x > 0
    uint32_t low_bit "fastcore_low"(uint32_t x) noexcept nogil      # index of the lowest set bit of x > 0

cdef extern from *:
    """
    #define FASTCORE_NEVER UINT64_MAX
    """
    const uint64_t NEVER "FASTCORE_NEVER"

cdef struct Timer:
    uint64_t expires            # the first instant at which the entry is dead; NEVER: not on the wheel
    uint32_t prev
    uint32_t next

cdef struct Wheel:
    uint64_t last
    uint32_t levels             # bit l: level l has entries
    uint16_t digits[16]         # bit d of digits[l]: that bucket has entries
    uint32_t first[256]


cdef inline uint32_t wheel_bucket(Wheel *w, uint64_t expires) noexcept nogil:
    cdef uint64_t alive = expires - 1
    cdef uint32_t level = log2((alive ^ w.last) | 1) >> 2
    return (level << 4) | <uint32_t>((alive >> (level << 2)) & 15)


cdef inline void wheel_add(Wheel *w, Timer *timers, uint32_t slot) noexcept nogil:
    """Add a timer whose `expires` lies after `last`; one that never expires is left out."""
    cdef uint32_t bucket, first, tail
    if timers[slot].expires == NEVER:
        return
    bucket = wheel_bucket(w, timers[slot].expires)
    first = w.first[bucket]
    timers[slot].next = 0
    if first:
        tail = timers[first].prev
        timers[tail].next = slot
        timers[slot].prev = tail
        timers[first].prev = slot
    else:
        timers[slot].prev = slot
        w.first[bucket] = slot
        w.digits[bucket >> 4] |= <uint16_t>(1 << (bucket & 15))
        w.levels |= <uint32_t>1 << (bucket >> 4)


cdef inline void wheel_empty(Wheel *w, uint32_t bucket) noexcept nogil:
    w.first[bucket] = 0
    w.digits[bucket >> 4] &= <uint16_t>~(1 << (bucket & 15))
    if not w.digits[bucket >> 4]:
        w.levels &= ~(<uint32_t>1 << (bucket >> 4))


cdef inline void wheel_remove(Wheel *w, Timer *timers, uint32_t slot) noexcept nogil:
    """Take a timer off the wheel; one that never expires is not on it."""
    cdef uint32_t bucket, first
    cdef Timer *timer = &timers[slot]
    if timer.expires == NEVER:
        return
    bucket = wheel_bucket(w, timer.expires)
    first = w.first[bucket]
    if first == slot:
        if timer.next:
            timers[timer.next].prev = timer.prev
            w.first[bucket] = timer.next
        else:
            wheel_empty(w, bucket)
    else:
        timers[timer.prev].next = timer.next
        timers[timer.next if timer.next else first].prev = timer.prev


cdef inline void wheel_move(Wheel *w, Timer *timers, uint32_t slot, uint64_t expires) noexcept nogil:
    """Give a timer another `expires`; one that has passed while keys were compared is due at the next instant."""
    cdef uint64_t old = timers[slot].expires
    cdef uint32_t shift
    if expires <= w.last:
        expires = w.last + 1
    # Within a bucket there is no order; a new deadline of the same length mostly stays in it: then the two agree in the
    # digit of their level and in all above it.
    if old != NEVER and expires != NEVER:
        shift = log2(((old - 1) ^ w.last) | 1) & ~<uint32_t>3
        if ((old - 1) ^ (expires - 1)) >> shift == 0:
            timers[slot].expires = expires
            return
    wheel_remove(w, timers, slot)
    timers[slot].expires = expires
    wheel_add(w, timers, slot)


cdef inline uint32_t wheel_due(Wheel *w, Timer *timers, uint64_t now) noexcept nogil:
    """Run the wheel on to `now` until some bucket is due in whole, and return its first slot; 0: nothing is due.

    The caller takes the timers of that list off with `wheel_remove`, from the first on, and calls again.
    """
    cdef uint32_t level, digit, bucket, slot, next
    cdef uint32_t due
    # Mostly no digit has changed on a level with entries: all of them differ from `now` where they do from `last`.
    if w.levels and (now ^ w.last) >> (low_bit(w.levels) << 2) == 0:
        return 0
    while now > w.last:
        level = log2(now ^ w.last) >> 2
        due = w.levels & ((<uint32_t>1 << level) - 1)
        if due:
            level = low_bit(due)
            return w.first[(level << 4) | low_bit(w.digits[level])]
        digit = <uint32_t>((now >> (level << 2)) & 15)
        due = w.digits[level] & ((<uint32_t>1 << digit) - 1)
        if due:
            return w.first[(level << 4) | low_bit(due)]
        bucket = (level << 4) | digit
        slot = w.first[bucket]
        if slot == 0 or level == 0:
            w.last = now
            break
        # The bucket that contains `now` begins in the past, and nothing is due before it.
        wheel_empty(w, bucket)
        w.last = (now >> (level << 2)) << (level << 2)
        while slot:
            next = timers[slot].next
            wheel_add(w, timers, slot)
            slot = next
    return 0
