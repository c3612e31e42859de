"""Records as lines: JSON for machines, text for people. Both keep secrets back and every record on its own lines."""

import json
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastcore.observe.logs.fields import ATTRIBUTE, bound_fields
from fastcore.observe.logs.sampling import DROPPED

HIDDEN = "***"
MAX_TEXT = 10_000  # characters of a message or a value
_MAX_ITEMS = 100
_MAX_DEPTH = 6

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", ATTRIBUTE, DROPPED}
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.\-])(?:authorization|cookie|password|passwd|secret|token|api_?-?key|private_?-?key|credential)s?$"
)
_SECRET_TEXT = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}|(?<=://)[^/@\s:]*:[^/@\s]+@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


class JsonFormatter(logging.Formatter):
    r"""A record as one line of JSON: time, level, logger, message, its fields, error.

    Values that JSON has no form for are written as text; text beyond 10,000 characters is cut.

    Example:
        >>> record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "sold", "password": "x"})
        >>> json.loads(JsonFormatter().format(record))["password"]
        '***'
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line[f"field_{name}" if name in line else name] = value
        error = _error(self, record)
        if error:
            line["error"] = _text(error)
        return json.dumps(line, ensure_ascii=True)


class ConsoleFormatter(logging.Formatter):
    r"""A record as a line of text, with its fields behind the message, and an error's lines below, indented.

    Control characters are escaped, so that nothing that is logged can pass for another record.

    Example:
        >>> record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "sold\n2026 forged", "n": 2})
        >>> ConsoleFormatter().format(record).partition(" ")[2]
        'INFO shop: sold\\n2026 forged n=2'
    """

    def format(self, record: logging.LogRecord) -> str:
        """The lines, without the last one's end."""
        fields = "".join(f" {_escaped(name)}={_shown(value)}" for name, value in _fields(record).items())
        message = _escaped(_text(record.getMessage()))
        text = f"{_time(record)} {record.levelname} {_escaped(record.name)}: {message}{fields}"
        error = _error(self, record)
        if error:
            text += "".join(f"\n    {_escaped(line)}" for line in _text(error).splitlines())
        return text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Those of the block, of the logger and of the call, later ones first; what was dropped before it, last."""
    found = {**bound_fields(), **{name: value for name, value in vars(record).items() if name not in _OWN}}
    found.update(getattr(record, ATTRIBUTE, {}))
    dropped = getattr(record, DROPPED, 0)
    if dropped:
        found["dropped"] = dropped
    return {name: _clean(name, value, 0) for name, value in found.items()}


def _clean(name: str, value: Any, depth: int) -> Any:
    """`value` as JSON can have it, without secrets."""
    if _SECRET_NAME.search(name) and value is not None:
        return HIDDEN
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        pairs = [(str(key), part) for _, (key, part) in zip(range(_MAX_ITEMS), value.items(), strict=False)]
        return {key: _clean(key, part, depth + 1) for key, part in pairs}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_clean("", part, depth + 1) for _, part in zip(range(_MAX_ITEMS), value, strict=False)]
    try:
        return _text(str(value))
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _text(text: str) -> str:
    shorter = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT} characters more)"
    return _SECRET_TEXT.sub(lambda match: f"{match[1]} {HIDDEN}" if match[1] else f"{HIDDEN}@", shorter)


def _shown(value: Any) -> str:
    if isinstance(value, str) and value and not re.search(r"[\s\"=]", value):
        return _escaped(value)
    return _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
