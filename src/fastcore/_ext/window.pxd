# The last outcomes of a circuit breaker: a ring of cells and their sums. No Python, no clock, no lock.
#
# Count window: a cell an outcome, the ring turns by one cell an outcome, so the sums cover exactly the last `size`.
# Time window: a cell a slice of `width` nanoseconds, the ring turns with time. It holds one cell more than the window
# has slices, because the newest is still filling: an outcome counts for the window and at most one slice longer.
cimport cython
from libc.stdint cimport INT64_MIN, int64_t, uint64_t
from libc.string cimport memset

cdef struct Outcomes:
    long long calls
    long long failures
    long long slow

cdef struct Window:
    Outcomes *cells  # NULL: no window
    Py_ssize_t size
    Py_ssize_t newest
    int64_t width  # 0: a count window
    uint64_t slice  # the number of the newest slice of a time window
    Outcomes sums


cdef inline void clear(Window *w) noexcept nogil:
    """Forget all outcomes."""
    if w.cells != NULL:
        memset(w.cells, 0, w.size * sizeof(Outcomes))
    memset(&w.sums, 0, sizeof(Outcomes))


cdef inline void turn(Window *w) noexcept nogil:
    """Make the oldest cell the newest, empty."""
    w.newest += 1
    if w.newest == w.size:
        w.newest = 0
    cdef Outcomes *cell = &w.cells[w.newest]
    w.sums.calls -= cell.calls
    w.sums.failures -= cell.failures
    w.sums.slow -= cell.slow
    memset(cell, 0, sizeof(Outcomes))


@cython.cdivision(True)
cdef inline void catch_up(Window *w, int64_t now) noexcept nogil:
    """Turn a time window to the slice of `now`, which never goes back."""
    cdef uint64_t slice = (<uint64_t>now - <uint64_t>INT64_MIN) / <uint64_t>w.width
    cdef uint64_t turns = slice - w.slice
    w.slice = slice
    if turns >= <uint64_t>w.size:
        clear(w)
        return
    while turns > 0:
        turns -= 1
        turn(w)


cdef inline void record(Window *w, int64_t now, bint failed, bint slow) noexcept nogil:
    """Add an outcome."""
    if w.width > 0:
        catch_up(w, now)
    else:
        turn(w)
    cdef Outcomes *cell = &w.cells[w.newest]
    cell.calls += 1
    cell.failures += failed
    cell.slow += slow
    w.sums.calls += 1
    w.sums.failures += failed
    w.sums.slow += slow
