# cython: language_level=3, freethreading_compatible=True
"""Loops over the C API: what test_bench_cimport.py measures. Built against the tree, whose clock is not in a wheel."""

from libc.stdint cimport int64_t

from fastcore._ext.clock cimport monotonic_ns
from fastcore.breaker cimport BreakerTicket, CircuitBreaker, breaker_allow, breaker_success
from fastcore.cache cimport LRUCache, cache_get
from fastcore.pool cimport Pool, pool_acquire, pool_release
from fastcore.queue cimport WorkQueue, queue_add, queue_done, queue_get
from fastcore.ratelimit cimport KeyedTokenBucket, TokenBucket, bucket_allow, keyed_allow


def clock(_, list keys):
    cdef int64_t total = 0
    for _ in keys:
        total += monotonic_ns()
    return total


def bucket(TokenBucket bucket, list keys):
    for _ in keys:
        bucket_allow(bucket, 1.0)


def keyed(KeyedTokenBucket bucket, list keys):
    for key in keys:
        keyed_allow(bucket, key, 1.0)


def dictionary(dict cache, list keys):
    for key in keys:
        cache.get(key, None)


def cache(LRUCache cache, list keys):
    for key in keys:
        cache_get(cache, key, None)


def breaker(CircuitBreaker breaker, list keys):
    cdef BreakerTicket ticket
    for _ in keys:
        if breaker_allow(breaker, &ticket):
            breaker_success(breaker, &ticket)


def pool(Pool pool, list keys):
    for _ in keys:
        obj = pool_acquire(pool)
        pool_release(pool, obj)


def queue(WorkQueue queue, list keys):
    for key in keys:
        queue_add(queue, key, 0)
        queue_done(queue, queue_get(queue, None))
