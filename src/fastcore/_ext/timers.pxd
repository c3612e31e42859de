# A binary heap of C timers by due time, then by age; each knows its place, so that one can be removed or moved up.
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc


cdef struct Timer:
    int64_t due         # nanoseconds
    int64_t seq
    Py_ssize_t place    # index in the heap while it is there
    void* owner         # the object that contains the timer


cdef struct Timers:
    Timer** items
    Py_ssize_t size
    Py_ssize_t room


cdef inline bint timer_before(Timer* a, Timer* b) noexcept nogil:
    return a.due < b.due or (a.due == b.due and a.seq < b.seq)


cdef inline void timers_place(Timers* timers, Timer* timer, Py_ssize_t place) noexcept nogil:
    timers.items[place] = timer
    timer.place = place


cdef inline void timers_up(Timers* timers, Timer* timer) noexcept nogil:
    """Move `timer` towards the top, to where its due time belongs."""
    cdef Py_ssize_t place = timer.place, parent
    while place > 0:
        parent = (place - 1) >> 1
        if not timer_before(timer, timers.items[parent]):
            break
        timers_place(timers, timers.items[parent], place)
        place = parent
    timers_place(timers, timer, place)


cdef inline void timers_down(Timers* timers, Timer* timer) noexcept nogil:
    cdef Py_ssize_t place = timer.place, child
    while True:
        child = 2 * place + 1
        if child >= timers.size:
            break
        if child + 1 < timers.size and timer_before(timers.items[child + 1], timers.items[child]):
            child += 1
        if not timer_before(timers.items[child], timer):
            break
        timers_place(timers, timers.items[child], place)
        place = child
    timers_place(timers, timer, place)


cdef inline int timers_add(Timers* timers, Timer* timer) except -1:
    cdef Timer** items
    if timers.size == timers.room:
        items = <Timer**>realloc(timers.items, (2 * timers.room + 16) * sizeof(Timer*))
        if items == NULL:
            raise MemoryError()
        timers.items = items
        timers.room = 2 * timers.room + 16
    timers.size += 1
    timers_place(timers, timer, timers.size - 1)
    timers_up(timers, timer)
    return 0


cdef inline void timers_remove(Timers* timers, Timer* timer) noexcept nogil:
    cdef Timer* last = timers.items[timers.size - 1]
    timers.size -= 1
    if last != timer:
        timers_place(timers, last, timer.place)
        timers_up(timers, last)
        timers_down(timers, last)


cdef inline void timers_free(Timers* timers) noexcept nogil:
    free(timers.items)
    timers.items = NULL
    timers.size = timers.room = 0
