"""What the reference job may cost, and whether it did."""

from typing import NamedTuple

from benchmarks.controllers.bench import Row, Run

OURS, GO, KOPF = "fastcore", "controller-runtime", "kopf"

# The scenario, then the limit in ms of CPU and in writes an object.
LIMITS = {
    "cold": (1.1, 3.0),
    "update": (1.1, 3.0),
    "drift": (0.4, 1.0),
    "restart": (0.1, 0.0),
}
# Peak memory in MiB, up to so many objects of 1.1 KB.
MEMORY = ((1000, 68.0), (5000, 100.0))
# Half of controller-runtime's CPU, but never more writes or memory than anybody needs.
CPU_OF_GO = 0.5
_SLACK = 0.005  # writes an object are counted, not timed: this is rounding alone


class Verdict(NamedTuple):
    """One target, what was measured, and whether it is met."""

    what: str
    limit: str
    measured: float
    met: bool


def judge(runs: list[Run]) -> list[Verdict]:
    """Every target that these runs can tell about; empty without fastcore."""
    rows = {(run.controller, row.scenario): row for run in runs for row in run.rows}
    out = []
    for scenario in dict.fromkeys(scenario for _, scenario in rows):
        row = rows.get((OURS, scenario))
        if row is None:
            continue
        out += _absolute(row)
        for name in (GO, KOPF):
            if other := rows.get((name, scenario)):
                out += _beside(row, name, other)
    return out


def _absolute(row: Row) -> list[Verdict]:
    out = []
    if row.scenario in LIMITS:
        cpu, writes = LIMITS[row.scenario]
        out.append(Verdict(f"{row.scenario}: CPU ms an object", f"<= {cpu}", row.cpu_ms, row.cpu_ms <= cpu))
        met = row.writes <= writes + _SLACK
        out.append(Verdict(f"{row.scenario}: writes an object", f"<= {writes:.2f}", row.writes, met))
    if row.scenario == "update":
        for objects, limit in MEMORY:
            if row.objects <= objects:
                what = f"peak MiB, {row.objects} objects"
                out.append(Verdict(what, f"<= {limit:.0f}", row.peak_mib, row.peak_mib <= limit))
                break
    return out


def _beside(row: Row, name: str, other: Row) -> list[Verdict]:
    def verdict(what: str, limit: str, measured: float, most: float) -> Verdict:
        return Verdict(f"{row.scenario}: {what}", f"<= {limit}", measured, measured <= most)

    out = [
        verdict("writes an object", f"{name}'s {other.writes:.2f}", row.writes, other.writes + _SLACK),
        verdict("peak MiB", f"{name}'s {other.peak_mib:.0f}", row.peak_mib, other.peak_mib),
    ]
    if name == GO:
        limit = CPU_OF_GO * other.cpu_ms
        out.append(verdict("CPU ms an object", f"half of {name}'s {other.cpu_ms:.2f}", row.cpu_ms, limit))
    return out
