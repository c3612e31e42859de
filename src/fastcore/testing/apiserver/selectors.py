"""Which objects a list or watch shows: by labels (`a=b,c in (d,e),!f`), fields (`metadata.name=x`) and shard."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from fastcore.testing.apiserver.shards import Shard, parse_shard
from fastcore.testing.apiserver.status import bad_request
from fastcore.testing.apiserver.storage import Record

_TOKEN = re.compile(r"\s*(==|!=|=|,|\(|\)|!|<|>|[^\s=!,()<>]+)")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_OPERATORS = {"=", "==", "!=", "in", "notin", "<", ">"}
_PUNCTUATION = {"=", "==", "!=", ",", "(", ")", "!", "<", ">"}
_NOTHING: Mapping[str, str] = {}


class Requirement(NamedTuple):
    """One term of a label selector; `operator` is one of in, notin, exists, !, > and <."""

    key: str
    operator: str
    values: frozenset[str]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels fulfils the term."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        try:
            number, bound = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > bound if self.operator == ">" else number < bound


class Selector(NamedTuple):
    """What a list or watch asks for: label terms, field terms as (field, equal, value), and a shard."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[str, bool, str], ...] = ()
    shard: Shard | None = None

    def selects(self, record: Record) -> bool:
        """Whether an object is selected."""
        if self.shard is not None and not self.shard.matches(record.uid, record.key[1]):
            return False
        return self.matches(record.labels, record.fields)

    def matches(self, labels: Mapping[str, str] | None, fields: Mapping[str, str]) -> bool:
        """Whether labels and selectable fields fulfil every term."""
        labels = labels or _NOTHING
        return all(term.matches(labels) for term in self.labels) and all(
            (fields.get(name, "") == value) is equal for name, equal, value in self.fields
        )


EVERYTHING = Selector()


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position = 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            assert found is not None  # the pattern covers every character but trailing blanks
            self._tokens.append(found[1])
            position = found.end()
        self._next = 0

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._next += 1
        return token


def _unparsable(found: str, expected: str) -> Exception:
    return bad_request(f"unable to parse requirement: found '{found}', expected: {expected}")


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """The terms of a label selector.

    Raises:
        StatusError: 400, the text is no label selector.
    """
    tokens = _Tokens(text)
    out = []
    while tokens.peek():
        out.append(_requirement(tokens))
        separator = tokens.take()
        if separator not in ("", ","):
            raise _unparsable(separator, "',' or 'end of string'")
        if separator and not tokens.peek():
            raise _unparsable("", "identifier after ','")
    return tuple(out)


def _requirement(tokens: _Tokens) -> Requirement:
    absent = tokens.peek() == "!"
    if absent:
        tokens.take()
    key = tokens.take()
    if key in _PUNCTUATION or not key:
        raise _unparsable(key, "!, identifier, or 'end of string'")
    if not _KEY.fullmatch(key):
        raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": name part must be a label key')
    if absent:
        return Requirement(key, "!", frozenset())
    if tokens.peek() in ("", ","):
        return Requirement(key, "exists", frozenset())
    operator = tokens.take()
    if operator not in _OPERATORS:
        raise _unparsable(operator, "in, notin, =, ==, !=, gt, lt")
    values = _set(tokens) if operator in ("in", "notin") else frozenset((_value(tokens),))
    for value in values:
        if not _VALUE.fullmatch(value):
            raise bad_request(
                f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": no label value'
            )
    if operator in ("<", ">"):
        return Requirement(key, operator, values)
    return Requirement(key, "notin" if operator in ("!=", "notin") else "in", values)


def _value(tokens: _Tokens) -> str:
    if tokens.peek() in ("", ","):
        return ""
    value = tokens.take()
    if value in _PUNCTUATION:
        raise _unparsable(value, "identifier")
    return value


def _set(tokens: _Tokens) -> frozenset[str]:
    opening = tokens.take()
    if opening != "(":
        raise _unparsable(opening, "'('")
    values = set()
    while True:
        if tokens.peek() == ")":
            values.add("")
        else:
            values.add(_value(tokens))
        separator = tokens.take()
        if separator == ")":
            return frozenset(values)
        if separator != ",":
            raise _unparsable(separator, "',' or ')'")


def parse_fields(text: str, supported: Collection[str]) -> tuple[tuple[str, bool, str], ...]:
    """The terms of a field selector over the `supported` fields.

    Raises:
        StatusError: 400, malformed or an unknown field.
    """
    out = []
    for term in re.split(r"(?<!\\),", text):
        if not term:
            continue
        found = re.search(r"!=|==|=", term)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        name, value = term[: found.start()], term[found.end() :]
        if name not in supported:
            if len(supported) > 2:
                raise bad_request(f"field label not supported: {name}")
            known = ", ".join(f'"{field}"' for field in supported)
            raise bad_request(f'"{name}" is not a known field selector: only {known}')
        out.append((name, found[0] != "!=", re.sub(r"\\(.)", r"\1", value)))
    return tuple(out)


def parse(query: Mapping[str, str], supported: Collection[str]) -> Selector:
    """The selector of a request: its `labelSelector`, `fieldSelector` and `shardSelector`."""
    labels, fields, shard = (query.get(f"{name}Selector", "") for name in ("label", "field", "shard"))
    if not labels and not fields and not shard:
        return EVERYTHING
    return Selector(
        parse_labels(labels) if labels else (),
        parse_fields(fields, supported) if fields else (),
        parse_shard(shard) if shard else None,
    )
