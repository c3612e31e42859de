# cython: freethreading_compatible=True
"""Which entries of a cache carry which tags, both ways; made when the first tag is.

Tags are exact strings and slots integers, so nothing here runs user code or sees a tag again that has no entry. The
sets come from outside the critical section, so that nothing here makes a container.

Without a GIL, letting go of an object that another thread has made may wait for a lock of the interpreter, and so leave
the critical section in the middle of a removal. What is removed is therefore held once more by `limbo` first, and let
go of by `tidy`, between two operations.
"""


cdef class Tags:
    """The tags of the entries of one cache. All of it runs inside the cache's section."""

    def __cinit__(self):
        self.slots = {}
        self.tags = {}
        self.numbers = []
        self.limbo = []

    cdef int attach(self, uint32_t slot, tuple tags, list fresh) except -1:
        """Tag an entry that has no tags; `fresh` holds an empty set for each tag."""
        cdef Py_ssize_t i
        cdef object number = slot
        if FREE_THREADED:
            while len(self.numbers) <= slot:
                self.numbers.append(len(self.numbers))
            number = self.numbers[slot]
        self.tags[number] = tags
        for i in range(len(tags)):
            (<set>self.slots.setdefault(tags[i], fresh[i])).add(number)
        return 0

    cdef void remove(self, uint32_t slot) noexcept:
        """Forget an entry."""
        cdef tuple tags
        cdef set slots
        cdef object number = slot
        if FREE_THREADED:
            if slot >= <uint32_t>len(self.numbers):
                return
            number = self.numbers[slot]
            tags = self.tags.get(number)
            if tags is None:
                return
            self.limbo.append(tags)
            self.limbo.append(number)           # a key of `tags`
            for _ in tags:
                self.limbo.append(number)       # an item of its set
        tags = self.tags.pop(number, None)
        if tags is not None:
            for tag in tags:
                slots = self.slots[tag]
                slots.discard(number)
                if not slots:
                    if FREE_THREADED:
                        self.limbo.append(tag)
                    else:
                        del self.slots[tag]

    cdef int tidy(self) except -1:
        """Let go of what was removed. Each step leaves all whole, so another thread may come in between."""
        cdef set slots
        while self.limbo:
            tag = self.limbo.pop()
            if isinstance(tag, str):
                slots = self.slots.get(tag)
                if slots is not None and not slots:
                    self.slots.pop(tag, None)
        return 0

    cdef int check(self) except -1:
        """Assert that both ways agree."""
        self.tidy()
        ways = {(tag, slot) for tag, slots in self.slots.items() for slot in slots}
        if ways != {(tag, slot) for slot, tags in self.tags.items() for tag in tags} or not all(self.slots.values()):
            raise AssertionError("the index of tags is not what the entries say")
        return 0
