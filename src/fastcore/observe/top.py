"""`fastcore top`: the dashboard of a running process, in a terminal."""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastcore.errors import FastcoreError
from fastcore.observe.dashboard.overview import OVERVIEW

if TYPE_CHECKING:
    from rich.console import RenderableType

EXIT_FAILED, EXIT_USAGE = 1, 2
_TIMEOUT_S = 10.0
_MAX_BYTES = 16 * 1024 * 1024
_BAD = frozenset({"errors", "failures", "rejected", "quarantined", "slowed keys"})

_Told = Mapping[str, Any]


class Unreachable(FastcoreError):
    """Nothing usable answers there; the message says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Show it until Ctrl-C; the exit status: 0, 1 nothing answered, 2 misused."""
    options = _parser().parse_args(argv)
    try:
        if options.json or options.once:
            return _once(options)
        return _live(options)
    except Unreachable as error:
        print(f"fastcore top: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        sys.stderr.close()  # whoever read is gone, and nobody wants to hear of it at exit
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastcore top",
        description="Watch a running controller or service: reconciles, queues, caches, breakers, memory, slowest\n"
        "keys. It reads what the page at /debug/ shows, and rates need two looks.",
        epilog="A controller in a cluster shows its debug pages to its own host alone, so:\n"
        "  kubectl port-forward deploy/my-controller 8080\n"
        "  fastcore top http://127.0.0.1:8080",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", metavar="URL", nargs="?", type=_url, default="http://127.0.0.1:8080",
                        help="where it serves its pages; default http://127.0.0.1:8080")  # fmt: skip
    parser.add_argument("--interval", metavar="S", type=_interval, default=2.0,
                        help="seconds between two looks, 0.1 to 3600; default 2")  # fmt: skip
    parser.add_argument("--once", action="store_true", help="look twice, print once, and end")
    parser.add_argument("--json", action="store_true", help="the same as JSON, with the rates worked out")
    return parser


def _url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"must be like http://127.0.0.1:8080, not {text!r}")
    return f"{parts.scheme}://{parts.netloc}"


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"must be 0.1 to 3600 seconds, not {text!r}")
    return seconds


def read(url: str) -> _Told:
    """What the process at `url` says now.

    Raises:
        Unreachable: nothing answers, or not with that.
    """
    try:
        with urllib.request.urlopen(url + OVERVIEW, timeout=_TIMEOUT_S) as answer:
            told = json.loads(answer.read(_MAX_BYTES))
        if not isinstance(told, dict) or not {"time", "uptime", "tasks", "tables"} <= told.keys():
            raise ValueError("it is something else")
    except urllib.error.HTTPError as error:
        text = error.read(200).decode("utf-8", "replace").strip()
        why = f"{url} answers {error.code}: {text}" if error.code == 403 else f"{url} has no {OVERVIEW} ({error.code})"
        raise Unreachable(why) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{url} does not answer as a fastcore process would: {reason}") from error
    return told


def measured(kind: str, now: Any, then: Any, elapsed: float) -> Any:
    """The value behind a cell: counters become rates, means and shares of what came since `then`.

    Example:
        >>> measured("rate", 30.0, 10.0, 2.0), measured("share", [3.0, 4.0], [1.0, 2.0], 2.0)
        (10.0, 1.0)
    """
    if now is None:
        return None
    if kind in ("rate", "load"):
        return max(0.0, now - then) / elapsed if then is not None and elapsed > 0 else None
    if kind in ("mean", "share"):
        since = [a - b for a, b in zip(now, then, strict=True)] if then is not None else now
        part, whole = since if since[1] > 0 else now
        return part / whole if whole > 0 else None
    return now


def shown(kind: str, value: Any) -> str:
    """A value as people read it.

    Example:
        >>> shown("seconds", 0.0123), shown("bytes", 52_428_800), shown("share", 0.5), shown("rate", 1234.5)
        ('12.3 ms', '50 MiB', '50 %', '1,234/s')
    """
    if value is None:
        return "-"
    if kind == "text":
        return str(value)
    if kind == "bytes":
        for unit in ("B", "KiB", "MiB", "GiB"):
            if value < 1024:
                return f"{_number(value)} {unit}"
            value /= 1024
        return f"{_number(value)} TiB"
    if kind in ("seconds", "mean"):
        for factor, unit in ((1, "s"), (1e3, "ms")):
            if value * factor >= 1 or value == 0:
                return f"{_number(value * factor)} {unit}"
        return f"{_number(value * 1e6)} us"
    if kind in ("share", "load"):
        return f"{_number(value * 100)} %"
    return f"{_number(value)}/s" if kind == "rate" else _number(value)


def _number(value: float) -> str:
    text = f"{value:,.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def worked_out(now: _Told, then: _Told | None) -> list[dict[str, Any]]:
    """The tables with the values of their cells, rates and all."""
    elapsed = 0.0 if then is None else now["time"] - then["time"]
    old = then if then is not None and elapsed > 0 else {"tables": []}
    before = {(t["title"], row["name"]): row["cells"] for t in old["tables"] for row in t["rows"]}
    tables = []
    for table in now["tables"]:
        kinds = [column["kind"] for column in table["columns"]]
        rows = []
        for row in table["rows"]:
            earlier = before.get((table["title"], row["name"])) or []
            earlier = earlier if len(earlier) == len(kinds) else [None] * len(kinds)
            values = [measured(*cell, elapsed) for cell in zip(kinds, row["cells"], earlier, strict=True)]
            rows.append({"name": row["name"], "values": values})
        tables.append({**table, "rows": rows})
    return tables


def _once(options: argparse.Namespace) -> int:
    first = read(options.url)
    time.sleep(options.interval)
    now = read(options.url)
    if options.json:
        told = {"url": options.url, "uptime": now["uptime"], "tasks": now["tasks"], "tables": worked_out(now, first)}
        print(json.dumps(told, indent=1))
        return 0
    from rich.console import Console

    Console(soft_wrap=not sys.stdout.isatty()).print(_screen(options.url, now, first, None))
    return 0


def _live(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    then, now = None, read(options.url)
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            live.update(_screen(options.url, now, then, console.height), refresh=True)
            time.sleep(options.interval)
            then, now = _look_again(options.url, now, live.update)


def _look_again(url: str, now: _Told, update: Callable[..., None]) -> tuple[_Told, _Told]:
    """The answer so far and the next one, however long that takes to come: processes are restarted."""
    while True:
        try:
            return now, read(url)
        except Unreachable as error:
            from rich.text import Text

            update(Text(f"{error}\ntrying again; Ctrl-C ends", style="red"), refresh=True)
            time.sleep(1.0)


def _screen(url: str, now: _Told, then: _Told | None, height: int | None) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{url}  up {now['uptime']:.0f} s, {now['tasks']} tasks")]
    room = sys.maxsize if height is None else height - 2
    for table in worked_out(now, then):
        lines = len(table["rows"])
        if room < 4:
            break
        grid = Table(title=Text(table["title"]), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column("", overflow="fold")
        for column in table["columns"]:
            grid.add_column(column["title"], justify="right")
        for row in table["rows"][: room - 3]:
            cells = [Text(row["name"])]
            for column, value in zip(table["columns"], row["values"], strict=True):
                bad = (column["title"] in _BAD and value) or value == "open"
                cells.append(Text(shown(column["kind"], value), style="bold red" if bad else ""))
            grid.add_row(*cells)
        parts += [Text(""), grid]
        room -= min(lines, room - 3) + 3
    return Group(*parts)
