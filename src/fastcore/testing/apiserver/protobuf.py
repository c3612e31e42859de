"""Reads objects of the built-in kinds in protobuf: kubectl sends them so, even to a server that answers in JSON.

```text
"k8s\\0" ── Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: message}        message: fields by number
                                                  numbers → names: data/protobuf.json.gz
                                                  names → types:   the OpenAPI schemas
```

Nothing is written in protobuf: every client that sends it also accepts JSON.
"""

import base64
import gzip
import json
import struct
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from fastcore.testing.apiserver.builtin import META, definitions, name_of

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
DATA = files(__package__) / "data" / "protobuf.json.gz"
_MAGIC = b"k8s\0"
_REF = "#/components/schemas/"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH = 100
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_RAW = (META + "FieldsV1", "io.k8s.apimachinery.pkg.runtime.RawExtension")
_EPOCH_OF_ZERO = -62135596800  # year 1, which Go's zero time stands for

Value = int | bytes


class ProtobufError(ValueError):
    """The bytes are no object in protobuf."""


@cache
def _numbers() -> dict[str, dict[int, str]]:
    loaded = json.loads(gzip.decompress(DATA.read_bytes()))
    return {name: {int(number): field for number, field in fields.items()} for name, fields in loaded.items()}


def decode(body: bytes) -> dict[str, Any]:
    """The object in `body`, as JSON would have it.

    Raises:
        ProtobufError: malformed, or of a kind that is not a built-in one.
    """
    if not body.startswith(_MAGIC):
        raise ProtobufError("the first bytes are not those of an object")
    envelope = dict(_fields(body[len(_MAGIC) :]))
    meta = dict(_fields(_as_bytes(envelope.get(1, b""))))
    version, kind = _text(meta.get(1, b"")), _text(meta.get(2, b""))
    group, _, short = version.rpartition("/")
    name = META + kind if kind == "DeleteOptions" else name_of(group, short, kind)
    if name is None or name not in _numbers():
        raise ProtobufError(f"{kind!r} of {version!r} cannot be read from protobuf")
    out = {"apiVersion": version, "kind": kind}
    return out | _message(name, definitions()[name]["properties"], _as_bytes(envelope.get(2, b"")), 0)


def _fields(data: bytes) -> list[tuple[int, Value]]:
    """The fields of a message, by number, in order."""
    out: list[tuple[int, Value]] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        value: Value
        if wire == _VARINT:
            value, position = _varint(data, position)
        else:
            if wire == _BYTES:
                size, position = _varint(data, position)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                raise ProtobufError(f"wire type {wire} at byte {position}")
            value = data[position : position + size]
            position += size
            if len(value) != size:
                raise ProtobufError("the message ends in the middle of a field")
        out.append((tag >> 3, value))
    return out


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ProtobufError("the message ends in the middle of a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _message(name: str, properties: dict[str, Any], data: bytes, depth: int) -> dict[str, Any]:
    if depth > _DEPTH:
        raise ProtobufError(f"nested deeper than {_DEPTH} messages")
    numbers = _numbers().get(name, {})
    out: dict[str, Any] = {}
    for number, value in _fields(data):
        field = numbers.get(number)
        if field is None:
            continue
        mark, member = (field[0], field[1:]) if field[0] in "*=+" else ("", field)
        if mark == "+":
            out.update(_message(member, properties, _as_bytes(value), depth + 1))
            continue
        schema = properties.get(member)
        if schema is None:
            continue
        if schema.get("type") == "array":
            out.setdefault(member, []).extend(_items(schema["items"], value, depth))
        elif "additionalProperties" in schema:
            pair = dict(_fields(_as_bytes(value)))
            key = _text(pair.get(1, b""))
            out.setdefault(member, {})[key] = _value(schema["additionalProperties"], pair.get(2, b""), depth)
        else:
            read = _value(schema, value, depth)
            # Go leaves a zero out of its JSON unless the field is a pointer or always written.
            if mark or isinstance(read, dict) or read not in ("", 0, None):
                out[member] = read
    return out


def _items(schema: dict[str, Any], value: Value, depth: int) -> list[Any]:
    if schema.get("type") == "integer" and isinstance(value, bytes):
        packed, position = [], 0
        while position < len(value):
            number, position = _varint(value, position)
            packed.append(_signed(number))
        return packed
    return [_value(schema, value, depth)]


def _value(schema: dict[str, Any], value: Value, depth: int) -> Any:
    reference = schema.get("$ref") or next((part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part), "")
    if reference:
        return _named(reference.removeprefix(_REF), value, depth)
    kind = schema.get("type")
    if kind == "integer":
        return _signed(_as_int(value))
    if kind == "boolean":
        return bool(_as_int(value))
    if kind == "number":
        data = _as_bytes(value)
        return struct.unpack("<d" if len(data) == 8 else "<f", data)[0]
    if schema.get("format") == "byte":
        return base64.b64encode(_as_bytes(value)).decode()
    return _text(value)


def _named(name: str, value: Value, depth: int) -> Any:
    data = _as_bytes(value)
    short = name.removeprefix(META)
    if short in ("Time", "MicroTime"):
        return _time(dict(_fields(data)), micro=short == "MicroTime")
    if name == _QUANTITY:
        return _text(dict(_fields(data)).get(1, b""))
    if name == _INT_OR_STRING:
        parts = dict(_fields(data))
        return _text(parts.get(3, b"")) if parts.get(1) else _signed(_as_int(parts.get(2, 0)))
    if name in _RAW:
        raw = _as_bytes(dict(_fields(data)).get(1, b"null"))
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtobufError(f"raw JSON: {error}") from None
    return _message(name, definitions().get(name, {}).get("properties", {}), data, depth + 1)


def _time(parts: dict[int, Value], *, micro: bool) -> str | None:
    seconds, nanos = _signed(_as_int(parts.get(1, 0))), _signed(_as_int(parts.get(2, 0)))
    if not parts or seconds == _EPOCH_OF_ZERO:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise ProtobufError(f"a time of {seconds} s") from None
    fraction = f".{nanos // 1000:06d}" if micro else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _as_bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ProtobufError("a number stands where bytes belong")


def _as_int(value: Value) -> int:
    if isinstance(value, int):
        return value
    raise ProtobufError("bytes stand where a number belongs")


def _text(value: Value) -> str:
    try:
        return _as_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise ProtobufError(f"text that is not UTF-8: {error}") from None
