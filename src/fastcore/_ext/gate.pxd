# The gate of a circuit breaker, as guarded calls and other C code see it: ask with `admit`, report with `succeeded`,
# `raised` or `settle`. All of them pass on what user code raises (clock, predicates, a listener's BaseException), and
# `admit` raises CircuitOpenError. A ticket is for one report.
cimport cython
from libc.stdint cimport int64_t, uint64_t

from fastcore._ext.blocks cimport Blocks, Whose
from fastcore._ext.circuit cimport CLOSED, SUCCESS, Circuit, Ticket


@cython.trashcan(True)
cdef class Gate:
    cdef readonly str name
    cdef object __weakref__
    cdef bint timed  # the end of a call needs the time
    cdef tuple exclude
    cdef tuple only
    cdef object clock
    cdef object random
    # Guarded by the section.
    cdef Circuit circuit
    cdef Blocks blocks
    cdef int64_t seen
    cdef object cause
    cdef long long dropped
    cdef list news
    cdef list listeners
    cdef bint telling
    # Of the registry that the breaker is in.
    cdef object shared  # its listeners
    cdef uint64_t used  # when it was asked for last, in the registry's count
    cdef long long asked  # its calls at that time

    cdef int64_t read_clock(self) except? -1
    cdef int64_t held(self, int64_t now) noexcept
    cdef int moved(self, int news) except -1
    cdef int admit_slowly(self, Ticket *ticket, Whose *block) except -1
    cdef bint settle(self, Ticket *ticket, int outcome, object error) except -1
    cdef int judge(self, object error) except -1
    cdef int raised(self, Ticket *ticket, object error) except -1
    cdef int tell(self) except -1
    cdef int steer(self, int state, int reason) except -1
    cdef int use(self, uint64_t stamp) noexcept
    cdef uint64_t last_use(self, uint64_t stamp, bint *idle) noexcept

    @cython.final
    cdef inline int admit(self, Ticket *ticket) except -1:
        """Ask for one call; fills its ticket, or raises CircuitOpenError."""
        if not self.timed:
            with cython.critical_section(self):
                if self.circuit.state == CLOSED:
                    self.circuit.calls += 1
                    ticket.generation = self.circuit.generation
                    ticket.lease = 0
                    return 0
        return self.admit_slowly(ticket, NULL)

    @cython.final
    cdef inline int succeeded(self, Ticket *ticket) except -1:
        """Report a success."""
        if not self.timed:
            with cython.critical_section(self):
                if (
                    self.circuit.state == CLOSED and self.circuit.window.size == 0
                    and ticket.generation == self.circuit.generation
                ):
                    self.circuit.successes += 1
                    self.circuit.consecutive = 0
                    return 0
        self.settle(ticket, SUCCESS, None)
        return 0
