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
    bases = {"LRUCache": impl.lru.LRUCache, "TTLCache": impl.ttl.TTLCache, "S3FIFOCache": impl.s3fifo.S3FIFOCache}
    classes = {
        name: type(name, (base, CacheMethods), {"__slots__": (), "_flight_type": flight, "__module__": __name__})
        for name, base in bases.items()
    }
    globals().update({f"{impl!r}_{name}": cls for name, cls in classes.items()})
    return SimpleNamespace(**classes)


@pytest.fixture(scope="session")
def loading(impl: Any) -> Any:
    """LoadingCache as `fastcore.cache` would define it if `impl` were the implementation of this process."""
    flight = type("CacheLoad", (LoadingFlight, impl.lru.Load), {})
    return type("LoadingCache", (LoadingMethods, impl.loading.LoadingCache), {"_flight_type": flight})


@pytest.fixture
def caches(impl: Any) -> SimpleNamespace:
    return public(impl)


def maker(kind: str, caches: SimpleNamespace) -> Any:
    """Makes a cache of this kind; a TTLCache's entries then live for ever long."""
    if kind != "TTLCache":
        return getattr(caches, kind)
    return lambda maxsize, getsizeof=None: caches.TTLCache(maxsize, 1e6, getsizeof=getsizeof)


@pytest.fixture(params=["LRUCache", "TTLCache", "S3FIFOCache"])
def make(request: pytest.FixtureRequest, caches: SimpleNamespace) -> Any:
    """Makes a cache of each kind."""
    return maker(request.param, caches)


@pytest.fixture(params=["LRUCache", "TTLCache"])
def recent(request: pytest.FixtureRequest, caches: SimpleNamespace) -> Any:
    """Makes a cache of each kind that orders its entries by use."""
    return maker(request.param, caches)
