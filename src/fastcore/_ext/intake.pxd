# What objects needs to take objects in: what to keep of them, and who they are.
from fastcore._ext.jsonscan cimport Place

cdef struct Rule:               # what happens to a member, and to the members of its value
    const char *name
    Py_ssize_t length
    int first                   # of its inner rules, in the same array
    int count
    bint drops
    bint strict                 # members without a rule are dropped
    bint ours                   # a list of managed fields, of which our own entries stay

cdef struct Identity:           # the values in the text; NULL where there is none
    Place version
    Place kind
    Place metadata
    Place name
    Place namespace
    Place uid
    Place revision

cdef class Rules:
    cdef Rule *rules
    cdef list names             # keeps the names of the rules alive
    cdef bytes version          # '"apiVersion":"v1",', put in where an object does not say it
    cdef bytes kind
    cdef bytes manager
    cdef int compile(self, dict tree) except -1

cdef bytes take(bytes text, Rules rules, Identity *who)
cdef str key_of(Place end, Identity *who)
cdef int identify(bytes text, Identity *who) except -1
