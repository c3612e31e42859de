"""Finds keys that write for ever: because somebody undoes their writes, or because their writes wake themselves.

A field fight is a path that we set to the value that it had after our last write to it: somebody changed it in between.
A path that we ourselves set to something else in between, as a status that goes up and down, is none. A hot loop is a
chain of reconciles that all wrote, each caused by nothing but the write of the one before.

Both are slowed down: a second, doubled at each further round, up to a minute; and forgotten after ten quiet minutes.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastcore.clock import NS_PER_S
from fastcore.controller.model import Kind, Request
from fastcore.diff import Change, fingerprint

FIGHT_ROUNDS = 5
LOOP_ROUNDS = 10
FORGET_NS = 600 * NS_PER_S
FIRST_DELAY_NS = NS_PER_S
MOST_DELAY_NS = 60 * NS_PER_S
_MOST_KEYS = 1024
_MOST_PATHS = 64
_MOST_ANSWERS = 16


class Target(NamedTuple):
    """The field of an object that is fought over."""

    kind: Kind
    namespace: str
    name: str
    path: tuple[Any, ...]

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind.kind} {where} {Change('change', self.path, None, None).where}"


class _Trail:
    """What the writes of one key have been, as of late."""

    __slots__ = ("answers", "chain", "foreign", "own", "paths", "slowed", "step_ns", "touched_ns", "until_ns")

    def __init__(self) -> None:
        self.paths: OrderedDict[Target, list[int]] = OrderedDict()  # [fingerprint of the value, rounds]
        self.answers: list[str] = []
        self.chain = 0
        self.own = self.foreign = False  # what the next reconcile is due to
        self.slowed: str | None = None
        self.step_ns = self.until_ns = self.touched_ns = 0


class Finding(NamedTuple):
    """A key that was found to write for ever.

    Args:
        why: "fight" or "loop".
        targets: the fields that are fought over, or that each round changes.
    """

    why: str
    targets: tuple[Target, ...]


class Detector:
    """Watches the writes of a controller's keys; of the 1,024 that wrote last.

    Attributes:
        fights: field fights found.
        loops: hot loops found.

    Complexity: O(changed paths) a write, at most 64; O(1) a reconcile.
    Thread safety: belongs to the event loop.
    """

    def __init__(self) -> None:
        self._trails: OrderedDict[Request, _Trail] = OrderedDict()
        self._slowed: set[Request] = set()
        self.fights = 0
        self.loops = 0

    def wrote(
        self, request: Request, kind: Kind, key: tuple[str, str], version: str, changed: Sequence[Change], now_ns: int
    ) -> None:
        """Note a write of ours and what it changed."""
        trail = self._trail(request, now_ns)
        trail.answers.append(version)
        del trail.answers[:-_MOST_ANSWERS]
        for change in changed[:_MOST_PATHS]:
            target = Target(kind, *key, change.path)
            value = fingerprint(change.new)
            known = trail.paths.get(target)
            if known is None:
                trail.paths[target] = [value, 0]
                if len(trail.paths) > _MOST_PATHS:
                    trail.paths.popitem(last=False)
            elif known[0] == value:
                known[1] += 1
            else:
                known[:] = value, 0

    def noticed(self, request: Request, version: str | None) -> None:
        """Note an event, or None for a reason without one, that leads to a reconcile of `request`."""
        trail = self._trails.get(request)
        if trail is not None:
            if version is not None and version in trail.answers:
                trail.own = True
            else:
                trail.foreign = True

    def begin(self, request: Request) -> None:
        """A reconcile begins: tells a chain from what somebody else has caused."""
        trail = self._trails.get(request)
        if trail is not None:
            if trail.foreign or not trail.own:  # a delay that was asked for is nobody's event
                trail.chain = 0
            trail.own = trail.foreign = False

    def end(self, request: Request, written: int, now_ns: int) -> Finding | None:
        """A reconcile ends, which made so many writes. Returns what was found, once a key."""
        trail = self._trails.get(request)
        if trail is None or not written:
            return None
        trail.chain += 1
        fought = [target for target, (_, rounds) in trail.paths.items() if rounds >= FIGHT_ROUNDS]
        why = "fight" if fought else "loop" if trail.chain >= LOOP_ROUNDS else None
        if why is None:
            return None
        trail.step_ns = min(2 * trail.step_ns or FIRST_DELAY_NS, MOST_DELAY_NS)
        trail.until_ns = now_ns + trail.step_ns
        self._slowed.add(request)
        if trail.slowed is not None:
            return None
        trail.slowed = why
        if why == "fight":
            self.fights += 1
        else:
            self.loops += 1
        return Finding(why, tuple(fought or trail.paths))

    def remaining(self, request: Request, now_ns: int) -> float:
        """Seconds that a slowed key has still to wait, 0 if it may go."""
        if request not in self._slowed:
            return 0.0
        trail = self._trails[request]
        if now_ns - trail.touched_ns > FORGET_NS:
            self._drop(request)
            return 0.0
        return max(0, trail.until_ns - now_ns) / NS_PER_S

    def slowed(self) -> tuple[Request, ...]:
        """The keys that are slowed down."""
        return tuple(self._slowed)

    def describe(self, request: Request) -> str | None:
        """Why `request` is slowed down, in words, or None if it is not."""
        trail = self._trails.get(request)
        if trail is None or request not in self._slowed:
            return None
        if trail.slowed == "loop":
            return f"hot loop: {trail.chain} reconciles in a row wrote, each woken by the one before"
        fought = [f"{target} ({rounds} times)" for target, (_, rounds) in trail.paths.items() if rounds >= FIGHT_ROUNDS]
        return f"field fight over {', '.join(fought)}"

    def _trail(self, request: Request, now_ns: int) -> _Trail:
        trail = self._trails.get(request)
        if trail is not None and now_ns - trail.touched_ns > FORGET_NS:
            self._drop(request)
            trail = None
        if trail is None:
            trail = self._trails[request] = _Trail()
            if len(self._trails) > _MOST_KEYS:
                self._drop(next(iter(self._trails)))
        else:
            self._trails.move_to_end(request)
        trail.touched_ns = now_ns
        return trail

    def _drop(self, request: Request) -> None:
        del self._trails[request]
        self._slowed.discard(request)


def managers_of(obj: dict[str, Any], path: Sequence[Any]) -> list[str]:
    """Who owns the field at `path`, by the object's managedFields: those that own it or the whole it is a part of."""
    found = []
    for entry in obj["metadata"].get("managedFields") or ():
        if _owns(entry.get("fieldsV1") or {}, path):
            name = entry.get("manager") or "unknown"
            found.append(f"{name} ({entry.get('operation')}, {entry.get('time')})")
    return found


def _owns(fields: dict[str, Any], path: Sequence[Any]) -> bool:
    for step in path:
        if not fields:
            return True  # an atomic whole: whoever owns it owns its parts
        if isinstance(step, str):
            below = fields.get(f"f:{step}")
        elif isinstance(step, tuple):
            below = next((inner for name, inner in fields.items() if _names(name, step)), None)
        else:
            below = fields.get(f"i:{step}")
        if below is None:
            return False
        fields = below
    return True


def _names(name: str, step: tuple[Any, ...]) -> bool:
    """Whether `k:{"name":"web"}` or `v:"x"` names the item of a path."""
    how, _, text = name.partition(":")
    if how not in ("k", "v"):
        return False
    value = json.loads(text)
    if step[0] == "=":
        return how == "v" and bool(value == step[1])
    wanted = dict(zip(step[::2], step[1::2], strict=True))
    return isinstance(value, dict) and all(wanted.get(field, said) == said for field, said in value.items())
