"""Draws what `make bench` measured: `python -m benchmarks.plots bench.json docs/plots` writes one SVG a page.

Each panel is one row of the table: the cost of one operation on a logarithmic scale, in dict hits, ours in colour. The
text stays text, on no background, so that the pictures are readable on light and dark pages.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

PAGES = {
    "cache": [
        "LRU c[k] hit",
        "LRU get hit",
        "LRU set existing",
        "LRU set + evict",
        "TTL get hit",
        "TTL set existing",
        "TTL set + evict",
        "S3-FIFO get hit",
        "S3-FIFO set + evict",
        "@cached hit",
    ],
    "ratelimit": ["token bucket allow", "keyed bucket allow, 10,000 keys", "token bucket in Redis, a round trip"],
    "breaker": [
        "breaker around a no-op, call",
        "breaker around a no-op, decorated",
        "breaker around a no-op, with block",
    ],
    "pool": ["pool acquire + release", "pool lease, with statement", "buffer of 1 KiB", "array of 100,000 float64"],
    "diff": [
        "diff, 32 KB equal",
        "diff, 32 KB, one deep change",
        "JSON patch made, one deep change",
        "fingerprint, 32 KB",
    ],
    "queue": ["queue add + get + done", "queue add + await aget + done"],
    "cimport": [
        "token bucket allow, from C",
        "cache get hit, from C",
        "breaker allow + success, from C",
        "pool acquire + release, from C",
        "queue add + get + done, from C",
    ],
    "memory": [
        "LRU bytes an entry, 1 M",
        "TTL bytes an entry, 1 M",
        "keyed bucket bytes an entry, 1 M",
        "LRU collector pass, 1 M",
    ],
}
COLUMNS = 2
LEAST = 0.01  # a logarithmic scale knows no zero
OURS, TWIN, PEER, GO, TEXT = "#0b84a5", "#8fc7d6", "#9aa0a8", "#7a6fb0", "#7a808a"
mpl.rcParams |= {
    "svg.fonttype": "none",
    "svg.hashsalt": "fastcore",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}


def lines(paths: list[str]) -> dict[str, dict[str, tuple[float, str]]]:
    """Row -> whose -> (length of the bar, what to write beside it)."""
    rows: dict[str, dict[str, tuple[float, str]]] = {}
    for path in paths:
        for bench in json.loads(Path(path).read_text(encoding="utf-8"))["benchmarks"]:
            info = bench["extra_info"]
            if "what" not in info:
                continue
            if info["unit"] == "ns":
                value = info["value"] / info["x"]
                label = f"{value:.2f} x" if value < 10 else f"{value:,.0f} x"
            else:
                value, label = info["value"], f"{info['value']:,.1f} {info['unit']}"
            rows.setdefault(info["what"], {})[info["whose"]] = (value, label)
    return rows


def colour(whose: str) -> str:
    """Ours, our twin's, a Go library's or a peer's."""
    if not whose.startswith("fastcore"):
        return GO if whose.startswith("Go ") else PEER
    return TWIN if "twin" in whose else OURS


def panel(axes: Any, what: str, row: dict[str, tuple[float, str]]) -> None:
    """One row of the table as bars, the cheapest on top."""
    order = sorted(row, key=lambda whose: -row[whose][0])
    values = [max(row[whose][0], LEAST) for whose in order]
    axes.barh(order, values, color=[colour(whose) for whose in order], height=0.7)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 4, max(values) * 6)
    for i, whose in enumerate(order):
        axes.text(values[i] * 1.08, i, row[whose][1], va="center", fontsize=8)
    axes.set_title(what, loc="left", fontsize=10, fontweight="bold")
    axes.set_xticks([])
    axes.minorticks_off()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw(page: str, rows: dict[str, dict[str, tuple[float, str]]], target: Path) -> bool:
    """One picture; False if nothing of it was measured."""
    there = [what for what in PAGES[page] if what in rows]
    if not there:
        return False
    height = -(-len(there) // COLUMNS)
    bars = max(len(rows[what]) for what in there)
    figure, grid = plt.subplots(height, COLUMNS, figsize=(9.5, height * (0.55 + 0.27 * bars)), squeeze=False)
    for axes, what in zip(grid.flat, there, strict=False):
        panel(axes, what, rows[what])
    for axes in list(grid.flat)[len(there) :]:
        axes.set_visible(False)
    figure.tight_layout()
    figure.savefig(target / f"{page}.svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return True


def main() -> int:
    """Draw every page that the measurements allow."""
    *sources, target = sys.argv[1:]
    rows = lines(sources)
    Path(target).mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        print(f"{page}: {'drawn' if draw(page, rows, Path(target)) else 'nothing measured'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
