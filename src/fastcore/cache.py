"""Caches: `LRUCache`, `S3FIFOCache`, `TTLCache`, and decorators that keep results in them.

The interface is that of cachetools; `get_or_load`, `peek`, `set`, bulk calls and invalidation are added. The classes
inherit every hot method from the compiled ones as it is.
"""

import reprlib
from collections.abc import Awaitable, Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any, ClassVar, NamedTuple, TypeVar

from fastcore._bulk import aload_many, load_many
from fastcore._cached import (
    CachedFunction,
    CacheInfo,
    cached,
    cachedmethod,
    hashkey,
    methodkey,
    typedkey,
    typedmethodkey,
)
from fastcore._impl import lru, s3fifo, shadow, ttl
from fastcore._loading import Entry, LoadingCache, LoadingStats
from fastcore._singleflight import ABSENT, Flight, aload, load, with_tags

__all__ = [
    "CacheInfo",
    "CacheStats",
    "CachedFunction",
    "Entry",
    "LRUCache",
    "LoadingCache",
    "LoadingStats",
    "S3FIFOCache",
    "Shadow",
    "ShadowRow",
    "TTLCache",
    "cached",
    "cachedmethod",
    "hashkey",
    "methodkey",
    "typedkey",
    "typedmethodkey",
]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

Shadow = shadow.Shadow
ShadowRow = shadow.ShadowRow


class CacheStats(NamedTuple):
    """Counters of a cache since it was made or reset, and its size now; one consistent snapshot.

    Reads are `hits + misses`: those by `[]`, `get`, `get_many`, `setdefault`, `get_or_load`. At any time
    `insertions == entries + removals + evictions + expirations`.
    """

    hits: int
    misses: int
    expired: int
    """Misses that found an entry, but a dead one."""
    insertions: int
    updates: int
    """Values set under a key that was there."""
    removals: int
    """Entries removed by a caller: `del`, `pop`, `popitem`, `clear`, `invalidate`, ..."""
    evictions: int
    """Entries removed to make room."""
    expirations: int
    """Dead entries removed."""
    loads: int
    load_failures: int
    loads_discarded: int
    """Loads whose result was not stored: too large, or set, removed or invalidated meanwhile."""
    entries: int
    currsize: float
    maxsize: float


class CacheValues(ValuesView[V]):
    """The values of a cache; iterating refreshes nothing."""

    _mapping: Any

    def __iter__(self) -> Iterator[V]:
        return self._mapping._values()  # type: ignore[no-any-return]

    def __contains__(self, value: object) -> bool:
        return any(v is value or v == value for v in self)


class CacheItems(ItemsView[K, V]):
    """The `(key, value)` of a cache; iterating refreshes nothing."""

    _mapping: Any

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._items()  # type: ignore[no-any-return]

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        value = self._mapping.peek(item[0], ABSENT)
        return value is not ABSENT and (value is item[1] or bool(value == item[1]))


class CacheMethods(MutableMapping[K, V]):
    """What caches can do besides the compiled methods: single flight, bulk writes, views, copies."""

    __slots__ = ()
    _flight_type: ClassVar[Any]

    def get_or_load(self, key: K, loader: Callable[..., V], *, tags: Iterable[str] = ()) -> V:
        """The value of `key`; if it is absent, what `loader` returns, stored.

        Any number of concurrent callers, in threads and in event loops, run one loader and get its result. If it
        raises, each of them gets the error and the next caller tries again. If the key is set, removed or invalidated
        while the loader runs, its result goes to those who wait, but is not stored, and later callers load anew.

        Args:
            key: the key.
            loader: called with the key if it has a parameter without default, else without arguments. No lock is held.
            tags: what `invalidate_tag` finds the entry by. A load with other tags than these is not waited for.

        Raises:
            ReentrancyError: the loader asks for the key that it loads, or waiting would block the event loop that
                loads the key.
            TypeError: the loader is a coroutine function.

        Example:
            >>> from fastcore.cache import LRUCache
            >>> cache = LRUCache(maxsize=100)
            >>> cache.get_or_load("answer", lambda: 42)
            42
        """
        value: Any = self.get(key, ABSENT)
        return value if value is not ABSENT else self._lend(load(self, with_tags(self._flight_type, tags), key, loader))  # type: ignore[arg-type,attr-defined,no-any-return]

    async def aget_or_load(self, key: K, loader: Callable[..., Awaitable[V] | V], *, tags: Iterable[str] = ()) -> V:
        """As `get_or_load`, in a coroutine; `loader` may be a coroutine function.

        The loader runs in a task of its own: cancelling a caller does not cancel it while another one waits. When the
        last one has left, it is cancelled, and nothing is stored.
        """
        value: Any = self.get(key, ABSENT)
        if value is not ABSENT:
            return value  # type: ignore[no-any-return]
        return self._lend(await aload(self, with_tags(self._flight_type, tags), key, loader))  # type: ignore[arg-type,attr-defined,no-any-return]

    def _load_many(self, keys: Iterable[K], bulk_loader: Callable[[list[K]], Mapping[K, V]]) -> dict[K, V]:
        """Behind `get_many` with a bulk loader: one call of it gets all the keys that nobody is loading yet.

        Loads in flight are waited for. Keys absent from the mapping that it returns do not exist; others in it are
        ignored. Fences and errors are as with `get_or_load`, for each key by itself.
        """
        found, missing = self._look_many(keys)
        loaded = load_many(self, self._flight_type, missing, bulk_loader)  # type: ignore[arg-type]
        found |= {key: self._lend(value) for key, value in loaded.items()}  # type: ignore[attr-defined]
        return {key: value for key, value in found.items() if value is not ABSENT}

    async def aget_many(self, keys: Iterable[K], bulk_loader: Callable[[list[K]], Any]) -> dict[K, V]:
        """As `get_many` with a bulk loader, in a coroutine; `bulk_loader` may be a coroutine function.

        It runs in a task of its own, which is cancelled when nobody waits for any of its keys any more.
        """
        found, missing = self._look_many(keys)
        loaded = await aload_many(self, self._flight_type, missing, bulk_loader)  # type: ignore[arg-type]
        found |= {key: self._lend(value) for key, value in loaded.items()}  # type: ignore[attr-defined]
        return {key: value for key, value in found.items() if value is not ABSENT}

    def _look_many(self, keys: Iterable[K]) -> tuple[dict[K, Any], list[K]]:
        """What is there under each of `keys`, or ABSENT; and the keys that are absent."""
        found: dict[K, Any] = dict.fromkeys(keys, ABSENT)
        found |= self.get_many(found)  # type: ignore[attr-defined]
        return found, [key for key, value in found.items() if value is ABSENT]

    def set_many(self, entries: Mapping[K, V] | Iterable[tuple[K, V]], /, **options: Any) -> int:
        """Store each entry as by `set`, with its options; the number of those stored."""
        pairs = entries.items() if isinstance(entries, Mapping) else entries
        return sum(self.set(key, value, **options) for key, value in pairs)  # type: ignore[attr-defined]

    def values(self) -> CacheValues[V]:
        """A view of the values; iterating over it refreshes nothing."""
        return CacheValues(self)

    def items(self) -> CacheItems[K, V]:
        """A view of `(key, value)`; iterating over it refreshes nothing."""
        return CacheItems(self)

    def stats(self, reset: bool = False) -> CacheStats:
        """All counters at one instant; with `reset` they start again from zero at that instant."""
        return CacheStats._make(self._counts(reset))  # type: ignore[attr-defined]

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        content = ", ".join(f"{key!r}: {value!r}" for key, value in dict(self.items()).items())
        size, maxsize = self.currsize, self.maxsize  # type: ignore[attr-defined]
        return f"{type(self).__name__}({{{content}}}, maxsize={maxsize!r}, currsize={size!r})"

    def __copy__(self) -> Any:
        return _rebuild(type(self), *self._state())

    def __reduce__(self) -> tuple[Any, ...]:
        state = self._state()
        if state[1].get("weak_values"):
            raise TypeError(
                f"cannot pickle a {type(self).__name__} that holds its values weakly: nobody else would hold them"
            )
        return _rebuild, (type(self), *state)

    def _state(self) -> tuple[Any, ...]:
        """What makes an equal cache: arguments, a subclass's attributes, entries with what is left of their life."""
        this: Any = self
        return (*this._config(), dict(getattr(self, "__dict__", ())), this._entries(), this._tagged())


def _rebuild(
    cls: Any,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    attributes: dict[str, Any],
    entries: list[Any],
    tagged: list[Any],
) -> Any:
    """A copy of a cache: same entries, same order, counters at zero, no loads in flight."""
    cache = cls.__new__(cls)
    initializer = next(c for c in cls.__mro__ if c.__module__.startswith(("fastcore._ext.", "fastcore._py.")))
    initializer.__init__(cache, *arguments, **named)
    if attributes:
        cache.__dict__.update(attributes)
    cache._restore(entries)
    cache._retag(tagged)
    return cache


class CacheFlight(Flight, lru.Load):
    """A load that the caches of this process know how to fence."""


class LRUCache(lru.LRUCache[K, V], CacheMethods[K, V]):
    """A mapping that holds at most `maxsize` and drops the least recently used entry to make room.

    Reading with `[]`, `get` or `get_many`, and setting, make an entry the most recently used. `in`, `peek`, iteration
    and the views do not. With `getsizeof`, sizes are what `getsizeof(value)` says instead of 1; an entry of size 0
    never makes room for another. Adding or removing a key while iterating raises RuntimeError.

    Args:
        maxsize: the sum of sizes that fits, >= 0; math.inf for no bound. 0 stores nothing.
        getsizeof: a callable that returns the size of a value, >= 0; default: every value has size 1.
        on_removal: called with key, value and cause for each entry that has gone, before the operation that removed it
            returns and in its thread, with no lock held. Causes are "explicit" (a caller removed it), "replaced",
            "size" (evicted), "expired" and "collected" (a weakly held value that is gone; it is None).
        on_eviction: as `on_removal`, for "size", "expired" and "collected" alone, while every other thread that comes
            to the cache waits. It must be short; if it calls the cache itself, that raises ReentrancyError.
        copy: "on_read": readers get copies of the values; "on_write": copies are stored; "both"; None: neither.
        copier: what makes those copies; default: `copy.deepcopy`.
        weak_values: hold values weakly; an entry goes when nobody else holds its value.

    These options, which every cache has, are given by name. What a listener raises is logged and changes nothing.

    Raises:
        ValueError: `maxsize` is negative or not a number, or an option is none of the above; later,
            `cache[key] = value` when `value` is larger than `maxsize` (`set` returns False then).

    Complexity: O(1) a call, amortised where an entry is added; about 40 bytes an entry besides key and value.
    Thread safety: every method is atomic. Comparisons of keys that run Python code may let other threads in between;
    the result is then one that some order of the calls would have given.

    Example:
        >>> cache = LRUCache(maxsize=2)
        >>> cache["a"], cache["b"] = 1, 2
        >>> cache["a"]
        1
        >>> cache["c"] = 3
        >>> sorted(cache)
        ['a', 'c']

    Source: exact LRU, with the interface of cachetools.
    """

    __slots__ = ()
    _flight_type = CacheFlight


class TTLCache(ttl.TTLCache[K, V], CacheMethods[K, V]):
    """An LRU cache whose entries also die, `ttl` after they were written.

    An entry written at time t is there as long as `timer() < t + ttl`. A dead entry is never returned, counted or
    iterated over. Dead entries are removed, before live ones are evicted, when something is set, counted or listed;
    reads leave them where they are. No thread is involved. A timer that goes back is held at the highest time seen.
    `set(key, value, ttl=...)` gives an entry a time to live of its own: 0 removes the key, None means for ever.

    Args:
        maxsize: the sum of sizes that fits, >= 0; math.inf for no bound. 0 stores nothing.
        ttl: time to live in the unit of the timer (seconds by default), >= 0; None or math.inf: for ever.
        timer: a callable that returns a number; default: the monotonic clock in seconds, read in C to the nanosecond.
        getsizeof: a callable that returns the size of a value, >= 0; default: every value has size 1.
        jitter: 0 <= jitter < 1; each entry gets a time to live drawn evenly from `ttl * (1 - jitter)` to
            `ttl * (1 + jitter)`, so that what was written together does not die together.
        touch: "write", or "access": a read by `[]` or `get` starts the time to live again.
        rng: a callable that returns floats in [0, 1), for jitter; default: `random.random`.
        options: those of every cache, see LRUCache.

    Raises:
        ValueError: an argument is outside its range; later, as LRUCache.

    Complexity: O(1) a call, amortised where an entry is added or dies; about 56 bytes an entry besides key and value.
    Thread safety: as LRUCache.

    Example:
        >>> now = 0
        >>> cache = TTLCache(maxsize=10, ttl=5, timer=lambda: now)
        >>> cache["a"] = 1
        >>> now = 4
        >>> "a" in cache
        True
        >>> now = 5
        >>> "a" in cache, len(cache)
        (False, 0)

    Source: the interface of cachetools; hierarchical timing wheels (Varghese and Lauck 1987).
    """

    __slots__ = ()
    _flight_type = CacheFlight


class S3FIFOCache(s3fifo.S3FIFOCache[K, V], CacheMethods[K, V]):
    """A cache that keeps what is used again: one-time keys leave through a small queue and displace nothing else.

    A new entry goes into a small queue, a tenth of `maxsize`. At its end the entry is evicted, unless it was used twice
    meanwhile: then it moves to the main queue. The hash of what was evicted there is remembered for a while (a ghost,
    0.9 of `maxsize` of them); a key that comes back in that time goes straight to main. At the end of main, an entry
    that was used goes round once more, up to three times; others are evicted. So a scan over many keys leaves what is
    in use alone, and a hit moves nothing: it only counts a use.

    `[]`, `get`, `get_many`, `setdefault` and setting a key that is there are uses. `in`, `peek`, iteration and the
    views are not. All else is as in TTLCache, except that without deadlines no clock is read.

    Args:
        maxsize: the sum of sizes that fits, >= 0; math.inf for no bound. 0 stores nothing.
        getsizeof: a callable that returns the size of a value, >= 0; default: every value has size 1.
        ttl: time to live in the unit of the timer (seconds by default), >= 0; None or math.inf: for ever.
        timer: a callable that returns a number; default: the monotonic clock in seconds, read in C to the nanosecond.
        jitter, touch, rng: as in TTLCache.

    Raises:
        ValueError: an argument outside its range; later, `cache[key] = value` when `value` is larger than `maxsize`.

    Complexity: O(1) a call, amortised where an entry is added, evicted or dies.
    Thread safety: as LRUCache.

    Example:
        >>> cache = S3FIFOCache(maxsize=100)
        >>> for page in range(50):
        ...     cache[page] = "often read"
        >>> reads = [cache[page] for page in range(50) for _ in range(2)]
        >>> for page in range(1000, 9000):
        ...     cache[page] = "read once, by a scan"
        >>> sum(page in cache for page in range(50))
        50

    Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; details as in libCacheSim.
    """

    __slots__ = ()
    _flight_type = CacheFlight
