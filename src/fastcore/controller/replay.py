"""`fastcore replay`: what a controller did of late, key by key, and whether it kept its promises."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from fastcore.clock import NS_PER_S
from fastcore.controller.flight_checks import Limits, Violation, check, failed
from fastcore.controller.flight_log import BadLine, Record, read

_HOTTEST = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Print the replay of a dump; the exit status: 0 all in order, 1 a promise was broken, 2 misused or no dump."""
    options = _parser().parse_args(argv)
    try:
        with _opened(options.file) as file:
            records = list(read(file))
    except (BadLine, OSError, UnicodeDecodeError) as error:
        print(f"fastcore replay: {options.file}: {error}", file=sys.stderr)
        return 2
    base, maximum = options.backoff
    violations = check(records, Limits(base, maximum, options.patience))
    chosen = _chosen(records, options.key, errors=options.errors)
    if options.key and not chosen:
        known = ", ".join(list(_timelines(records))[:_HOTTEST]) or "none"
        print(f"fastcore replay: {options.file}: no key {options.key!r}; there are {known}", file=sys.stderr)
        return 2
    found = {"keys": chosen, "summary": summary(records), "violations": [_told(v) for v in violations]}
    try:
        print(json.dumps(found, indent=1) if options.json else "\n".join(_text(found, records)))
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
    if violations:
        print(f"fastcore replay: {_line(violations[0])}", file=sys.stderr)
    return 1 if violations else 0


def summary(records: Iterable[Record]) -> dict[str, Any]:
    """Counts: of turns, results, writes, what was dropped and put back, and the keys that had most turns."""
    turns: Counter[str] = Counter()
    writes: Counter[str] = Counter()
    slowed: Counter[str] = Counter()
    results: Counter[str] = Counter()
    held: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for record in records:
        name, says = _title(record), record.says
        if record.what == "start":
            turns[name] += 1
        elif record.what == "end":
            results[says["result"]] += 1
        elif record.what == "held":
            held[says["why"]] += 1
            if says["why"] == "slowed down":
                slowed[name] += 1
        elif record.what == "drop":
            dropped[says["why"]] += says["events"] or 1
        elif record.what == "event" and record.request is None:
            dropped["predicate"] += 1
        elif record.is_write and 200 <= says["status"] < 300:
            writes[name] += 1
    return {
        "reconciles": turns.total(),
        "results": dict(results.most_common()),
        "writes": writes.total(),
        "put back": dict(held.most_common()),
        "dropped": dict(dropped.most_common()),
        "most reconciles": dict(turns.most_common(_HOTTEST)),
        "most writes": dict(writes.most_common(_HOTTEST)),
        "field fights and hot loops": dict(slowed.most_common(_HOTTEST)),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastcore replay",
        description="Show what a controller did of late, key by key, and check that it kept its promises:\n"
        "  one at a time         no two turns of a key overlap\n"
        "  write after the end   nothing is written for a key outside of its turns\n"
        "  back-off              each failure in a row waits twice as long\n"
        "  passed over           each event and retry leads to a turn, or is put back or dropped with a reason\n"
        "Exit status: 0 all in order, 1 a promise was broken, 2 misused or not a dump.",
        epilog="A dump is the answer of a manager's page for debugging, which answers clients on its host alone:\n"
        "  kubectl port-forward deploy/my-controller 8080 &\n"
        "  curl -s localhost:8080/debug/flight > flight.jsonl            ?of=panic is what led to the last bug\n"
        "  fastcore replay flight.jsonl --key default/web",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="JSON lines of /debug/flight; - is standard input")
    parser.add_argument("--key", metavar="KEY", help="only this one: WORKSPACE/NAMESPACE/NAME, or the end of it")
    parser.add_argument("--errors", action="store_true", help="only keys with a failed reconcile or request")
    parser.add_argument("--json", action="store_true", help="print JSON")
    limits = Limits()
    parser.add_argument(
        "--backoff", metavar=("BASE", "MAX"), nargs=2, type=_seconds, default=[limits.base, limits.maximum],
        help="first and longest delay of the controller's limiter in seconds; 0 0 checks no delays; "
        f"default {limits.base:g} {limits.maximum:g}",
    )  # fmt: skip
    parser.add_argument(
        "--patience", metavar="S", type=_seconds, default=limits.patience,
        help=f"seconds that a key may wait while others have their turns; default {limits.patience:g}",
    )  # fmt: skip
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"seconds are >= 0, not {text!r}")
    return value


def _opened(path: str) -> TextIO:
    return open(0 if path == "-" else path, encoding="utf-8", closefd=path != "-")


def _title(record: Record) -> str:
    if record.request is not None:
        return f"{record.request} in {record.controller}"
    where = "/".join(part for part in record.says["object"] if part)
    return f"{record.says['kind']} {where}, dropped by a predicate in {record.controller}"


def _timelines(records: Iterable[Record]) -> dict[str, list[Record]]:
    timelines: dict[str, list[Record]] = {}
    for record in records:
        timelines.setdefault(_title(record), []).append(record)
    return timelines


def _chosen(records: list[Record], key: str | None, *, errors: bool) -> dict[str, list[dict[str, Any]]]:
    first = records[0].t if records else 0
    return {
        title: [{"line": r.line, "at": (r.t - first) / NS_PER_S, **r.says} for r in timeline]
        for title, timeline in _timelines(records).items()
        if (key is None or _is_called(timeline[0], key)) and (not errors or any(map(failed, timeline)))
    }


def _is_called(record: Record, key: str) -> bool:
    if record.request is None:
        return f"/{key}".endswith("/" + "/".join(part for part in record.says["object"] if part))
    return f"/{record.request}".endswith(f"/{key}")


def _told(violation: Violation) -> dict[str, Any]:
    return violation._asdict() | {"request": violation.request and str(violation.request)}


def _line(violation: Violation) -> str:
    whom = violation.request or "all keys"
    return _safe(f"line {violation.line}: {violation.rule}: {whom} in {violation.controller}: {violation.text}")


def _text(found: dict[str, Any], records: list[Record]) -> Iterator[str]:
    for title, timeline in found["keys"].items():
        yield _safe(title)
        for said in timeline:
            yield _safe(f"  {said['at']:+12.6f} s  {_words(said)}")
        yield ""
    span = (records[-1].t - records[0].t) / NS_PER_S if records else 0.0
    yield f"{len(records)} records over {span:.3f} s"
    for name, value in found["summary"].items():
        if isinstance(value, dict):
            value = ", ".join(f"{inner} {count}" for inner, count in value.items()) or "none"
        yield _safe(f"  {name}: {value}")
    yield f"promises broken: {len(found['violations']) or 'none'}"
    for violation in found["violations"]:
        yield "  " + _line(Violation(**violation))


def _words(said: dict[str, Any]) -> str:
    match said["what"]:
        case "event":
            fate = "" if said["passed"] else ": dropped"
            where = "/".join(part for part in said["object"] if part)
            return f"event    {said['kind']} {where} {said['event']}, {said['from']} to {said['to']}{fate}"
        case "start":
            return f"start    turn {said['id']}, because of {', '.join(said['causes']) or 'no event'}"
        case "request":
            answer = f"{said['status'] or 'no answer'} in {said['ns'] / 1e6:.1f} ms"
            return f"request  {said['method']} {said['path']}: {answer}"
        case "held":
            return f"held     {said['why']}, for {said['delay']:.3f} s"
        case "drop":
            return f"drop     {said['why']}" + (f", {said['events']} events" if said["events"] else "")
        case _:
            again = "" if said["delay"] is None else f", again in {said['delay']:.3f} s"
            return f"end      turn {said['id']}: {said['result']}{again}" + (said["detail"] and f": {said['detail']}")


def _safe(text: str) -> str:
    """Without what a terminal would act upon: errors say what they like."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
