"""The decorators of `fastcore.cache`: the interface of cachetools, with single flight, for functions and coroutines."""

import functools
import inspect
import sys
import threading
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from types import MethodType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from fastcore._impl import cached as compiled
from fastcore._singleflight import ABSENT, Flight, Loads, aload, load


class CacheInfo(NamedTuple):
    """What `cache_info()` of a decorated function returns."""

    hits: int
    misses: int
    maxsize: float | None
    currsize: float


class KeywordMark:
    """Separates positional from keyword arguments in a key."""


def hashkey(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """The default key of a call: its arguments; they must be hashable."""
    return (*args, KeywordMark, *sorted(kwargs.items())) if kwargs else args


def methodkey(self: Any, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """The default key of a method call: its arguments without the instance."""
    return hashkey(*args, **kwargs)


def typedkey(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """As `hashkey`, and arguments of different types are different."""
    types = (*map(type, args), *(type(value) for _, value in sorted(kwargs.items())))
    return (*hashkey(*args, **kwargs), KeywordMark, *types)


def typedmethodkey(self: Any, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """As `methodkey`, and arguments of different types are different."""
    return typedkey(*args, **kwargs)


class MappingFlight(Flight):
    """A load whose result goes into a mapping that is not a cache of ours."""

    fenced = False


class MappingLoads:
    """Single flight in front of any mapping. Fences need a cache that takes part, so there are none here."""

    def __init__(self, mapping: MutableMapping[Any, Any]) -> None:
        self.mapping = mapping
        self._lock = threading.RLock()
        self._flights: dict[Any, MappingFlight] = {}

    def _begin_load(self, key: Any, load: MappingFlight, /) -> tuple[bool, Any]:
        with self._lock:
            current = self._flights.setdefault(key, load)
            if current is not load:
                return False, current
            try:
                value = self.mapping.get(key, ABSENT)
            except BaseException:
                self._flights.pop(key, None)
                raise
            if value is ABSENT:
                return False, load
            del self._flights[key]
            return True, value

    def _end_load(self, key: Any, load: MappingFlight, value: Any, /) -> bool:
        with self._lock:
            self._flights.pop(key, None)
            try:
                self.mapping[key] = value
            except ValueError:  # too large for the cache
                return False
            return True

    def _fail_load(self, key: Any, load: MappingFlight, /) -> None:
        with self._lock:
            self._flights.pop(key, None)


def loads_of(cache: Any) -> tuple[Loads, type[Flight]]:
    """Who does single flight for `cache`: the cache itself, unless a subclass wants to see every store."""
    flight_type = getattr(cache, "_flight_type", None)
    if flight_type is not None:
        setter = next(c for c in type(cache).__mro__ if "__setitem__" in vars(c))
        if setter.__module__.startswith("fastcore."):
            return cache, flight_type
    return MappingLoads(cache), MappingFlight


def lent(cache: Any, value: Any) -> Any:
    """What a caller gets for a result: a copy, if `cache` hands out copies."""
    lend = getattr(cache, "_lend", None)
    return value if lend is None else lend(value)


class Memo:
    """A function, or a bound method, whose results are cached."""

    def __init__(
        self,
        function: Callable[..., Any],
        cache: Callable[[], Any],
        key: Callable[..., Any],
        lock: Callable[[], Any],
        condition: Callable[[], Any],
        info: bool,
    ) -> None:
        self.function = function
        self.cache = cache
        self.key = key
        self.lock = lock
        self.condition = condition
        self.counts = [0, 0] if info else None  # hits, misses
        self._counting = threading.Lock()
        self._loads: tuple[Any, Loads, type[Flight]] | None = None

    def guard(self) -> Any:
        """What the caller wants held while the cache is touched."""
        lock = self.lock()
        return self.condition() if lock is None else lock

    def look(self, cache: Any, key: Any, guard: Any) -> Any:
        """What is cached under `key`, or ABSENT."""
        try:
            if guard is None:
                value = cache[key]
            else:
                with guard:
                    value = cache[key]
        except KeyError:
            value = ABSENT
        if self.counts is not None:
            with self._counting:
                self.counts[value is ABSENT] += 1
        return value

    def loads(self, cache: Any) -> tuple[Loads, type[Flight]]:
        """Single flight for `cache`; the same for as long as the cache is the same object."""
        with self._counting:
            if self._loads is None or self._loads[0] is not cache:
                self._loads = (cache, *loads_of(cache))
            return self._loads[1:]

    def load(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute and store what was not found."""
        cache = self.cache()
        return lent(cache, load(*self.loads(cache), key, lambda: self.function(*args, **kwargs), self.guard()))

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """The cached result for these arguments, or a new one."""
        key = self.key(*args, **kwargs)
        value = self.look(self.cache(), key, self.guard())
        return self.load(key, args, kwargs) if value is ABSENT else value

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        """As `call`, for a coroutine function."""
        cache, guard = self.cache(), self.guard()
        key = self.key(*args, **kwargs)
        value = self.look(cache, key, guard)
        if value is ABSENT:
            value = lent(cache, await aload(*self.loads(cache), key, lambda: self.function(*args, **kwargs), guard))
        return value

    def clear(self) -> None:
        """Empty the cache and the counts."""
        with self.guard() or nullcontext():
            self.cache().clear()
            if self.counts is not None:
                self.counts[:] = 0, 0

    def info(self) -> CacheInfo:
        """Hits and misses of this function, size of its cache."""
        if self.counts is None:
            raise TypeError("cache_info() needs info=True")
        with self.guard() or nullcontext():
            cache = self.cache()
            hits, misses = self.counts
            return CacheInfo(hits, misses, getattr(cache, "maxsize", None), getattr(cache, "currsize", len(cache)))


def callable_for(memo: Memo, fixed: Any = None) -> Callable[..., Any]:
    """What stands for the function; `fixed` is its cache if that needs no lookup, lock or count."""
    if inspect.iscoroutinefunction(memo.function):
        return memo.acall
    if fixed is None:
        return memo.call
    return compiled.caller_for(fixed, memo.key, memo.key is hashkey, memo.load)


P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class CachedFunction(Protocol[P, R]):
    """A function decorated with `cached` or a method decorated with `cachedmethod`."""

    __wrapped__: Callable[..., Any]
    cache: Any
    cache_key: Callable[..., Any]
    cache_lock: Any
    cache_condition: Any

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result for these arguments, or a new one."""
        ...

    def cache_clear(self) -> None:
        """Empty the cache and the counts."""
        ...

    def cache_info(self) -> CacheInfo:
        """Hits, misses and sizes; needs `info=True`."""
        ...


def cached(
    cache: MutableMapping[Any, Any],
    key: Callable[..., Any] = hashkey,
    lock: AbstractContextManager[Any] | None = None,
    condition: AbstractContextManager[Any] | None = None,
    info: bool = False,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Cache the results of a function or a coroutine function in `cache`.

    Calls with equal keys that arrive while one is computing wait for it and share its result; an error goes to all of
    them and is not stored. That holds for any mapping; with a cache of fastcore, removing or setting a key also keeps
    a computation that is under way from being stored.

    Args:
        cache: the mapping for results.
        key: makes the key from the arguments; `hashkey`, `typedkey` or your own.
        lock: held while the cache is touched, not while the function runs. Caches of fastcore need none.
        condition: accepted in place of `lock`, as in cachetools; nobody waits on it, calls are single flight anyway.
        info: count hits and misses for `cache_info()`.

    The result has the attributes `cache`, `cache_key`, `cache_lock`, `cache_condition` and `__wrapped__`, and the
    methods `cache_clear()` and, with `info`, `cache_info()`.

    Raises:
        TypeError: `cache` is None.

    Example:
        >>> from fastcore.cache import LRUCache, cached
        >>> @cached(LRUCache(maxsize=100))
        ... def square(x):
        ...     print("computing")
        ...     return x * x
        >>> square(3), square(3)
        computing
        (9, 9)
    """
    if cache is None:
        raise TypeError("cache must not be None")

    def decorator(function: Callable[P, R]) -> CachedFunction[P, R]:
        memo = Memo(function, lambda: cache, key, lambda: lock, lambda: condition, info)
        inner = callable_for(memo, cache if lock is None and condition is None and not info else None)
        if isinstance(inner, MethodType):
            inner = as_function(inner)
        wrapper: Any = functools.update_wrapper(inner, function)
        wrapper.cache, wrapper.cache_key, wrapper.cache_lock, wrapper.cache_condition = cache, key, lock, condition
        wrapper.cache_clear = memo.clear
        if info:
            wrapper.cache_info = memo.info
        return wrapper  # type: ignore[no-any-return]

    return decorator


def as_function(method: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function for a bound method, so that it binds again when it stands in a class."""
    if inspect.iscoroutinefunction(method):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return coroutine

    def function(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return function


class BoundCache:
    """A cached method of one object. Pickled and copied as a reference to the method."""

    def __init__(self, descriptor: "CachedMethod", instance: Any) -> None:
        method, cache, key, lock, condition, info = descriptor.arguments
        function = MethodType(method, instance)
        functools.update_wrapper(self, method)
        self.descriptor = descriptor
        self.instance = instance
        self.cache_key = functools.partial(key, instance)
        self._cache = functools.partial(cache, instance)
        self._lock = functools.partial(lock, instance) if lock else lambda: None
        self._condition = functools.partial(condition, instance) if condition else lambda: None
        memo = Memo(function, self._cache, self.cache_key, self._lock, self._condition, info)
        self._call = callable_for(memo)
        self.cache_clear = memo.clear
        self.cache_info = memo.info
        if sys.version_info >= (3, 12) and inspect.iscoroutinefunction(method):
            inspect.markcoroutinefunction(self)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """The cached result for these arguments, or a new one."""
        return self._call(*args, **kwargs)

    @property
    def cache(self) -> Any:
        """The cache of this object."""
        return self._cache()

    @property
    def cache_lock(self) -> Any:
        """The lock of this object, or None."""
        return self._lock()

    @property
    def cache_condition(self) -> Any:
        """The condition of this object, or None."""
        return self._condition()

    def __reduce__(self) -> tuple[Any, ...]:
        return bound_cache, (self.descriptor.owner, self.descriptor.name, self.instance)


def bound_cache(owner: type, name: str, instance: Any) -> Any:
    """The cached method `name` that class `owner` defines, bound to `instance`."""
    return vars(owner)[name].__get__(instance, type(instance))


class CachedMethod:
    """The descriptor behind `cachedmethod`: one BoundCache an object, kept in the object's `__dict__`."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.owner: type | None = None
        self.name = ""
        functools.update_wrapper(self, arguments[0])

    def __set_name__(self, owner: type, name: str) -> None:
        if self.owner is None:
            self.owner, self.name = owner, name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            attributes = instance.__dict__
        except AttributeError:
            raise TypeError(
                f"cachedmethod {self.name!r} needs instances with a __dict__, {type(instance).__name__!r} has none"
            ) from None
        bound = attributes.get(BOUND)
        if bound is None:
            bound = attributes.setdefault(BOUND, {})
        one = bound.get(self)
        # A shallow copy of an object brings the dict of the original along.
        if one is not None and one.instance is instance:
            return one
        if one is not None:
            bound = attributes[BOUND] = {}
        return bound.setdefault(self, BoundCache(self, instance))

    def __call__(self, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method through its class."""
        return self.__get__(instance, type(instance))(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.owner, self.name)


BOUND = "__fastcore_cachedmethods"


def cachedmethod(
    cache: Callable[[Any], MutableMapping[Any, Any]],
    key: Callable[..., Any] = methodkey,
    lock: Callable[[Any], AbstractContextManager[Any]] | None = None,
    condition: Callable[[Any], AbstractContextManager[Any]] | None = None,
    info: bool = False,
) -> Callable[[Callable[Concatenate[Any, P], R]], CachedFunction[P, R]]:
    """Cache the results of a method, synchronous or not, in a cache that belongs to the object.

    As `cached`, but `cache`, `lock` and `condition` are callables that get the object: `attrgetter("cache")`. Objects
    need a `__dict__`. Counts and waiting calls are kept for each object apart.

    Raises:
        TypeError: `cache` is not callable, or, at the first call, the object has no `__dict__`.

    Example:
        >>> from operator import attrgetter
        >>> from fastcore.cache import LRUCache, cachedmethod
        >>> class Squares:
        ...     def __init__(self):
        ...         self.results = LRUCache(maxsize=10)
        ...     @cachedmethod(attrgetter("results"))
        ...     def of(self, x):
        ...         return x * x
        >>> squares = Squares()
        >>> squares.of(3), dict(squares.results)
        (9, {(3,): 9})
    """
    if not callable(cache):
        raise TypeError("cache must be callable")

    def decorator(method: Callable[Concatenate[Any, P], R]) -> CachedFunction[P, R]:
        return CachedMethod(method, cache, key, lock, condition, info)  # type: ignore[return-value]

    return decorator
