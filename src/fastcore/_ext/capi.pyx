# cython: freethreading_compatible=True
"""The C API of the primitives, for modules that cimport it: capi.pxd says what may change in it.

Each function checks for None, which a C caller may pass where an object is declared, and calls the class in C. They
hold no section of their own; user code runs where it does in the classes.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from fastcore._ext.bucket cimport TokenBucket as Bucket
from fastcore._ext.circuit cimport EXCLUDED, FAILURE, Ticket
from fastcore._ext.gate cimport Gate
from fastcore._ext.keyed cimport KeyedTokenBucket as KeyedBucket
from fastcore._ext.lru cimport LRUCache as Cache
from fastcore._ext.pool cimport _Pool as PoolBase
from fastcore._ext.queue cimport WorkQueue as Queue
from fastcore._ext.requests cimport SAME_PRIORITY, own, to_ns
from fastcore._ext.slots cimport LENDS, QUIET, READS, find, hash_of, seen, touch, value_at
from fastcore._ext.ttl cimport TTLCache

from fastcore.errors import CircuitOpenError

fastcore_api_1 = FASTCORE_API

if sizeof(Ticket) > sizeof(BreakerTicket):
    raise ImportError("a ticket does not fit into what callers keep for it")


cdef int refuse(str what) except -1:
    raise TypeError(f"expected a {what}, got None")


cdef object cache_get(LRUCache cache, object key, object default):
    cdef Cache entries
    cdef object value
    cdef bint found = False
    cdef int64_t slot
    cdef uint32_t hash
    if cache is None:
        refuse("LRUCache")
    entries = <Cache><object>cache
    if entries.flags & (READS | LENDS):
        return entries.get(key, default)
    if isinstance(entries, TTLCache):
        value = (<TTLCache>entries).fetch(key, &found)
        return value if found else default
    with cython.critical_section(entries):
        hash = hash_of(key)
        slot = find(entries, key, hash)
        seen(entries, hash, <uint32_t>slot)
        if slot:
            entries.counters.hits += 1
            touch(entries, <uint32_t>slot)
            return value_at(entries, <uint32_t>slot)
        entries.counters.misses += 1
    return default


cdef bint cache_set(LRUCache cache, object key, object value) except -1:
    if cache is None:
        refuse("LRUCache")
    return (<Cache><object>cache).write(key, value, ..., QUIET, None)


cdef bint bucket_allow(TokenBucket bucket, double tokens) except -1:
    if bucket is None:
        refuse("TokenBucket")
    return (<Bucket><object>bucket).admit(tokens)


cdef bint keyed_allow(KeyedTokenBucket bucket, object key, double tokens) except -1:
    if bucket is None:
        refuse("KeyedTokenBucket")
    return (<KeyedBucket><object>bucket).admit(key, tokens)


cdef bint breaker_allow(CircuitBreaker breaker, BreakerTicket* ticket) except -1:
    if breaker is None:
        refuse("CircuitBreaker")
    try:
        (<Gate><object>breaker).admit(<Ticket*>ticket)
    except CircuitOpenError:
        return False
    return True


cdef int breaker_admit(CircuitBreaker breaker, BreakerTicket* ticket) except -1:
    if breaker is None:
        refuse("CircuitBreaker")
    return (<Gate><object>breaker).admit(<Ticket*>ticket)


cdef int breaker_success(CircuitBreaker breaker, BreakerTicket* ticket) except -1:
    if breaker is None:
        refuse("CircuitBreaker")
    return (<Gate><object>breaker).succeeded(<Ticket*>ticket)


cdef int breaker_failure(CircuitBreaker breaker, BreakerTicket* ticket) except -1:
    if breaker is None:
        refuse("CircuitBreaker")
    (<Gate><object>breaker).settle(<Ticket*>ticket, FAILURE, None)
    return 0


cdef int breaker_raised(CircuitBreaker breaker, BreakerTicket* ticket, object error) except -1:
    if breaker is None:
        refuse("CircuitBreaker")
    return (<Gate><object>breaker).raised(<Ticket*>ticket, error)


cdef int breaker_ignore(CircuitBreaker breaker, BreakerTicket* ticket) except -1:
    if breaker is None:
        refuse("CircuitBreaker")
    (<Gate><object>breaker).settle(<Ticket*>ticket, EXCLUDED, None)
    return 0


cdef object pool_acquire(_Pool pool):
    if pool is None:
        refuse("Pool")
    return (<PoolBase><object>pool).take()


cdef int pool_release(_Pool pool, object obj) except -1:
    if pool is None:
        refuse("Pool")
    return (<PoolBase><object>pool).give(obj)


cdef int queue_add(WorkQueue queue, object key, int priority) except -1:
    if queue is None:
        refuse("WorkQueue")
    return (<Queue><object>queue).put(key, 0, priority, False)


cdef int queue_add_after(WorkQueue queue, object key, double seconds) except -1:
    if queue is None:
        refuse("WorkQueue")
    return (<Queue><object>queue).put(key, to_ns(seconds), SAME_PRIORITY, True)


cdef object queue_get(WorkQueue queue, object default):
    cdef PyObject* key
    if queue is None:
        refuse("WorkQueue")
    key = (<Queue><object>queue).take(None, None)
    return default if key == NULL else own(key)


cdef int queue_done(WorkQueue queue, object key) except -1:
    if queue is None:
        refuse("WorkQueue")
    return (<Queue><object>queue).finish(key)


cdef Py_ssize_t queue_len(WorkQueue queue) except -1:
    if queue is None:
        refuse("WorkQueue")
    return (<Queue><object>queue).count()
