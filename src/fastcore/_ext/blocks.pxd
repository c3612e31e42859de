# The `with` blocks of a circuit breaker that are running. No Python, no clock, no lock.
#
# `with breaker:` has no place for a ticket, since all threads and tasks share one object. While nothing happens it
# needs none: a block entered in this generation is a count (`plain`). A transition turns these into `debts`: blocks
# whose result will be late. As long as there are debts, or the breaker is not closed, or durations matter, a block is
# recorded under its thread and task; a block that finds no record of its own on exit is one of the debts. Hence:
# plain > 0 only while there are no debts and no records.
from libc.stdlib cimport realloc

from fastcore._ext.circuit cimport Ticket

cdef struct Whose:
    unsigned long thread
    size_t task  # 0: none

cdef struct Record:
    Whose whose
    Ticket ticket

cdef struct Blocks:
    long long plain
    long long debts
    Record *records  # the newest last
    Py_ssize_t count
    Py_ssize_t size


cdef inline void expire(Blocks *b) noexcept nogil:
    """After each transition: blocks without a record are late."""
    b.debts += b.plain
    b.plain = 0


cdef inline bint reserve(Blocks *b) noexcept nogil:
    """Make room for one more record; False: no memory."""
    cdef Py_ssize_t size
    cdef Record *records
    if b.count < b.size:
        return True
    size = 2 * b.size if b.size > 0 else 4
    records = <Record *>realloc(b.records, <size_t>size * sizeof(Record))
    if records == NULL:
        return False
    b.records = records
    b.size = size
    return True


cdef inline void note(Blocks *b, const Whose *whose, const Ticket *ticket) noexcept nogil:
    """Record a block, after `reserve`."""
    b.records[b.count].whose = whose[0]
    b.records[b.count].ticket = ticket[0]
    b.count += 1


cdef inline bint settle_up(Blocks *b, const Whose *whose, Ticket *ticket) noexcept nogil:
    """The ticket of the block that `whose` leaves; False if nobody has entered one."""
    cdef Py_ssize_t i = b.count - 1
    while i >= 0 and (b.records[i].whose.thread != whose.thread or b.records[i].whose.task != whose.task):
        i -= 1
    if i < 0 and b.debts > 0:
        b.debts -= 1
        ticket.generation = 0
        return True
    if i < 0:
        # A generator may be closed by another task than ran it: the newest record is as good as any.
        i = b.count - 1
    if i < 0:
        return False
    ticket[0] = b.records[i].ticket
    b.count -= 1
    while i < b.count:
        b.records[i] = b.records[i + 1]
        i += 1
    return True
