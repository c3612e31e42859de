"""Takes objects in, in plain Python: checks the text, finds whose it is and leaves out what nobody reads."""

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from fastcore._py.jsonscan import MAX_LEVELS, Scan, check, items, member, string
from fastcore.errors import ObjectError


class Head(NamedTuple):
    """Whose object it is: what `metadata` says, "" where it says nothing."""

    namespace: str
    name: str
    uid: str
    revision: str


class ListPage(NamedTuple):
    """A list as a server sends it, taken apart: `items` are the objects as they stand in it."""

    revision: str
    continue_token: str
    remaining: int
    api_version: str
    kind: str
    items: list[bytes]


class WatchEvent(NamedTuple):
    """An event of a watch, taken apart: its type, the object as it stands in it, and its resourceVersion."""

    type: str
    object: bytes
    revision: str


@dataclass
class Rule:
    """What happens to a member, and to the members of its value; `strict`: those without a rule are dropped."""

    strict: bool = False
    drops: bool = False
    ours: bool = False
    inner: dict[bytes, "Rule"] = field(default_factory=dict)


class Rules:
    """What of an object stays: paths as tuples of names, compiled."""

    def __init__(
        self,
        drop: tuple[tuple[str, ...], ...],
        keep: tuple[tuple[str, ...], ...] | None,
        manager: str,
        api_version: str,
        kind: str,
    ) -> None:
        self.root = Rule(strict=keep is not None)
        for path in keep or ():
            self._keep(path)
        for path in drop:
            self._drop(path)
        self.manager = manager
        if manager:
            self.root.inner.setdefault(b"metadata", Rule()).inner[b"managedFields"] = Rule(ours=True)
        self.version = b'"apiVersion":"%s",' % api_version.encode() if api_version else b""
        self.kind = b'"kind":"%s",' % kind.encode() if kind else b""

    def _keep(self, path: tuple[str, ...]) -> None:
        rule = self.root
        for name in path:
            if not rule.strict:
                return
            rule = rule.inner.setdefault(name.encode(), Rule(strict=True))
        rule.strict, rule.inner = False, {}

    def _drop(self, path: tuple[str, ...]) -> None:
        rule = self.root
        for name in path:
            if rule.strict and name.encode() not in rule.inner:
                return
            rule = rule.inner.setdefault(name.encode(), Rule())
        rule.drops = True


_NOTED = {
    "root": {b"apiVersion", b"kind", b"metadata"},
    "metadata": {b"name", b"namespace", b"uid", b"resourceVersion"},
    "": set[bytes](),
}
_PLAIN = Rule()


class Intake:
    """One pass over one object."""

    def __init__(self, text: bytes, rules: Rules) -> None:
        self.scan = Scan(text)
        self.rules = rules
        self.noted: dict[bytes, bytes] = {}
        self.cuts: list[tuple[int, int]] = []

    def walk(self, rule: Rule, level: int, where: str) -> None:
        c = self.scan.next()
        if rule.ours:
            self.own_entries()
        elif c == b"{" and level < MAX_LEVELS and (rule.inner or rule.strict or where):
            self.members(rule, level, where)
        elif c == b"[" and level < MAX_LEVELS and rule.inner:
            self.scan.at += 1
            if self.scan.next() == b"]":
                self.scan.at += 1
                return
            more = True
            while more:
                self.walk(rule, level + 1, "")
                more = self.scan.more(b"]")
        else:
            self.scan.value(level)

    def members(self, rule: Rule, level: int, where: str) -> None:
        scan = self.scan
        scan.at += 1
        after = comma = scan.at
        stayed = gone = False
        if scan.next() == b"}":
            scan.at += 1
            return
        more = True
        while more:
            scan.next()
            begin = scan.at
            scan.name()
            name = scan.text[begin + 1 : scan.named - 1]
            scan.next()
            noted = name in _NOTED[where]
            if noted and (name if where == "metadata" else b"/" + name) in self.noted:
                scan.fail(begin, "this member is there twice")
            value = scan.at
            inside = "metadata" if where == "root" and name == b"metadata" else ""
            inner = rule.inner.get(name, None if rule.strict else _PLAIN)
            if inner is None or inner.drops or (inner.ours and not self.has_ours(level + 1)):
                scan.value(level + 1)
                gone = True
            else:
                if gone:
                    self.cuts.append((after, comma if stayed else begin))
                    gone = False
                stayed = True
                if noted and inside:
                    self.noted[b"/" + name] = b"{"
                self.walk(inner, level + 1, inside)
            if noted and not inside:
                self.noted[name if where == "metadata" else b"/" + name] = scan.text[value : scan.at]
            if not gone:
                after = scan.at
            scan.next()
            comma = scan.at
            more = scan.more(b"}")
        if gone:
            self.cuts.append((after, scan.at - 1))

    def has_ours(self, level: int) -> bool:
        """Whether the list here has an entry of ours; moves nothing."""
        begin = self.scan.at
        self.scan.value(level)
        text = self.scan.text[begin : self.scan.at]
        self.scan.at = begin
        return text[:1] == b"[" and any(self.is_ours(entry) for entry in items(text))

    def is_ours(self, entry: bytes) -> bool:
        manager = member(entry, "manager")
        return manager == b'"%s"' % self.rules.manager.encode() and member(entry, "operation") == b'"Apply"'

    def own_entries(self) -> None:
        """Cut the entries of others out of a list that `has_ours` has checked."""
        scan = self.scan
        scan.at += 1
        after = comma = scan.at
        stayed = gone = False
        more = True
        while more:
            scan.next()
            begin = scan.at
            if not self.is_ours(scan.skipped()):
                gone = True
            else:
                if gone:
                    self.cuts.append((after, comma if stayed else begin))
                    gone = False
                stayed = True
                after = scan.at
            scan.next()
            comma = scan.at
            more = scan.more(b"]")
        if gone:
            self.cuts.append((after, scan.at - 1))


def take(text: bytes, rules: Rules) -> tuple[Head, bytes]:
    """Whose the object in `text` is, and as much of it as the rules keep; ObjectError if it is none."""
    intake = Intake(text, rules)
    scan = intake.scan
    if scan.next() != b"{":
        scan.value()
        scan.finish()
        raise ObjectError("this is JSON, but no object")
    begin = scan.at
    intake.walk(rules.root, 0, "root")
    end = scan.at
    scan.finish()
    noted = {name: string(value) for name, value in intake.noted.items()}
    if not noted.get(b"name"):
        raise ObjectError("the object has no metadata.name")
    who = Head(noted.get(b"namespace", ""), noted[b"name"], noted.get(b"uid", ""), noted.get(b"resourceVersion", ""))
    parts = [b"{"]
    if b"/apiVersion" not in noted:
        parts.append(rules.version)
    if b"/kind" not in noted:
        parts.append(rules.kind)
    at = begin + 1
    for start, stop in intake.cuts:
        parts.append(text[at:start])
        at = stop
    return who, b"".join([*parts, text[at : max(end, scan.at)]])


def head(text: bytes, /) -> Head:
    """The `Head(namespace, name, uid, revision)` of an object."""
    if type(text) is not bytes:
        raise TypeError(f"JSON is given as bytes, not {type(text).__qualname__}")
    return take(text, _NOTHING)[0]


_NOTHING = Rules((), None, "", "", "")


def split_list(body: bytes, /) -> ListPage:
    """Take a list apart, without decoding its items: a `ListPage`."""
    text = check(body).skipped()
    found = member(text, "items")
    if found is None or found[:1] not in (b"[", b"n"):
        raise ObjectError("this is JSON, but no list: it has no items")
    meta = member(text, "metadata")
    count = member(meta, "remainingItemCount")
    remaining = json.loads(count) if count else 0
    return ListPage(
        string(member(meta, "resourceVersion")),
        string(member(meta, "continue")),
        remaining if type(remaining) is int else 0,
        string(member(text, "apiVersion")),
        string(member(text, "kind")),
        list(items(found)) if found[:1] == b"[" else [],
    )


def split_event(line: bytes, /) -> WatchEvent:
    """Take an event of a watch apart, without decoding its object: a `WatchEvent`."""
    text = check(line).skipped()
    kind, obj = member(text, "type"), member(text, "object")
    if kind is None or kind[:1] != b'"' or obj is None or obj[:1] != b"{":
        raise ObjectError("this is JSON, but no event: it has no type or no object")
    return WatchEvent(string(kind), obj, string(member(member(obj, "metadata"), "resourceVersion")))
