# What was evicted lately, in plain integers: an exact first-in-first-out queue of hashes in which any can be found.
#
#     hashes  [ h3 | 0 | h5 | - | - | h1 | h2 ]       a circle of `room` places; `span` of them from `head` on, oldest
#                             ^ head + span  ^ head   first; 0 where one was taken out of the middle
#     cells   [ place + 1 | 0 | ... ]                 hash -> place; linear probing, deletion by backward shift
#
# About 12 bytes a hash once the queue has its size. Two keys of one hash are one here: a ghost is a hint. For the same
# reason, lack of memory forgets what should have been noted. No Python object is met.
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

cdef struct Ghost:
    uint32_t *hashes
    uint32_t *cells
    double *weights         # by place; NULL: each weighs 1
    uint32_t room
    uint32_t width          # number of cells
    uint32_t head
    uint32_t span
    uint32_t count          # hashes in the queue
    bint weighs
    double limit            # what fits
    double total


cdef inline uint32_t ghost_code(uint32_t hash) noexcept nogil:
    """The hash as it stands in a place, where 0 means a hole."""
    return hash if hash else 1


cdef inline uint32_t ghost_home(Ghost *g, uint32_t code) noexcept nogil:
    return <uint32_t>((<uint64_t>code * g.width) >> 32)


cdef inline uint32_t ghost_next(Ghost *g, uint32_t pos) noexcept nogil:
    pos += 1
    return 0 if pos == g.width else pos


cdef inline uint32_t ghost_distance(Ghost *g, uint32_t start, uint32_t end) noexcept nogil:
    """Cells from `start` on to `end`."""
    return end - start if end >= start else end + (g.width - start)


cdef inline uint32_t ghost_place(Ghost *g, uint32_t nth) noexcept nogil:
    """Where the `nth` place of the queue lies on the circle."""
    nth += g.head
    return nth - g.room if nth >= g.room else nth


cdef inline double ghost_weight(Ghost *g, uint32_t place) noexcept nogil:
    return g.weights[place] if g.weighs else 1


cdef inline bint ghost_seek(Ghost *g, uint32_t code, uint32_t *at) noexcept nogil:
    """Whether `code` is in the queue; the cell that says where, or the one that could."""
    cdef uint32_t pos
    if not g.width:
        return False
    pos = ghost_home(g, code)
    while g.cells[pos]:
        if g.hashes[g.cells[pos] - 1] == code:
            at[0] = pos
            return True
        pos = ghost_next(g, pos)
    at[0] = pos
    return False


cdef inline void ghost_clear(Ghost *g) noexcept:
    """Forget everything, and give the memory back."""
    PyMem_Free(g.hashes)
    PyMem_Free(g.cells)
    PyMem_Free(g.weights)
    g.hashes = g.cells = NULL
    g.weights = NULL
    g.room = g.width = g.head = g.span = g.count = 0
    g.total = 0


cdef inline void ghost_drop(Ghost *g, uint32_t gap) noexcept nogil:
    """Take out what the cell `gap` leads to, and close the gap."""
    cdef uint32_t place = g.cells[gap] - 1
    cdef uint32_t pos = gap, home
    g.total -= ghost_weight(g, place)
    g.hashes[place] = 0
    g.count -= 1
    while True:
        pos = ghost_next(g, pos)
        if not g.cells[pos]:
            break
        home = ghost_home(g, g.hashes[g.cells[pos] - 1])
        if ghost_distance(g, home, pos) >= ghost_distance(g, gap, pos):
            g.cells[gap] = g.cells[pos]
            gap = pos
    g.cells[gap] = 0
    if not g.count:
        g.head = g.span = 0
        g.total = 0     # no drift from fractions


cdef inline void ghost_advance(Ghost *g) noexcept nogil:
    """Let the queue begin with a hash, not with a hole."""
    while g.span and not g.hashes[g.head]:
        g.head += 1
        if g.head == g.room:
            g.head = 0
        g.span -= 1


cdef inline void ghost_trim(Ghost *g, double limit) noexcept nogil:
    """Forget the oldest until the rest fits into `limit`."""
    cdef uint32_t pos = 0
    while g.count and g.total > limit:
        ghost_advance(g)
        ghost_seek(g, g.hashes[g.head], &pos)
        ghost_drop(g, pos)


cdef inline bint ghost_take(Ghost *g, uint32_t hash) noexcept nogil:
    """Take `hash` out; whether it was there."""
    cdef uint32_t pos = 0
    if not g.count or not ghost_seek(g, ghost_code(hash), &pos):
        return False
    ghost_drop(g, pos)
    return True


cdef inline bint ghost_rebuild(Ghost *g) noexcept:
    """Move into memory with room for more, without holes. False: there is no memory."""
    cdef uint64_t room = <uint64_t>g.count + g.count // 2 + 16, width
    cdef uint32_t *hashes
    cdef uint32_t *cells
    cdef double *weights = NULL
    cdef uint32_t i, place, pos = 0, moved = 0
    if not g.weighs and room > g.limit * 1.25 + 16:
        room = <uint64_t>(g.limit * 1.25) + 16
    width = room
    if not g.weighs and width > g.limit:
        width = <uint64_t>g.limit
    width += width * 2 // 3 + 2     # at most three cells in five are taken
    if room >= <uint64_t>1 << 31:
        return False
    hashes = <uint32_t *>PyMem_Malloc(<size_t>(room * sizeof(uint32_t)))
    cells = <uint32_t *>PyMem_Calloc(<size_t>width, sizeof(uint32_t))
    if g.weighs:
        weights = <double *>PyMem_Malloc(<size_t>(room * sizeof(double)))
    if hashes == NULL or cells == NULL or (g.weighs and weights == NULL):
        PyMem_Free(hashes)
        PyMem_Free(cells)
        PyMem_Free(weights)
        return False
    for i in range(g.span):
        place = ghost_place(g, i)
        if g.hashes[place]:
            hashes[moved] = g.hashes[place]
            if g.weighs:
                weights[moved] = g.weights[place]
            moved += 1
    g.hashes, hashes = hashes, g.hashes
    g.cells, cells = cells, g.cells
    g.weights, weights = weights, g.weights
    PyMem_Free(hashes)
    PyMem_Free(cells)
    PyMem_Free(weights)
    g.room, g.width, g.head, g.span = <uint32_t>room, <uint32_t>width, 0, moved
    for i in range(moved):
        ghost_seek(g, g.hashes[i], &pos)
        g.cells[pos] = i + 1
    return True


cdef inline void ghost_push(Ghost *g, uint32_t hash, double weight) noexcept:
    """Note `hash` as the newest; one that is there keeps its place, and one of too much weight is not noted."""
    cdef uint32_t code = ghost_code(hash), pos = 0, place
    if weight > g.limit:
        return
    ghost_trim(g, g.limit - weight)
    ghost_advance(g)
    if g.span == g.room and not ghost_rebuild(g):
        return
    if ghost_seek(g, code, &pos):
        return
    place = ghost_place(g, g.span)
    g.hashes[place] = code
    if g.weighs:
        g.weights[place] = weight
    g.cells[pos] = place + 1
    g.span += 1
    g.count += 1
    g.total += weight


cdef inline void ghost_fit(Ghost *g, double limit) noexcept:
    """Change what fits; memory that is then too much is given back."""
    g.limit = limit
    ghost_trim(g, limit)
    if not g.count:
        ghost_clear(g)
    else:
        ghost_rebuild(g)


cdef inline void ghost_open(Ghost *g, bint weighs) noexcept nogil:
    memset(g, 0, sizeof(Ghost))
    g.weighs = weighs
