# Who is told that entries have gone, as the cache that tells them sees it.

cdef class Listeners:
    cdef readonly object on_removal
    cdef readonly object on_eviction
    cdef bint weak                  # values are weak references
    cdef object gate                # held while `on_eviction` runs; else None
    cdef unsigned long teller       # the thread in which it runs; 0: none
    cdef list errors                # what it raised, to be logged after the section
    cdef readonly list nothing      # stands for the entries of the cache meanwhile

    cdef bint concerns(self, list gone) noexcept
    cdef int announce(self, list gone) except -1
    cdef int wait(self, object cache) except -1
    cdef int notify(self, list gone) except -1


cdef inline int note(list gone, object key, object value, str cause) except -1:
    """Keep for the listeners what goes: a key, its value and the cause, one after the other. Makes no container."""
    gone.append(key)
    gone.append(value)
    gone.append(cause)
    return 0
