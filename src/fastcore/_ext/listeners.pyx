# cython: freethreading_compatible=True
"""Who is told that entries have gone from a cache, and why: explicit, replaced, size, expired, collected.

What an operation removes it notes in a list, three places an entry. `on_removal` hears of all of it after the
critical section, in the thread that did it and before the operation returns. `on_eviction` hears of what the cache
itself removed, at the end of the critical section, when the operation is complete but nobody has seen it yet: the cache
has put an empty list in place of its entries, so every path into them comes to `wait`. There the thread that runs the
listener gets ReentrancyError, and others wait until it has returned.

User code runs in both listeners, and in the log handlers: the latter outside the section only, since handlers have
locks of their own. While a listener runs no invariant of the cache is broken.
"""

from threading import Lock
from time import sleep

from fastcore.errors import ReentrancyError

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept


cdef class Listeners:
    """The listeners of one cache."""

    def __cinit__(self, on_removal, on_eviction, weak):
        for name, listener in (("on_removal", on_removal), ("on_eviction", on_eviction)):
            if listener is not None and not callable(listener):
                raise TypeError(f"{name} must be callable, got {listener!r}")
        self.on_removal = on_removal
        self.on_eviction = on_eviction
        self.weak = weak
        self.errors = []
        self.nothing = []

    cdef bint concerns(self, list gone) noexcept:
        """Whether `on_eviction` has anything to hear of what is `gone`."""
        cdef Py_ssize_t i
        if self.on_eviction is not None:
            for i in range(2, len(gone), 3):
                if is_automatic(gone[i]):
                    return True
        return False

    cdef int announce(self, list gone) except -1:
        """Call `on_eviction`. In the section of the cache, which looks empty meanwhile."""
        cdef Py_ssize_t i
        cdef object gate
        self.teller = PyThread_get_thread_ident()
        try:
            # One of its own for each call: those whom it lets go do not get in the way of the next.
            gate = Lock()
            with gate:
                self.gate = gate
                try:
                    for i in range(0, len(gone), 3):
                        if is_automatic(gone[i + 2]):
                            value = gone[i + 1]() if self.weak else gone[i + 1]
                            try:
                                self.on_eviction(gone[i], value, gone[i + 2])
                            except Exception as error:
                                self.errors.append(error)
                finally:
                    self.gate = None
        finally:
            self.teller = 0
        return 0

    cdef int wait(self, object cache) except -1:
        """Return when `on_eviction` may have ended; ReentrancyError in the thread that runs it."""
        cdef object gate = self.gate
        if self.teller == PyThread_get_thread_ident():
            raise ReentrancyError(f"on_eviction of this {type(cache).__name__} called it; use on_removal for that")
        if gate is None:
            sleep(0)    # it is just about to begin, or has just ended
        else:
            with gate:
                pass
        return 0

    cdef int notify(self, list gone) except -1:
        """Call `on_removal`, and log what listeners raised. With no section held."""
        cdef Py_ssize_t i
        while self.errors:
            try:
                error = self.errors.pop(0)
            except IndexError:      # another thread was faster
                break
            report("on_eviction", error)
        if self.on_removal is not None:
            for i in range(0, len(gone), 3):
                value = gone[i + 1]() if self.weak else gone[i + 1]
                try:
                    self.on_removal(gone[i], value, gone[i + 2])
                except Exception as error:
                    report("on_removal", error)
        return 0


cdef inline bint is_automatic(str cause) noexcept:
    """Whether the cache itself removed what went."""
    return cause == "size" or cause == "expired" or cause == "collected"


cdef int report(str name, object error) except -1:
    import logging      # here, since few programs need it: it costs 10 ms
    logging.getLogger("fastcore.cache").error("%s raised %r", name, error, exc_info=error)
    return 0
