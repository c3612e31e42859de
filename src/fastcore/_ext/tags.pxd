# Which entries of a cache carry which tags, as the cache sees it.
from libc.stdint cimport uint32_t


cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define FASTCORE_FREE_THREADED 1
    #else
    #define FASTCORE_FREE_THREADED 0
    #endif
    """
    bint FREE_THREADED "FASTCORE_FREE_THREADED"


cdef class Tags:
    cdef dict slots         # tag -> the set of slots whose entries carry it
    cdef dict tags          # slot -> its tags, a tuple
    cdef list numbers       # without a GIL: the one integer that stands for each slot
    cdef list limbo         # without a GIL: what was removed, and tags whose sets were emptied

    cdef int attach(self, uint32_t slot, tuple tags, list fresh) except -1
    cdef void remove(self, uint32_t slot) noexcept
    cdef int tidy(self) except -1
    cdef int check(self) except -1


cdef inline tuple exact(object tags):
    """Tags as a tuple of exact strings, each once."""
    cdef dict found = {}
    if isinstance(tags, (str, bytes)):
        raise TypeError(f"tags must be an iterable of str, got {tags!r}")
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"tags must be str, got {type(tag).__name__}")
        found[str.__str__(tag)] = None
    return tuple(found)


cdef inline bint covers(tuple tags, tuple wanted) noexcept:
    """Whether one who wants these tags may join a load that has `tags`: who invalidates one of them fences it too."""
    for tag in wanted:
        if tag not in tags:
            return False
    return True
