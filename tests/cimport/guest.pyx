# cython: language_level=3, freethreading_compatible=True
"""A module of somebody else, that calls the primitives in C."""

from fastcore.breaker cimport (
    BreakerTicket, CircuitBreaker, breaker_admit, breaker_allow, breaker_failure, breaker_ignore, breaker_raised,
    breaker_success,
)
from fastcore.cache cimport LRUCache, cache_get, cache_set
from fastcore.pool cimport Pool, pool_acquire, pool_release
from fastcore.queue cimport WorkQueue, queue_add, queue_add_after, queue_done, queue_get, queue_len
from fastcore.ratelimit cimport KeyedTokenBucket, TokenBucket, bucket_allow, keyed_allow


def get(LRUCache cache, key, default):
    return cache_get(cache, key, default)


def put(LRUCache cache, key, value):
    return cache_set(cache, key, value)


def allow(TokenBucket bucket, double tokens):
    return bucket_allow(bucket, tokens)


def allow_key(KeyedTokenBucket bucket, key, double tokens):
    return keyed_allow(bucket, key, tokens)


def guard(CircuitBreaker breaker, str outcome):
    """One call that ends in `outcome`; whether it was let through."""
    cdef BreakerTicket ticket
    if not breaker_allow(breaker, &ticket):
        return False
    if outcome == "success":
        breaker_success(breaker, &ticket)
    elif outcome == "failure":
        breaker_failure(breaker, &ticket)
    else:
        breaker_ignore(breaker, &ticket)
    return True


def call(CircuitBreaker breaker, function):
    """As `breaker.call`."""
    cdef BreakerTicket ticket
    breaker_admit(breaker, &ticket)
    try:
        result = function()
    except BaseException as error:
        breaker_raised(breaker, &ticket, error)
        raise
    breaker_success(breaker, &ticket)
    return result


def acquire(Pool pool):
    return pool_acquire(pool)


def release(Pool pool, obj):
    pool_release(pool, obj)


def add(WorkQueue queue, key, int priority):
    queue_add(queue, key, priority)


def add_after(WorkQueue queue, key, double seconds):
    queue_add_after(queue, key, seconds)


def take(WorkQueue queue, default):
    return queue_get(queue, default)


def done(WorkQueue queue, key):
    queue_done(queue, key)


def depth(WorkQueue queue):
    return queue_len(queue)
