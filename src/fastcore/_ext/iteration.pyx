# cython: freethreading_compatible=True
"""Iteration over a compiled cache. No user code runs inside a critical section but what `Slots.intact` waits for."""

cimport cython
from libc.stdint cimport uint64_t

from fastcore._ext.ring cimport FREE, ROOTS
from fastcore._ext.slots cimport Slots, key_at, lend, live


@cython.final
cdef class CacheIterator:
    """Iterates over the live entries of a cache, in no particular order; refreshes nothing.

    Its own section guards `cache`, that of the cache the rest.
    """

    def __init__(self):
        raise TypeError("cannot create 'CacheIterator' instances; call iter() on a cache")

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint64_t now = 0
        cdef Slots cache
        cdef object key = None, value = None
        cdef bint found = False
        with cython.critical_section(self):
            cache = self.cache
        if cache is None:
            raise StopIteration
        cache.read_clock(&now)
        with cython.critical_section(cache):
            cache.intact()
            if cache.changes != self.changes:
                raise RuntimeError("cache changed during iteration")
            while not found and self.slot < cache.table.used:
                if cache.table.slots[self.slot].prev != FREE:
                    key = key_at(cache, self.slot)
                    value = live(cache, self.slot, now, &found)
                self.slot += 1
        if not found:
            with cython.critical_section(self):
                self.cache = None
            raise StopIteration
        if self.kind == 0:
            return key
        value = lend(cache, value)
        return value if self.kind == 1 else (key, value)


cdef CacheIterator iterate(Slots cache, int kind):
    cdef CacheIterator iterator = CacheIterator.__new__(CacheIterator)
    iterator.cache = cache
    iterator.slot = ROOTS
    with cython.critical_section(cache):
        iterator.changes = cache.changes
    iterator.kind = kind
    return iterator
