# cython: freethreading_compatible=True
"""An index of an object store: keys by value. The store's critical section guards it.

User code runs in `values_of`, which changes nothing. Values are str, int, float, bool, bytes, None and tuples of them,
so that no look-up runs any.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastcore._ext.jsonscan cimport Place
from fastcore._ext.paths cimport gather
from fastcore._objecttext import plain_value


@cython.final
cdef class Index:
    """Keys by value: for a value the one key, or a dict of several."""

    cdef tuple values_of(self, object view, bytes raw):
        """What an object is found by. Its view is for a function, which is user code."""
        cdef list found = []
        cdef Place begin
        if self.function is None:
            begin = <Place>PyBytes_AS_STRING(raw)
            gather(begin, begin + PyBytes_GET_SIZE(raw), self.steps, 0, found)
        else:
            for value in self.function(view):
                found.append(plain_value(value))
        return tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)

    cdef int put(self, str key, bytes old, tuple values) except -1:
        cdef tuple before = self.before(key, old)
        if before == values:
            return 0
        self.take_out(key, before)
        for value in values:
            found = self.entries.get(value)
            if found is None:
                self.entries[value] = key
            elif type(found) is dict:
                (<dict>found)[key] = None
            else:
                self.entries[value] = {found: None, key: None}
        if self.function is not None and values:
            self.values[key] = values
        return 0

    cdef int remove(self, str key, bytes old) except -1:
        return self.take_out(key, self.before(key, old))

    cdef tuple before(self, str key, bytes old):
        if self.function is not None:
            return self.values.get(key, ())
        return () if old is None else self.values_of(None, old)

    cdef int take_out(self, str key, tuple values) except -1:
        for value in values:
            found = self.entries.get(value)
            if type(found) is dict:
                (<dict>found).pop(key, None)
                if not found:
                    del self.entries[value]
            elif found == key:
                del self.entries[value]
        if self.function is not None:
            self.values.pop(key, None)
        return 0
