"""Turns a run of pytest-benchmark into the ratio table: every figure as a multiple of one `dict.get` hit.

A benchmark calls `per_call(benchmark, function, calls=...)` where `function` performs `calls` operations in one round,
and names itself with `@pytest.mark.subject("LRU get hit", "fastcore")`: what is measured, and whose it is.
"""

import platform
import time
from collections.abc import Callable
from typing import Any

import pytest

CALLS = 1000


def dict_get_ns() -> float:
    """Nanoseconds of one `dict.get` hit, the best of many rounds: the yardstick x."""
    d = {i: i for i in range(CALLS)}
    keys = list(range(CALLS))

    def hits() -> None:
        get = d.get
        for k in keys:
            get(k)

    def empty() -> None:
        for _ in keys:
            pass

    def best(f: Callable[[], None]) -> int:
        times = []
        for _ in range(300):
            start = time.perf_counter_ns()
            f()
            times.append(time.perf_counter_ns() - start)
        return min(times)

    return best(hits) / CALLS


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "subject(what, whose, target=None): a row of the ratio table")


def per_call(benchmark: Any, function: Callable[[], object], calls: int = CALLS, rounds: int = 100) -> None:
    """Measure `function`, which does `calls` operations, and note the nanoseconds of one."""
    benchmark.pedantic(function, rounds=rounds, warmup_rounds=3, iterations=1)
    benchmark.extra_info["ns"] = benchmark.stats.stats.min / calls * 1e9


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.passed:
        return
    mark = item.get_closest_marker("subject")
    bench = getattr(item, "funcargs", {}).get("benchmark")
    if mark is None or bench is None or "ns" not in bench.extra_info:
        return
    what, whose = mark.args[0], mark.args[1]
    rows = item.config.stash.setdefault(ROWS, [])
    rows.append((what, whose, bench.extra_info["ns"], mark.kwargs.get("target", "")))


ROWS: pytest.StashKey[list[tuple[str, str, float, str]]] = pytest.StashKey()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    x = dict_get_ns()
    write = terminalreporter.write_line
    write("")
    write(f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}")
    write(f"x = one dict.get hit = {x:.1f} ns")
    write(f"{'what':<34} {'whose':<22} {'ns':>12} {'x':>9}   target")
    for what in dict.fromkeys(r[0] for r in rows):
        for _, whose, ns, target in sorted((r for r in rows if r[0] == what), key=lambda r: r[2]):
            write(f"{what:<34} {whose:<22} {ns:>12.1f} {ns / x:>9.2f}   {target}")
