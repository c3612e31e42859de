"""`LoadingCache`: what a caller can ask of it. How values get into it stands in `_fetching.py`.

The compiled half decides what a read does and keeps the times; see `fastcore._py.loading`.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from copy import deepcopy
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypeVar, Unpack

from fastcore._bulk import aload_many, load_many
from fastcore._fetching import Fetching, LoadingFlight, together
from fastcore._impl import loading, lru
from fastcore._options import LoadingOptions
from fastcore._singleflight import ABSENT, listed
from fastcore.errors import NotFound

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class Entry(NamedTuple):
    """What a loading cache answers, and how good it is. Times are in the unit of its timer."""

    value: Any
    stale: bool
    """Past its time to live, and returned because loading it again failed."""
    age: float
    """How long ago it was loaded or set."""
    expires_in: float
    """How long it stays fresh; negative: how long it has been stale; inf: it does not expire."""
    cost: float
    """How long its load took; 0 if it was set."""


class LoadingStats(NamedTuple):
    """Counters of a loading cache since it was made or reset, and its size now.

    Reads are `hits + negative_hits + stale_hits + misses`. `loads` that have ended either failed (`load_failures`),
    were discarded, or were stored.
    """

    hits: int
    """Reads that returned a fresh value at once, those that also started a reload among them."""
    negative_hits: int
    """Reads answered by what is remembered of a thing that does not exist."""
    stale_hits: int
    """Reads answered by an old value without calling the loader, soon after it had failed."""
    misses: int
    """Reads that waited for a load, or failed for want of a loader."""
    refreshes: int
    """Reloads that reads of a fresh value began."""
    early_refreshes: int
    """Those of them that were drawn for, by `beta`."""
    refresh_failures: int
    stale_answers: int
    """Loads that failed and were answered by an old value."""
    loads: int
    load_failures: int
    """Loads that raised or were cancelled; NotFound is an answer, not a failure."""
    loads_discarded: int
    """Loads whose result was not stored: too large, or set, removed or invalidated meanwhile."""
    insertions: int
    updates: int
    removals: int
    evictions: int
    expirations: int
    entries: int
    """Keys of which something is remembered, be it that there is nothing."""
    currsize: float
    maxsize: float


class LoadingMethods(Fetching, Generic[K, V]):
    """The half of LoadingCache that is written in Python; the other is a twin of `fastcore._py.loading`."""

    def __init__(
        self,
        maxsize: float,
        loader: Callable[..., Any] | None = None,
        *,
        bulk_loader: Callable[[list[K]], Any] | None = None,
        ttl: float | None = None,
        negative_ttl: float = 0,
        cache_none: bool = False,
        refresh_after: float | None = None,
        max_stale: float = 0,
        throttle: float = 30.0,
        beta: float = 0.0,
        jitter: float = 0.0,
        timer: Callable[[], Any] | None = None,
        rng: Callable[[], float] | None = None,
        getsizeof: Callable[[V], float] | None = None,
        policy: Literal["lru", "s3fifo"] = "lru",
        tags: Callable[[K, V], Iterable[str]] | None = None,
        executor: Executor | None = None,
        refresh_threads: int = 4,
        **options: Unpack[LoadingOptions],
    ) -> None:
        self._employ(loader, bulk_loader, cache_none, executor, refresh_threads)
        initialize: Any = super().__init__  # the other half's, which a type checker does not see from here
        initialize(
            maxsize,
            ttl,
            negative_ttl=negative_ttl,
            refresh_after=refresh_after,
            max_stale=max_stale,
            throttle=throttle,
            beta=beta,
            jitter=jitter,
            timer=timer,
            rng=rng,
            policy=policy,
            getsizeof=None if getsizeof is None else lambda e: 1 if e.negative else getsizeof(e.value),
            tagger=callable_or_none("tags", tags),
            **for_envelopes(type(self).__name__, dict(options)),
        )

    # -- reading

    async def aget(self, key: K, default: Any = ABSENT) -> Any:
        """As `[]`, or, with a `default`, as `get`, in a coroutine; the loader may be a coroutine function.

        A loader that is a plain function runs in a thread. Cancellation is as with `aget_or_load` of the other caches.
        """
        envelope = self._this._look(key)
        if envelope is None:
            envelope = await self._aload(key)
        if envelope.found:
            return self._this._lend(envelope)
        if default is ABSENT:
            raise NotFound(key)
        return default

    def get_or_load(self, key: K, loader: Callable[..., V] | None, *, tags: Iterable[str] = ()) -> V:
        """As `[]`, with a loader and tags of this call's own, for a reload in the background too.

        A load with other tags than these is not waited for.
        """
        tags = listed(tags)
        envelope = self._this._look(key, loader, tags) or self._load(key, loader, tags)
        return self._value(key, envelope)  # type: ignore[no-any-return]

    async def aget_or_load(
        self, key: K, loader: Callable[..., Awaitable[V] | V] | None, *, tags: Iterable[str] = ()
    ) -> V:
        """As `get_or_load`, in a coroutine."""
        tags = listed(tags)
        envelope = self._this._look(key, loader, tags) or await self._aload(key, loader, tags)
        return self._value(key, envelope)  # type: ignore[no-any-return]

    def get_entry(self, key: K) -> Entry:
        """As `[]`, with what is known of the value: whether it is stale, its age, how long it took to load."""
        return self._entry(key, self._this._look(key) or self._load(key))

    async def aget_entry(self, key: K) -> Entry:
        """As `get_entry`, in a coroutine."""
        return self._entry(key, self._this._look(key) or await self._aload(key))

    def get_many(self, keys: Iterable[K], bulk_loader: Callable[[list[K]], Mapping[K, V]] | None = None) -> dict[K, V]:
        """A dict of those `keys` that exist, in their order; one call of the bulk loader gets all that must be loaded.

        Keys that are being loaded already are waited for. Those absent from the mapping that the bulk loader returns do
        not exist; others in it are ignored. Without a bulk loader, each is loaded by itself.
        """
        answers, missing = self._look_many(keys)
        bulk = bulk_loader or self._bulk_loader
        if bulk is not None:
            loaded = load_many(self._this, self._flight_type, missing, lambda keys: self._fetch_many(keys, bulk))
        else:
            loaded = {key: self._load(key) for key in missing}
        return self._found(answers | loaded)

    async def aget_many(self, keys: Iterable[K], bulk_loader: Callable[[list[K]], Any] | None = None) -> dict[K, V]:
        """As `get_many`, in a coroutine; without a bulk loader, the missing are loaded side by side."""
        answers, missing = self._look_many(keys)
        bulk = bulk_loader or self._bulk_loader
        if bulk is not None:
            loaded = await aload_many(
                self._this, self._flight_type, missing, lambda keys: self._afetch_many(keys, bulk)
            )
        else:
            loaded = dict(zip(missing, await together([self._aload(key) for key in missing]), strict=True))
        return self._found(answers | loaded)

    def peek(self, key: K, default: D | None = None, /) -> V | D | None:
        """The value that a read would return now without waiting, or `default`; loads and counts nothing."""
        envelope, _ = self._this._peek(key)
        return default if envelope is None or not envelope.found else self._this._lend(envelope)

    def __contains__(self, key: object) -> bool:
        envelope, _ = self._this._peek(key)
        return envelope is not None and bool(envelope.found)

    def __iter__(self) -> Iterator[K]:
        """The keys whose values a read would return without waiting."""
        return (key for key in self._this._inside() if key in self)

    def __len__(self) -> int:
        """The number of keys of which something is remembered, be it old, or that there is nothing."""
        return len(self._this._inside())

    # -- changing

    def set_many(self, entries: Mapping[K, V] | Iterable[tuple[K, V]], /, **options: Any) -> int:
        """Store each entry as by `set`, with its options; the number of those stored."""
        pairs = entries.items() if isinstance(entries, Mapping) else entries
        return sum(self._this.set(key, value, **options) for key, value in pairs)

    def invalidate(self, key: K, /) -> bool:
        """Forget `key`; True if something was remembered. Loads of it under way will not be stored."""
        return bool(self._this._inside().invalidate(key))

    def invalidate_prefix(self, prefix: str | bytes, /) -> int:
        """Forget the str (or bytes) keys that begin with `prefix` and fence their loads; the number forgotten. O(n)."""
        return int(self._this._inside().invalidate_prefix(prefix))

    def invalidate_tag(self, tag: str, /) -> int:
        """Forget what has `tag`; the number forgotten. Loads that may be of such are not stored. O(forgotten)."""
        return int(self._this._inside().invalidate_tag(tag))

    def invalidate_all(self) -> None:
        """Forget every key; no load that is under way will be stored."""
        self._this._inside().invalidate_all()

    clear = invalidate_all

    def shadow(self, rate: float | None = None) -> Any:
        """Watch what LRU and S3-FIFO would hit in place of this cache, at half, the same and double size: a Shadow."""
        return self._this._inside().shadow(rate)

    def resize(self, maxsize: float, /) -> None:
        """Change `maxsize`; what no longer fits is evicted at once."""
        self._this._inside().resize(maxsize)

    @property
    def maxsize(self) -> float:
        """The sum of sizes that fits."""
        return self._this._inside().maxsize  # type: ignore[no-any-return]

    @property
    def currsize(self) -> float:
        """The sum of sizes of what the cache holds."""
        return self._this._inside().currsize  # type: ignore[no-any-return]

    def stats(self, reset: bool = False) -> LoadingStats:
        """All counters; with `reset` they start again from zero."""
        inner = self._this._inside()._counts(reset)
        loads, stores = inner[8:11], inner[3:8]
        return LoadingStats(*self._this._counts(reset), *loads, *stores, *inner[-3:])

    # -- inner parts

    def _value(self, key: Any, envelope: Any) -> Any:
        if not envelope.found:
            raise NotFound(key)
        return self._this._lend(envelope)

    def _entry(self, key: Any, envelope: Any) -> Entry:
        now = self._this._now()
        value = self._value(key, envelope)
        left = envelope.expires - now
        return Entry(
            value, left <= 0 < envelope.expires - envelope.written, now - envelope.written, left, envelope.cost
        )

    def _look_many(self, keys: Iterable[Any]) -> tuple[dict[Any, Any], list[Any]]:
        """An envelope or None for each of `keys`, in their order; and those that have to be loaded."""
        answers = {key: self._this._look(key) for key in dict.fromkeys(keys)}
        return answers, [key for key, envelope in answers.items() if envelope is None]

    def _found(self, answers: dict[Any, Any]) -> dict[Any, Any]:
        """What readers get of those envelopes that hold a value."""
        return {key: self._this._lend(e) for key, e in answers.items() if e is not None and e.found}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} keys, maxsize={self.maxsize!r}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot copy or pickle {type(self).__name__!r}: it has loads, threads and a timer of its own")


def callable_or_none(name: str, given: Any) -> Any:
    """`given`, checked."""
    if given is not None and not callable(given):
        raise TypeError(f"{name} must be callable, got {given!r}")
    return given


def for_envelopes(cache: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a cache of values, as the half that keeps envelopes understands them."""
    way, copier = options.pop("copy", None), options.pop("copier", None)
    if way is not None and way not in ("on_read", "on_write", "both"):
        raise ValueError(f"copy must be 'on_read', 'on_write', 'both' or None, got {way!r}")
    copier = callable_or_none("copier", copier) or deepcopy
    known = {
        "copy_in": copier if way in ("on_write", "both") else None,
        "copy_out": copier if way in ("on_read", "both") else None,
    }
    for name in ("on_removal", "on_eviction"):
        listener = callable_or_none(name, options.pop(name, None))
        known[name] = None if listener is None else partial(tell_value, listener)
    if options:
        raise TypeError(f"{cache}() got an unexpected keyword argument {next(iter(options))!r}")
    return known


def tell_value(listener: Callable[..., object], key: Any, envelope: Any, cause: str) -> None:
    """Tell `listener` of a value that has gone; that there is nothing is none."""
    if envelope.found:
        listener(key, envelope.value, cause)


class CacheLoad(LoadingFlight, lru.Load):
    """A load that the caches of this process know how to fence."""


class LoadingCache(LoadingMethods[K, V], loading.LoadingCache[K, V]):
    """A cache that loads what it does not have, once for all who ask, and knows what to do while a value ages.

    A read of a fresh value returns it at once. Past `refresh_after`, or drawn for by `beta` as expiry comes near, it
    also starts one reload in the background. Past `ttl` the reader waits for a load; if that fails, the old value
    stands in for `max_stale` more, and nobody calls the loader again for `throttle`. That there is no such thing is
    remembered for `negative_ttl`. Setting or invalidating a key ends all of this: a load under way is not stored, an
    old value not served. `cache[key]` raises NotFound, a KeyError, for what does not exist; `get` returns a default;
    `aget` is for coroutines. Times are in the unit of the timer, seconds by default.

    Args:
        maxsize: the sum of sizes that fits, >= 0; math.inf for no bound.
        loader: gets the key, unless it has no parameter without default; may be a coroutine function for `aget`. It
            raises NotFound for what does not exist. None: only what is set, or loaded by `get_or_load`, is there.
        bulk_loader: gets a list of keys, returns a mapping; what is absent from it does not exist.
        ttl: how long a value is fresh, >= 0; None or math.inf: for ever.
        negative_ttl: how long NotFound is remembered, >= 0; 0: not at all.
        cache_none: remember None for `negative_ttl`, too; otherwise a loader's None is returned but not kept.
        refresh_after: age from which a read starts a reload, > 0 and < ttl; None: never.
        max_stale: how long past `ttl` an old value may stand in for a load that failed, >= 0.
        throttle: pause after a load that failed while there is a value, >= 0.
        beta: eagerness of early reloads, >= 0: probability exp(-left / (beta * cost)); 1 is usual, 0 disables.
        jitter: 0 <= jitter < 1; spreads `ttl` and `refresh_after` evenly over `1 - jitter` to `1 + jitter` of them.
        timer: a callable that returns a number; it is kept as a float, so integers are exact below 2 ** 53.
        rng: a callable that returns floats in [0, 1), for `jitter` and `beta`; default: `random.random`.
        getsizeof: a callable that returns the size of a value, >= 0; negative entries have size 1.
        policy: which entry goes to make room: "lru", or "s3fifo", which one-time keys do not upset.
        tags: a callable that gets key and value of what was loaded, or set without tags of its own, and returns the
            tags that `invalidate_tag` finds it by. What it raises is as if the loader had raised it.
        executor: runs reloads that threads start; default: up to `refresh_threads` threads of its own, until `close`.
        refresh_threads: >= 1.
        options: `on_removal`, `on_eviction`, `copy` and `copier`, as in LRUCache. A reload replaces what it loads anew;
            listeners hear of values alone, not that what was remembered as absent has been forgotten.

    Raises:
        ValueError: an argument is outside its range.
        TypeError: a loader, a listener, `tags` or `copier` is not callable, or an option is none of the above.

    Complexity: O(1) a read, as TTLCache; about 80 bytes an entry more than a TTLCache takes.
    Thread safety: every method is atomic. Loaders run without a lock, in the thread or event loop of a caller; a plain
    function that a coroutine asks for runs in a thread.

    Example:
        >>> from fastcore import LoadingCache
        >>> with LoadingCache(1000, str.upper, ttl=60, refresh_after=45, max_stale=600) as cache:
        ...     cache["a"], cache.get_entry("a").stale
        ('A', False)

    Source: refresh-after-write as in Caffeine; stale-if-error and its throttle as in FusionCache; XFetch (Vattani,
    Chierichetti and Lowenstein, "Optimal probabilistic cache stampede prevention", VLDB 2015).
    """

    _flight_type = CacheLoad
