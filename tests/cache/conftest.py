"""The public cache classes on top of either twin."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fastcore._loading import LoadingFlight, LoadingMethods
from fastcore._singleflight import Flight
from fastcore.cache import CacheMethods


def public(impl: Any) -> SimpleNamespace:
    """What `fastcore.cache` would define if `impl` were the implementation of this process."""
    lru: ModuleType = impl.lru
    flight = type("CacheFlight", (Flight, lru.Load), {})
    classes = {
        name: type(name, (base, CacheMethods), {"__slots__": (), "_flight_type": flight, "__module__": __name__})
        for name, base in {"LRUCache": impl.lru.LRUCache, "TTLCache": impl.ttl.TTLCache}.items()
    }
    globals().update({f"{impl!r}_{name}": cls for name, cls in classes.items()})
    return SimpleNamespace(**classes)


@pytest.fixture
def loading(impl: Any) -> Any:
    """LoadingCache as `fastcore.cache` would define it if `impl` were the implementation of this process."""
    flight = type("CacheLoad", (LoadingFlight, impl.lru.Load), {})
    return type("LoadingCache", (LoadingMethods, impl.loading.LoadingCache), {"_flight_type": flight})


@pytest.fixture
def caches(impl: Any) -> SimpleNamespace:
    return public(impl)


@pytest.fixture(params=["LRUCache", "TTLCache"])
def make(request: pytest.FixtureRequest, caches: SimpleNamespace) -> Any:
    """Makes a cache of either kind; a TTLCache's entries then live for ever long."""
    if request.param == "LRUCache":
        return caches.LRUCache
    return lambda maxsize, getsizeof=None: caches.TTLCache(maxsize, 1e6, getsizeof=getsizeof)
