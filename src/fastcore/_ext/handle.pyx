# cython: freethreading_compatible=True
"""What a pool in debug mode lends out: the object behind a check that the lease still runs.

User code runs in every method but `end`: they forward to the leased object, and hold no state while they do. `end`
may run in one thread while others use the object: the section guards `leased`.
"""

cimport cython
from cpython.buffer cimport PyObject_GetBuffer

from fastcore.errors import PoolError


@cython.final
cdef class Handle:
    """Handle(leased)
--

    Forwards to a leased object, and raises PoolError once the lease has ended.
    """

    def __cinit__(self, leased):
        self.leased = leased

    cdef object get(self):
        with cython.critical_section(self):
            return self.leased

    cdef object unwrap(self):
        leased = self.get()
        if leased is None:
            raise PoolError("a pooled object was used after its lease ended")
        return leased

    cdef int end(self) except -1:
        with cython.critical_section(self):
            ended = self.leased
            self.leased = None
        del ended
        return 0

    def __getattribute__(self, name):
        return getattr(self.unwrap(), name)

    def __setattr__(self, name, value):
        setattr(self.unwrap(), name, value)

    def __delattr__(self, name):
        delattr(self.unwrap(), name)

    def __getitem__(self, key):
        return self.unwrap()[key]

    def __setitem__(self, key, value):
        self.unwrap()[key] = value

    def __delitem__(self, key):
        del self.unwrap()[key]

    def __len__(self):
        return len(self.unwrap())

    def __bool__(self):
        return bool(self.unwrap())

    def __contains__(self, item):
        return item in self.unwrap()

    def __iter__(self):
        return iter(self.unwrap())

    def __call__(self, *args, **kwargs):
        return self.unwrap()(*args, **kwargs)

    def __iadd__(self, other):
        before = after = self.unwrap()
        after += other
        return self if after is before else after

    def __eq__(self, other):
        return bool(self.unwrap() == other)

    def __hash__(self):
        return hash(self.unwrap())

    def __str__(self):
        return str(self.unwrap())

    def __repr__(self):
        return repr(self.unwrap())

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyObject_GetBuffer(self.unwrap(), buffer, flags)
