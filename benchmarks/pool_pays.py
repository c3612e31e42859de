"""When a pool pays: making an object anew beside acquire and release. `python -m benchmarks.pool_pays`

Each line is the best of many rounds, in nanoseconds. "used" lines write all the memory, which is what makes the kernel
hand it out: fresh zero pages that nobody touches are all but free.
"""

import time
from collections.abc import Callable
from configparser import ConfigParser
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np

from fastcore import BufferPool, ObjectPool

SIZES = [2**8, 2**10, 2**12, 2**14, 2**16, 2**18, 2**20]


def best(operation: Callable[[], object], rounds: int = 60) -> float:
    """Nanoseconds of one operation, in the fastest of many rounds of about a millisecond."""
    count = 1
    elapsed = 0
    while elapsed < 1_000_000:
        count *= 2
        elapsed = timed(operation, count)
    return min(timed(operation, count) for _ in range(rounds)) / count


def timed(operation: Callable[[], object], count: int) -> int:
    start = time.perf_counter_ns()
    for _ in range(count):
        operation()
    return time.perf_counter_ns() - start


def filled(ones: bytes, buffer: bytearray) -> None:
    memoryview(buffer)[:] = ones


def leased(lease: Callable[[int, str], Any], size: int, fill: bool = False) -> None:
    with lease(size, "u1") as array:
        if fill:
            array.fill(1)


def rows() -> list[tuple[str, Callable[[], object], Callable[[], object]]]:
    """What is made, how to make it, and how to have it from a pool; "kept" is memory that the pool does not clear."""
    result: list[tuple[str, Callable[[], object], Callable[[], object]]] = []

    def add(name: str, make: Callable[[], Any], pool: Any, use: Callable[[Any], object] | None = None) -> None:
        acquire, release = pool.acquire, pool.release

        def turn() -> None:
            obj = acquire()
            if use:
                use(obj)
            release(obj)

        result.append((name, (lambda: use(make())) if use else make, turn))

    add("dict()", dict, ObjectPool(dict, reset=dict.clear))
    add("BytesIO()", BytesIO, ObjectPool(BytesIO, reset=lambda b: (b.seek(0), b.truncate())))
    add("ConfigParser()", ConfigParser, ObjectPool(ConfigParser, reset=ConfigParser.clear))
    for size in SIZES:
        fill = partial(filled, b"1" * size)
        for kind, clear in (("", True), (", kept", False)):
            pool = BufferPool(size, max_size=size, clear=clear)
            add(f"bytearray({size}){kind}", partial(bytearray, size), pool)
            add(f"bytearray({size}){kind}, used", partial(bytearray, size), pool, fill)
    for size in SIZES:
        for kind, clear in (("", True), (", kept", False)):
            lease = BufferPool(0, max_size=size, clear=clear).lease_array
            result.append((f"numpy.empty({size}){kind}", partial(np.empty, size, "u1"), partial(leased, lease, size)))
            result.append(
                (
                    f"numpy.zeros({size}){kind}, used",
                    lambda size=size: np.zeros(size, "u1").fill(1),
                    partial(leased, lease, size, True),
                )
            )
    return result


def main() -> None:
    """Print the table."""
    print(f"{'':<30}{'made':>10}{'pooled':>10}")
    for name, make, turn in rows():
        fresh, pooled = best(make), best(turn)
        print(f"{name:<30}{fresh:>10.0f}{pooled:>10.0f}   {'pays' if pooled < 0.9 * fresh else ''}")


if __name__ == "__main__":
    main()
