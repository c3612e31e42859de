# cython: freethreading_compatible=True
"""Which entries of a cache carry which tags, both ways; made when the first tag is.

Tags are exact strings and slots integers, so nothing here runs user code or sees a tag again that has no entry. The
sets come from outside the critical section, so that nothing here makes a container.
"""


cdef class Tags:
    """The tags of the entries of one cache. All of it runs inside the cache's section."""

    def __cinit__(self):
        self.slots = {}
        self.tags = {}

    cdef int attach(self, uint32_t slot, tuple tags, list fresh) except -1:
        """Tag an entry that has no tags; `fresh` holds an empty set for each tag."""
        cdef Py_ssize_t i
        self.tags[slot] = tags
        for i in range(len(tags)):
            (<set>self.slots.setdefault(tags[i], fresh[i])).add(slot)
        return 0

    cdef void remove(self, uint32_t slot) noexcept:
        """Forget an entry."""
        cdef tuple tags = self.tags.pop(slot, None)
        cdef set slots
        if tags is not None:
            for tag in tags:
                slots = self.slots[tag]
                slots.discard(slot)
                if not slots:
                    del self.slots[tag]

    cdef int check(self) except -1:
        """Assert that both ways agree."""
        ways = {(tag, slot) for tag, slots in self.slots.items() for slot in slots}
        if ways != {(tag, slot) for slot, tags in self.tags.items() for tag in tags} or not all(self.slots.values()):
            raise AssertionError("the index of tags is not what the entries say")
        return 0
