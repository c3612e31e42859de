"""Every way in which an object of ours can keep another one: what the collector must see through.

Each entry of HOLDERS makes, from one implementation and any callable object, something that keeps that object alive.
"""

from collections.abc import Callable
from typing import Any

HOLDERS: dict[str, Callable[[Any, Any], object]] = {}


def holder(make: Callable[[Any, Any], object]) -> Callable[[Any, Any], object]:
    HOLDERS[make.__name__] = make
    return make


# -- caches


@holder
def lru_value(impl: Any, held: Any) -> object:
    cache = impl.lru.LRUCache(2)
    cache["k"] = held
    return cache


@holder
def lru_key(impl: Any, held: Any) -> object:
    cache = impl.lru.LRUCache(2)
    cache[held] = 1
    return cache


@holder
def lru_value_after_atoms(impl: Any, held: Any) -> object:
    """A cache that held nothing for the collector at first."""
    cache = impl.lru.LRUCache(50)
    for n in range(40):
        cache[n] = "text"
    cache[7] = held
    return cache


@holder
def lru_pinned(impl: Any, held: Any) -> object:
    cache = impl.lru.LRUCache(2, getsizeof=lambda value: 0)
    cache["k"] = held
    return cache


@holder
def lru_weigher(impl: Any, held: Any) -> object:
    return impl.lru.LRUCache(2, getsizeof=held)


@holder
def lru_flight(impl: Any, held: Any) -> object:
    cache = impl.lru.LRUCache(2)
    cache._begin_load(held, impl.lru.Load())
    return cache


@holder
def lru_iterator(impl: Any, held: Any) -> object:
    iterator = iter(lru_value(impl, held))
    next(iterator)
    return iterator


@holder
def ttl_value(impl: Any, held: Any) -> object:
    cache = impl.ttl.TTLCache(2, 60)
    cache["k"] = held
    return cache


@holder
def ttl_key(impl: Any, held: Any) -> object:
    cache = impl.ttl.TTLCache(2, 60)
    cache.set(held, 1, ttl=None)
    return cache


@holder
def ttl_timer(impl: Any, held: Any) -> object:
    return impl.ttl.TTLCache(2, 60, timer=held)


@holder
def ttl_rng(impl: Any, held: Any) -> object:
    return impl.ttl.TTLCache(2, 60, rng=held)


@holder
def s3fifo_value(impl: Any, held: Any) -> object:
    cache = impl.s3fifo.S3FIFOCache(2)
    cache["k"] = held
    return cache


@holder
def s3fifo_key(impl: Any, held: Any) -> object:
    cache = impl.s3fifo.S3FIFOCache(2)
    cache[held] = 1
    return cache


@holder
def removal_listener(impl: Any, held: Any) -> object:
    return impl.lru.LRUCache(2, on_removal=held)


@holder
def eviction_listener(impl: Any, held: Any) -> object:
    return impl.ttl.TTLCache(2, 60, on_eviction=held)


@holder
def copier(impl: Any, held: Any) -> object:
    return impl.lru.LRUCache(2, copy="on_read", copier=held)


@holder
def tagged_value(impl: Any, held: Any) -> object:
    cache = impl.lru.LRUCache(2)
    cache.set("k", held, tags=["t"])
    return cache


@holder
def loading_value(impl: Any, held: Any) -> object:
    cache = impl.loading.LoadingCache(2)
    cache.set("k", held)
    return cache


@holder
def loading_timer(impl: Any, held: Any) -> object:
    return impl.loading.LoadingCache(2, 60, timer=held)


# -- limits


@holder
def bucket_clock(impl: Any, held: Any) -> object:
    return impl.bucket.TokenBucket(1, 1, clock=held)


@holder
def bucket_sleep(impl: Any, held: Any) -> object:
    return impl.bucket.TokenBucket(1, 1, sleep=held)


@holder
def reservation(impl: Any, held: Any) -> object:
    return impl.bucket.TokenBucket(1, 1, clock=held).reserve()


@holder
def keyed_key(impl: Any, held: Any) -> object:
    keyed = impl.keyed.KeyedTokenBucket(1, 1, max_keys=2)
    keyed.allow(held)
    return keyed


@holder
def keyed_clock(impl: Any, held: Any) -> object:
    return impl.keyed.KeyedTokenBucket(1, 1, max_keys=2, clock=held)


@holder
def backoff_item(impl: Any, held: Any) -> object:
    backoff = impl.backoff.ItemBackoff()
    backoff.when(held)
    return backoff


@holder
def limiter_of_limiters(impl: Any, held: Any) -> object:
    return impl.backoff.MaxOf(held)


# -- breakers


@holder
def breaker_clock(impl: Any, held: Any) -> object:
    return impl.breaker.CircuitBreaker("b", clock=held)


@holder
def breaker_exclusion(impl: Any, held: Any) -> object:
    return impl.breaker.CircuitBreaker("b", exclude=(held,))


@holder
def breaker_listener(impl: Any, held: Any) -> object:
    breaker = impl.breaker.CircuitBreaker("b")
    breaker.on_transition(held)
    return breaker


@holder
def breaker_last_error(impl: Any, held: Any) -> object:
    breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1)
    breaker.acquire().failure(OSError(held))
    return breaker


@holder
def guarded_function(impl: Any, held: Any) -> object:
    return impl.breaker.CircuitBreaker("b")(held)


@holder
def permit(impl: Any, held: Any) -> object:
    return impl.breaker.CircuitBreaker("b", exclude=(held,)).acquire()


@holder
def registry_listener(impl: Any, held: Any) -> object:
    registry = impl.registry.BreakerRegistry()
    registry.on_transition(held)
    return registry


@holder
def registry_factory(impl: Any, held: Any) -> object:
    return impl.registry.BreakerRegistry(lambda name, **options: impl.breaker.CircuitBreaker(name, exclude=(held,)))


@holder
def registry_options(impl: Any, held: Any) -> object:
    registry = impl.registry.BreakerRegistry(exclude=(held,))
    registry.get("b")
    return registry


# -- pools


@holder
def pool_idle(impl: Any, held: Any) -> object:
    pool = impl.pool.ObjectPool(int)
    pool.release(held)
    return pool


@holder
def pool_factory(impl: Any, held: Any) -> object:
    return impl.pool.ObjectPool(held)


@holder
def pool_reset(impl: Any, held: Any) -> object:
    return impl.pool.ObjectPool(list, reset=held)


@holder
def pool_sizeof(impl: Any, held: Any) -> object:
    return impl.pool.ObjectPool(list, sizeof=held, max_bytes=9)


@holder
def pool_lent(impl: Any, held: Any) -> object:
    """A debugging pool knows what it has lent."""
    pool = impl.pool.ObjectPool(lambda: held, debug=True)
    return pool, pool.acquire()


@holder
def lease(impl: Any, held: Any) -> object:
    lease = impl.pool.ObjectPool(lambda: held).lease()
    lease.__enter__()
    return lease


# -- queues


@holder
def queue_ready(impl: Any, held: Any) -> object:
    queue = impl.queue.WorkQueue()
    queue.add(held)
    return queue


@holder
def queue_delayed(impl: Any, held: Any) -> object:
    queue = impl.queue.WorkQueue()
    queue.add_after(held, 1000)
    return queue


@holder
def queue_processing(impl: Any, held: Any) -> object:
    queue = impl.queue.WorkQueue()
    queue.add(held)
    queue.get(0)
    return queue


@holder
def queue_failures(impl: Any, held: Any) -> object:
    queue = impl.queue.WorkQueue()
    queue.add_rate_limited(held)
    queue.shut_down()
    return queue


@holder
def queue_group(impl: Any, held: Any) -> object:
    queue = impl.queue.WorkQueue(fair_by=lambda key: held)
    queue.add(1)
    return queue


@holder
def queue_classifier(impl: Any, held: Any) -> object:
    return impl.queue.WorkQueue(fair_by=held)


@holder
def queue_clock(impl: Any, held: Any) -> object:
    return impl.queue.WorkQueue(clock=held)


@holder
def queue_limiter(impl: Any, held: Any) -> object:
    return impl.queue.WorkQueue(limiter=held)
