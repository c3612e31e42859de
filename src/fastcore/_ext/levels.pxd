# Ready keys by priority: levels, in each the lanes of the groups that have keys, in each lane first in first out.
#
#   Levels -> Level (priority 0)    -> ring of Lanes with keys: group a, group b, ...  they take turns
#          -> Level (priority -100) -> ...                      |
#                                                               ring of keys, oldest first
#
# A few empty levels and lanes are kept, so that a queue going between empty and one key allocates nothing.
from libc.stdlib cimport calloc, free, realloc

from fastcore._ext.link cimport Link, ring_append, ring_empty, ring_init, ring_remove

cdef enum:
    KEPT_LEVELS = 16
    KEPT_LANES = 4


cdef struct Lane:
    Link turn           # in Level.lanes while the lane has keys
    Link keys
    Py_ssize_t count
    int priority
    Lane* next          # the same group's lane of another priority


cdef struct Level:
    Link lanes
    Py_ssize_t count
    int priority


cdef struct Levels:
    Level** items       # ascending priority
    Py_ssize_t size
    Py_ssize_t room


cdef inline Level* levels_get(Levels* levels, int priority) except NULL:
    """The level of `priority`, made if need be."""
    cdef Py_ssize_t low = 0, high = levels.size, middle
    cdef Level* level
    cdef Level** items
    while low < high:
        middle = (low + high) >> 1
        level = levels.items[middle]
        if level.priority == priority:
            return level
        if level.priority < priority:
            low = middle + 1
        else:
            high = middle
    if levels.size == levels.room:
        items = <Level**>realloc(levels.items, (2 * levels.room + 4) * sizeof(Level*))
        if items == NULL:
            raise MemoryError()
        levels.items = items
        levels.room = 2 * levels.room + 4
    level = <Level*>calloc(1, sizeof(Level))
    if level == NULL:
        raise MemoryError()
    level.priority = priority
    ring_init(&level.lanes)
    for high in range(levels.size, low, -1):
        levels.items[high] = levels.items[high - 1]
    levels.items[low] = level
    levels.size += 1
    return level


cdef inline Level* levels_top(Levels* levels) noexcept nogil:
    """The highest level that has keys, or NULL."""
    cdef Py_ssize_t i = levels.size
    while i > 0:
        i -= 1
        if levels.items[i].count > 0:
            return levels.items[i]
    return NULL


cdef inline void levels_trim(Levels* levels, Level* level) noexcept nogil:
    """Free `level` if it is empty and more are there than are worth keeping."""
    cdef Py_ssize_t i = 0
    if level.count > 0 or levels.size <= KEPT_LEVELS:
        return
    while levels.items[i] != level:
        i += 1
    levels.size -= 1
    while i < levels.size:
        levels.items[i] = levels.items[i + 1]
        i += 1
    free(level)


cdef inline void levels_free(Levels* levels) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(levels.size):
        free(levels.items[i])
    free(levels.items)
    levels.items = NULL
    levels.size = levels.room = 0


cdef inline Lane* lanes_get(Lane** lanes, int priority) except NULL:
    """The lane of `priority` in a group's list, made if need be; frees empty ones beyond those worth keeping."""
    cdef Lane** place = lanes
    cdef Lane* lane
    cdef int kept = 0
    while place[0] != NULL:
        lane = place[0]
        if lane.priority == priority:
            return lane
        if lane.count == 0:
            kept += 1
            if kept > KEPT_LANES:
                place[0] = lane.next
                free(lane)
                continue
        place = &lane.next
    lane = <Lane*>calloc(1, sizeof(Lane))
    if lane == NULL:
        raise MemoryError()
    lane.priority = priority
    lane.turn.owner = lane
    ring_init(&lane.keys)
    lane.next = lanes[0]
    lanes[0] = lane
    return lane


cdef inline void lanes_free(Lane** lanes) noexcept nogil:
    cdef Lane* lane = lanes[0]
    cdef Lane* after
    while lane != NULL:
        after = lane.next
        free(lane)
        lane = after
    lanes[0] = NULL


cdef inline void level_put(Level* level, Lane* lane, Link* key) noexcept nogil:
    if lane.count == 0:
        ring_append(&level.lanes, &lane.turn)
    ring_append(&lane.keys, key)
    lane.count += 1
    level.count += 1


cdef inline void level_remove(Level* level, Lane* lane, Link* key) noexcept nogil:
    ring_remove(key)
    lane.count -= 1
    level.count -= 1
    if lane.count == 0:
        ring_remove(&lane.turn)


cdef inline Link* level_take(Level* level) noexcept nogil:
    """Take the first key of the lane whose turn it is; the level must have one."""
    cdef Lane* lane = <Lane*>level.lanes.next.owner
    cdef Link* key = lane.keys.next
    if lane.count > 1 and lane.turn.next != &level.lanes:
        ring_remove(&lane.turn)
        ring_append(&level.lanes, &lane.turn)
    level_remove(level, lane, key)
    return key
