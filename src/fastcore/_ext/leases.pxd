# The trial calls that a half-open breaker has let through and not heard of yet. No Python, no clock, no lock.
from libc.stdint cimport INT64_MAX, int64_t

cdef struct Lease:
    int64_t number
    int64_t deadline

cdef struct Leases:
    Lease *cells
    Py_ssize_t count
    Py_ssize_t size
    int64_t last  # the number given out last; 0 is no lease


cdef inline int64_t grant(Leases *leases, int64_t deadline) noexcept nogil:
    """The number of a new lease; 0 when all are out."""
    if leases.count == leases.size:
        return 0
    leases.last += 1
    leases.cells[leases.count].number = leases.last
    leases.cells[leases.count].deadline = deadline
    leases.count += 1
    return leases.last


cdef inline void give_back(Leases *leases, int64_t number) noexcept nogil:
    """Free a lease; no effect if it is not out."""
    cdef Py_ssize_t i
    for i in range(leases.count):
        if leases.cells[i].number == number:
            leases.count -= 1
            leases.cells[i] = leases.cells[leases.count]
            return


cdef inline int64_t first_deadline(const Leases *leases) noexcept nogil:
    """When the first lease runs out."""
    cdef int64_t first = INT64_MAX
    cdef Py_ssize_t i
    for i in range(leases.count):
        if leases.cells[i].deadline < first:
            first = leases.cells[i].deadline
    return first
