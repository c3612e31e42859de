"""The C API: a module that is compiled against the headers of the installed package calls the primitives in C."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fastcore
from fastcore import (
    CircuitBreaker,
    CircuitOpenError,
    KeyedTokenBucket,
    LRUCache,
    ObjectPool,
    S3FIFOCache,
    TokenBucket,
    TTLCache,
    WorkQueue,
)
from fastcore.errors import ShutDown
from fastcore.pool import BufferPool
from fastcore.testing.clock import VirtualClock

PACKAGE = Path(fastcore.__file__).parent


PAGE = Path(__file__).parent.parent / "docs" / "cimport.md"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the guest module and of the documented one, compiled where nothing but their sources is."""
    folder = tmp_path_factory.mktemp("cimport")
    sources = ["guest.pyx"]
    shutil.copy(Path(__file__).parent / "cimport" / "guest.pyx", folder)
    if PAGE.exists():  # it is not part of the installed package
        sources.append("serve.pyx")
        example = PAGE.read_text(encoding="utf-8").split("```cython\n")[1].split("```")[0]
        (folder / "serve.pyx").write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "Cython.Build.Cythonize", "--inplace", "--quiet", *sources],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def load(folder: Path, name: str) -> ModuleType:
    binary = next(path for path in folder.glob(f"{name}.*") if path.suffix in (".so", ".pyd"))
    spec = importlib.util.spec_from_file_location(name, binary)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def guest(built: Path) -> ModuleType:
    return load(built, "guest")


@pytest.mark.skipif(not PAGE.exists(), reason="docs/ is not part of the installed package")
def test_the_documented_example(built: Path, clock: VirtualClock) -> None:
    serve: Any = load(built, "serve").serve
    cache, bucket = LRUCache[str, str](10), TokenBucket(1, 1, clock=clock)
    assert [serve(cache, bucket, key, str.upper) for key in "aab"] == ["A", "A", None]
    with pytest.raises(TypeError):
        serve(None, bucket, "a", str.upper)


@pytest.mark.parametrize("make", [LRUCache, S3FIFOCache, lambda size: TTLCache(size, ttl=60)])
def test_caches(guest: Any, make: Any) -> None:
    cache = make(2)
    assert guest.get(cache, "a", 7) == 7
    assert guest.put(cache, "a", 1) is True
    assert guest.get(cache, "a", 7) == 1
    assert (cache.stats().hits, cache.stats().misses) == (1, 1)
    guest.put(cache, "b", 2)
    guest.put(cache, "c", 3)
    assert len(cache) == 2
    with pytest.raises(TypeError, match="unhashable"):
        guest.get(cache, [], 0)


def test_caches_honour_deadlines_sizes_and_overrides(guest: Any) -> None:
    now = [0.0]
    cache: Any = TTLCache(10, ttl=5, timer=lambda: now[0], getsizeof=len)
    assert guest.put(cache, "a", "x" * 11) is False
    assert guest.put(cache, "a", "x" * 10) is True
    now[0] = 5
    assert guest.get(cache, "a", None) is None

    class Upper(LRUCache[str, str]):
        def __getitem__(self, key: str) -> str:
            return super().__getitem__(key).upper()

    upper = Upper(2)
    guest.put(upper, "a", "x")
    assert guest.get(upper, "a", "") == "X"
    assert guest.get(upper, "b", "default") == "default"


def test_rate_limits(guest: Any, clock: VirtualClock) -> None:
    bucket = TokenBucket(1, 2, clock=clock)
    assert [guest.allow(bucket, 1), guest.allow(bucket, 1.5), guest.allow(bucket, 1), guest.allow(bucket, 1)] == [
        True,
        False,
        True,
        False,
    ]
    clock.advance(1)
    assert guest.allow(bucket, 1)
    with pytest.raises(ValueError, match="-1"):
        guest.allow(bucket, -1)
    keyed = KeyedTokenBucket(1, 1, max_keys=10, clock=clock)
    assert [guest.allow_key(keyed, key, 1) for key in "aab"] == [True, False, True]
    with pytest.raises(TypeError, match="unhashable"):
        guest.allow_key(keyed, [], 1)


def test_breaker(guest: Any, clock: VirtualClock) -> None:
    breaker = CircuitBreaker("guest", failure_threshold=2, open_for=10, clock=clock)
    for outcome in ("failure", "success", "failure", "ignore", "failure"):
        assert guest.guard(breaker, outcome)
    assert breaker.stats().state == "open"
    assert not guest.guard(breaker, "success")
    with pytest.raises(CircuitOpenError):
        guest.call(breaker, int)
    clock.advance(10)
    assert guest.call(breaker, int) == 0
    assert breaker.stats().state == "closed"
    stats = breaker.stats()
    assert (stats.successes, stats.failures, stats.rejected) == (2, 3, 2)


def test_breaker_judges_what_was_raised(guest: Any) -> None:
    breaker = CircuitBreaker("guest", failure_threshold=2, exclude=(KeyError,))

    def fail(error: Exception) -> Any:
        def function() -> None:
            raise error

        return function

    for error in (ValueError("first"), KeyError("excluded")):
        with pytest.raises(type(error)):
            guest.call(breaker, fail(error))
    assert breaker.stats().excluded == 1
    with pytest.raises(ValueError, match="second"):
        guest.call(breaker, fail(ValueError("second")))
    with pytest.raises(CircuitOpenError) as refused:
        guest.call(breaker, int)
    assert isinstance(refused.value.__cause__, ValueError)


@pytest.mark.parametrize("make", [lambda: ObjectPool(list), BufferPool])
def test_pools(guest: Any, make: Any) -> None:
    pool = make()
    first = guest.acquire(pool)
    guest.release(pool, first)
    assert guest.acquire(pool) is first
    guest.release(pool, None)
    assert (pool.stats().created, pool.stats().reused) == (1, 1)


def test_queue(guest: Any, clock: VirtualClock) -> None:
    queue = WorkQueue[str](clock=clock, fair_by=lambda key: key[0])
    assert guest.take(queue, None) is None
    guest.add(queue, "a", 0)
    guest.add(queue, "a", 5)
    guest.add(queue, "b", 1)
    assert guest.depth(queue) == 2
    assert guest.take(queue, None) == "a"
    guest.add_after(queue, "a", 3)
    guest.done(queue, "a")
    clock.advance(3)
    assert queue.stats().depth_by_priority == {5: 1, 1: 1}
    assert [guest.take(queue, None) for _ in range(3)] == ["a", "b", None]
    with pytest.raises(ValueError, match="not being processed"):
        guest.done(queue, "c")
    with pytest.raises(ValueError, match="nan"):
        guest.add_after(queue, "a", float("nan"))
    queue.shut_down()
    with pytest.raises(ShutDown):
        guest.take(queue, None)


def test_nothing_and_other_things_are_refused(guest: Any) -> None:
    for function, arguments in (
        (guest.get, ("a", 0)),
        (guest.put, ("a", 0)),
        (guest.allow, (1,)),
        (guest.allow_key, ("a", 1)),
        (guest.guard, ("success",)),
        (guest.call, (int,)),
        (guest.acquire, ()),
        (guest.release, (1,)),
        (guest.add, ("a", 0)),
        (guest.add_after, ("a", 0)),
        (guest.take, (0,)),
        (guest.done, ("a",)),
        (guest.depth, ()),
    ):
        with pytest.raises(TypeError, match="got None"):
            function(None, *arguments)
        with pytest.raises(TypeError, match=r"(?i)cannot convert|expected"):
            function(object(), *arguments)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("pass", ""),
        ("del api['fastcore_api_1']", "fastcore_api_1"),
        ("del api['queue_len']", "queue_len"),
        ("api['queue_len'] = api['queue_done']", "queue_len has wrong signature"),
    ],
)
def test_another_version_is_refused_at_import(built: Path, change: str, error: str) -> None:
    """What an installed package that changed its C API would do to a module that was built before."""
    code = f"import fastcore._ext.capi as capi; api = capi.__pyx_capi__; {change}; import guest"
    path = os.pathsep.join([str(PACKAGE.parent), str(built)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode != 0) == bool(error), done.stderr
    assert error in done.stderr


def test_only_the_public_headers_are_shipped() -> None:
    """In the tree there are more; what a wheel holds, .ci/wheel compares with this list."""
    public = {"breaker.pxd", "cache.pxd", "pool.pxd", "queue.pxd", "ratelimit.pxd"}
    assert {path.name for path in PACKAGE.glob("*.pxd")} == public
    for name in sorted(public):
        for line in (PACKAGE / name).read_text(encoding="utf-8").splitlines():
            assert not line.startswith(("from", "cimport")) or line.startswith("from fastcore._ext.capi cimport "), line
    header = (PACKAGE / "_ext" / "capi.pxd").read_text(encoding="utf-8")
    assert [line for line in header.splitlines() if "cimport " in line and not line.startswith("#")] == [
        "from libc.stdint cimport int64_t"
    ]
