"""Run by .ci/wheel and by every wheel job: the installed package works with nothing but its base dependencies."""

import asyncio
import importlib
import math
import os
import sys
import sysconfig
import time

start = time.perf_counter()
import fastcore

elapsed_ms = (time.perf_counter() - start) * 1e3
assert "kubernetes" not in sys.modules, "import fastcore must not import kubernetes"
assert "numpy" not in sys.modules, "import fastcore must not import numpy"

pure = os.environ.get("FASTCORE_PURE") == "1"
assert fastcore.IMPLEMENTATION == ("py" if pure else "ext"), fastcore.IMPLEMENTATION

if not pure:
    from fastcore._impl import PRIMITIVES

    for name in PRIMITIVES:
        module = importlib.import_module(f"fastcore._ext.{name}")
        assert not module.__file__.endswith(".py"), f"{module.__file__} is not compiled"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled(), "an extension brought the GIL back"
        print("free-threaded: the GIL stayed off after every import")

from fastcore import (
    CircuitBreaker,
    CircuitOpenError,
    LRUCache,
    ObjectPool,
    TokenBucket,
    TTLCache,
    WorkQueue,
    apply_json_patch,
    cached,
    covers,
    diff,
    fingerprint,
    json_patch,
)

cache = LRUCache(2)
cache["a"], cache["b"], cache["c"] = 1, 2, 3
assert list(cache) == ["b", "c"] or set(cache) == {"b", "c"}, list(cache)
assert cache.get_or_load("d", lambda: 4) == 4
assert TTLCache(8, ttl=60).get("missing", 7) == 7


@cached(LRUCache(8))
def square(n: int) -> int:
    return n * n


assert square(3) == square(3) == 9

bucket = TokenBucket(rate=1, burst=2)
assert [bucket.allow() for _ in range(3)] == [True, True, False]
assert TokenBucket(rate=math.inf, burst=0).allow(10)

breaker = CircuitBreaker("smoke", failure_threshold=1)
try:
    breaker.call(lambda: 1 / 0)
except ZeroDivisionError:
    pass
try:
    breaker.call(lambda: 1)
except CircuitOpenError as error:
    assert error.name == "smoke"
else:
    raise AssertionError("the breaker did not open")

pool = ObjectPool(list, reset=list.clear)
with pool.lease() as item:
    item.append(1)
with pool.lease() as item:
    assert item == []

old = {"spec": {"replicas": 1, "ports": [{"name": "http", "containerPort": 80}]}}
new = {"spec": {"replicas": 2, "ports": [{"name": "http", "containerPort": 80}]}}
assert len(diff(old, new)) == 1
assert apply_json_patch(old, json_patch(old, new)) == new
assert covers({**new, "status": {}}, new)
assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})

queue = WorkQueue()
queue.add("key")
queue.add("key")
assert len(queue) == 1
assert asyncio.run(queue.aget()) == "key"
queue.done("key")

version = f"fastcore {fastcore.__version__} ({fastcore.IMPLEMENTATION}) on {sys.version.split()[0]}"
print(f"{version}: import {elapsed_ms:.0f} ms, smoke test passed")
