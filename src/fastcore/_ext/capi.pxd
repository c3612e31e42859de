# The C API of the primitives. `fastcore.cache`, `ratelimit`, `breaker`, `pool` and `queue` hand it on: cimport from
# those. docs/cimport.md describes it.
#
# The classes are opaque, so that their layout is nobody's business. What may not change is the name and the type of
# each function: when a module that was built with this file is imported, Cython compares them, and raises ImportError
# or TypeError if one is missing or another. It also asks for `fastcore_api_1`, used or not: an incompatible change of
# what a function means gives that another number.
#
# All functions are called with the GIL (or, without one, an attached thread). They pass on what the methods raise.
from libc.stdint cimport int64_t

cdef enum:
    FASTCORE_API = 1

cdef int fastcore_api_1

cdef extern from *:
    """
    typedef PyObject FastcoreLRUCache;
    typedef PyObject FastcoreTokenBucket;
    typedef PyObject FastcoreKeyedTokenBucket;
    typedef PyObject FastcoreCircuitBreaker;
    typedef PyObject FastcorePool;
    typedef PyObject FastcoreWorkQueue;
    """
    ctypedef class fastcore._ext.lru.LRUCache [object FastcoreLRUCache, check_size ignore]:
        pass    # and its subclasses: TTLCache, S3FIFOCache, yours
    ctypedef class fastcore._ext.bucket.TokenBucket [object FastcoreTokenBucket, check_size ignore]:
        pass
    ctypedef class fastcore._ext.keyed.KeyedTokenBucket [object FastcoreKeyedTokenBucket, check_size ignore]:
        pass
    ctypedef class fastcore._ext.breaker.CircuitBreaker [object FastcoreCircuitBreaker, check_size ignore]:
        pass
    ctypedef class fastcore._ext.pool._Pool [object FastcorePool, check_size ignore]:
        pass    # ObjectPool and BufferPool; `fastcore.pool` calls it Pool
    ctypedef class fastcore._ext.queue.WorkQueue [object FastcoreWorkQueue, check_size ignore]:
        pass

cdef struct BreakerTicket:
    int64_t parts[4]        # of the breaker that filled it


# Caches. `cache_set` is False for a value that does not fit; the key is absent then.
cdef object cache_get(LRUCache cache, object key, object default)
cdef bint cache_set(LRUCache cache, object key, object value) except -1

# Rate limits. False: not admitted, nothing taken.
cdef bint bucket_allow(TokenBucket bucket, double tokens) except -1
cdef bint keyed_allow(KeyedTokenBucket bucket, object key, double tokens) except -1

# Circuit breakers. Each ticket that was filled is reported once, by one of the last four.
cdef bint breaker_allow(CircuitBreaker breaker, BreakerTicket* ticket) except -1        # False: refused
cdef int breaker_admit(CircuitBreaker breaker, BreakerTicket* ticket) except -1         # CircuitOpenError: refused
cdef int breaker_success(CircuitBreaker breaker, BreakerTicket* ticket) except -1
cdef int breaker_failure(CircuitBreaker breaker, BreakerTicket* ticket) except -1
cdef int breaker_raised(CircuitBreaker breaker, BreakerTicket* ticket, object error) except -1     # judges `error`
cdef int breaker_ignore(CircuitBreaker breaker, BreakerTicket* ticket) except -1

# Pools. In debug mode too they lend the object itself, not a handle.
cdef object pool_acquire(_Pool pool)
cdef int pool_release(_Pool pool, object obj) except -1

# Work queues. `queue_get` never waits.
cdef int queue_add(WorkQueue queue, object key, int priority) except -1
cdef int queue_add_after(WorkQueue queue, object key, double seconds) except -1
cdef object queue_get(WorkQueue queue, object default)
cdef int queue_done(WorkQueue queue, object key) except -1
cdef Py_ssize_t queue_len(WorkQueue queue) except -1
