"""Turns a run of pytest-benchmark into the ratio table: every figure as a multiple of one `dict.get` hit.

A benchmark calls `per_call(benchmark, function, calls=...)` where `function` performs `calls` operations in one round,
and names itself with `@pytest.mark.subject("LRU get hit", "fastcore")`: what is measured, and whose it is.
"""

import math
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from benchmarks.targets import TARGETS, Target

CALLS = 1000


class Yardstick:
    """Nanoseconds of one `dict.get` hit, taken between the rounds of a benchmark, so that both met the same machine."""

    def __init__(self) -> None:
        self._hits = {i: i for i in range(CALLS)}
        self._keys = list(range(CALLS))
        self.best = math.inf

    def sample(self) -> None:
        """Time one round; the fastest one counts."""
        get = self._hits.get
        start = time.perf_counter_ns()
        for k in self._keys:
            get(k)
        self.best = min(self.best, (time.perf_counter_ns() - start) / CALLS)


class Line(NamedTuple):
    """One line of the table: whose it is, what one operation takes and what one `dict.get` took beside it."""

    what: str
    whose: str
    value: float
    unit: str = "ns"
    x: float = 1.0

    @property
    def ratio(self) -> float:
        """The cost in dict hits, or in the line's own unit."""
        return self.value / self.x


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "subject(what, whose): a line of the ratio table")


def per_call(benchmark: Any, function: Callable[[], object], calls: int = CALLS, rounds: int = 100) -> None:
    """Measure `function`, which does `calls` operations, and note the nanoseconds of one."""
    yardstick = Yardstick()
    benchmark.pedantic(function, setup=yardstick.sample, rounds=rounds, warmup_rounds=3, iterations=1)
    benchmark.extra_info.update(value=benchmark.stats.stats.min / calls * 1e9, unit="ns", x=yardstick.best)


def once(benchmark: Any, value: float, unit: str) -> None:
    """Note a figure that was not timed here."""
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(value=value, unit=unit)


@pytest.fixture(autouse=True)
def named(request: pytest.FixtureRequest) -> None:
    """Let the JSON of a run tell what was measured and whose it is, for the plots."""
    mark = request.node.get_closest_marker("subject")
    if mark is not None and "benchmark" in request.fixturenames:
        what, whose = mark.args
        request.getfixturevalue("benchmark").extra_info.update(what=what, whose=whose)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.passed:
        return
    mark = item.get_closest_marker("subject")
    bench = getattr(item, "funcargs", {}).get("benchmark")
    if mark is None or bench is None or "value" not in bench.extra_info:
        return
    lines = item.config.stash.setdefault(LINES, [])
    figures = {name: bench.extra_info[name] for name in ("value", "unit", "x") if name in bench.extra_info}
    lines.append(Line(*mark.args, **figures))


LINES: pytest.StashKey[list[Line]] = pytest.StashKey()


def met(target: Target, row: dict[str, Line]) -> bool | None:
    """Whether ours keeps to `target`; None if what it is held against was not measured."""
    ours = row.get("fastcore")
    if ours is None or (target.above and target.above not in row):
        return None
    if target.of == "x":
        return ours.ratio <= target.factor
    if target.of == ours.unit:
        return ours.value - (row[target.above].value if target.above else 0.0) <= target.factor
    other = row.get(target.of)
    return None if other is None else ours.ratio <= target.factor * other.ratio


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash.get(LINES, [])
    if not lines:
        return
    write = terminalreporter.write_line
    write("")
    write(f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}")
    yardstick = min((line.x for line in lines if line.unit == "ns"), default=math.nan)
    write(f"x = one dict.get hit = {yardstick:.1f} ns, taken anew beside each line")
    write(f"{'what':<36} {'whose':<24} {'':>18} {'x':>9}")
    rows: dict[str, dict[str, Line]] = {}
    for line in lines:
        rows.setdefault(line.what, {})[line.whose] = line
    for what, row in rows.items():
        for line in sorted(row.values(), key=lambda line: line.ratio):
            ratio = f"{line.ratio:>9.2f}" if line.unit == "ns" else ""
            write(f"{what:<36} {line.whose:<24} {line.value:>12.1f} {line.unit:<5} {ratio}".rstrip())
    judged = [(target, met(target, rows.get(target.what, {}))) for target in TARGETS]
    write("")
    write(f"targets: {sum(ok is True for _, ok in judged)} met, {sum(ok is False for _, ok in judged)} missed")
    for target, ok in judged:
        if target.what in rows:
            write(f"{'not measured' if ok is None else 'met' if ok else 'MISSED':<13} {target.what:<36} {target}")
