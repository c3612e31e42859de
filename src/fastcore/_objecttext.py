"""What both twins of the object store make of arguments: paths, keys, index values, and mappings as JSON text."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from fastcore.errors import ObjectError

IDENTITY = ("apiVersion", "kind")
NAMES = ("name", "namespace", "uid", "resourceVersion")
KEPT = (*NAMES, "generation", "deletionTimestamp")

_TEXT = re.compile(r"((?:[^.\\]|\\.)*)\.")


@lru_cache(1024)
def path_of(path: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names of a path: "spec.replicas", a dot in a name written as `\\.`, or the names themselves."""
    if isinstance(path, str):
        names = tuple(re.sub(r"\\(.)", r"\1", name) for name in _TEXT.findall(path + "."))
    elif isinstance(path, tuple) and all(isinstance(name, str) for name in path):
        names = path
    else:
        raise TypeError(f"a path is text, or a tuple of names, not {path!r}")
    if not names or "" in names:
        raise ValueError(f"a path needs names, and no empty ones: {path!r}")
    return names


@lru_cache(1024)
def steps_of(path: str | tuple[str, ...]) -> tuple[bytes, ...]:
    """The names of a path as bytes."""
    return tuple(name.encode() for name in path_of(path))


def dropped(paths: Iterable[str | tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Paths to leave out; ValueError for one without which an object has no name."""
    found = tuple(path_of(path) for path in paths)
    for path in found:
        if path == ("metadata",) or path[:1] in {(name,) for name in IDENTITY}:
            raise ValueError(f"an object cannot be stored without its {path[0]}")
        if len(path) > 1 and path[0] == "metadata" and path[1] in NAMES:
            raise ValueError(f"an object cannot be stored without its {'.'.join(path[:2])}")
    return found


def kept(paths: Iterable[str | tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Paths to keep, with those that always stay."""
    found = tuple(path_of(path) for path in paths)
    inside = [path for path in found if path[0] == "metadata"]
    metadata = (
        tuple(("metadata", name) for name in KEPT) if inside and ("metadata",) not in inside else (("metadata",),)
    )
    return (*((name,) for name in IDENTITY), *metadata, *found)


_BYTES = (bytes, bytearray, memoryview)


def key_text(key: Any) -> str:
    """A key as the store has it: "namespace/name"."""
    if isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], str) and isinstance(key[1], str):
        return f"{key[0]}/{key[1]}"
    if isinstance(key, str):
        return str(key) if "/" in key else f"/{key}"
    raise TypeError(f"a key is (namespace, name), or 'namespace/name', not {key!r}")


def plain_value(value: Any) -> Any:
    """A value of an index as a type whose comparisons run no user code."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes.__bytes__(value)
    if isinstance(value, tuple):
        return tuple(plain_value(item) for item in value)
    raise TypeError(f"objects are found by str, int, float, bool, bytes, None and tuples of them, not {value!r}")


def text_from(item: Any) -> bytes:
    """An object as JSON text."""
    if isinstance(item, _BYTES):
        return bytes(item)
    if not isinstance(item, Mapping):
        raise TypeError(f"an object is JSON bytes or a mapping, not {type(item).__qualname__}")
    try:
        text = json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_dict)
        return text.encode()
    except (ValueError, RecursionError) as error:
        raise ObjectError(f"this mapping cannot be written as JSON: {error}") from error


def _as_dict(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a document holds dict, list, str, int, float, bool and None, not {type(value).__qualname__}")


def change_of(event: Any, split: Callable[[bytes], Any]) -> tuple[str, Any]:
    """The type and the object of an event: a line of a watch, its mapping, or the pair itself."""
    if isinstance(event, tuple) and len(event) in (2, 3):
        kind, obj = event[:2]
    elif isinstance(event, _BYTES):
        kind, obj, _ = split(bytes(event))
    elif isinstance(event, Mapping):
        kind, obj = event.get("type"), event.get("object")
    else:
        raise TypeError(f"an event is a line of a watch, a mapping or a pair, not {type(event).__qualname__}")
    if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
        raise ObjectError(f"the store takes ADDED, MODIFIED, DELETED and BOOKMARK events, not {kind!r}")
    return kind, obj
