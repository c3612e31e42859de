"""JSON patch (RFC 6902) and merge patch (RFC 7386), made and applied."""

import re
from typing import Any

from fastcore._py.changes import differences, operation_of
from fastcore._py.document import MAX_DEPTH, copied, equal, plain, pointer, too_deep
from fastcore._py.merge import merged, merged_difference, refuse_nulls
from fastcore.errors import PatchError, PatchTestFailed

__all__ = ["apply_json_patch", "apply_merge_patch", "json_patch", "merge_patch"]

MAX_COPIED = 1_000_000
"""Values that the `copy` operations of one patch may copy: a patch that doubles the document each time stops here."""

_INDEX = re.compile(r"0|[1-9][0-9]*")
_BAD_ESCAPE = re.compile(r"~(?![01])")


def json_patch(old: Any, new: Any, /) -> list[dict[str, Any]]:
    """The JSON patch (RFC 6902) that turns `old` into `new`.

    Objects are compared member by member, with one operation for each member that has to come, go or change. In arrays
    as few items as can be are changed, removed or added; where the middle that differs has more than 40,000 pairs of
    items (200 against 200), only items that are once in each array are sought in other places. The operations are
    `add`, `remove`, `replace`, and `move` within an array. `apply_json_patch(old, json_patch(old, new))` equals `new`;
    equal documents give `[]`. The values in the patch are those of `new`, not copies.

    Raises:
        TypeError: a type that JSON does not have, or a member name that is not str.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size) where no array has more than one item changed. Else O(size x depth), O(n x m) up to 40,000 in an
    array's middle of n and m items, and O(n log n) beyond. Identical subtrees (`is`) are not entered.
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import json_patch
        >>> json_patch({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3], "c": True})
        [{'op': 'replace', 'path': '/b/1', 'value': 3}, {'op': 'add', 'path': '/c', 'value': True}]

    Source: RFC 6902, RFC 6901.
    """
    return [operation_of(*change) for change in differences(old, new)]


def merge_patch(old: Any, new: Any, /) -> Any:
    """The merge patch (RFC 7386) that turns `old` into `new`.

    `apply_merge_patch(old, merge_patch(old, new))` equals `new`. A merge patch says "remove" with null, so a member
    that is null in `new` and not in `old` cannot be expressed; nulls inside arrays can. The values in the patch are
    those of `new`, not copies.

    Raises:
        PatchError: a member of `new` would have to become null; the message names its pointer.
        TypeError: a type that JSON does not have, or a member name that is not str.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size); identical subtrees (`is`) are not entered.
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import merge_patch
        >>> merge_patch({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}})
        {'b': {'c': 4, 'd': None}}

    Source: RFC 7386.
    """
    if type(plain(new)) is not dict:
        return new
    if type(plain(old)) is not dict:
        refuse_nulls(new, [], 0)
        return new
    return merged_difference(plain(old), plain(new), [], 0)


def apply_merge_patch(doc: Any, patch: Any, /) -> Any:
    """The document that a merge patch (RFC 7386) makes of `doc`.

    The answer is a new document of plain dicts and lists that shares nothing mutable with `doc` or `patch`.

    Raises:
        TypeError: a type that JSON does not have, or a member name that is not str.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size of both).
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import apply_merge_patch
        >>> apply_merge_patch({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4, "d": None}})
        {'a': 1, 'b': {'c': 4}}

    Source: RFC 7386.
    """
    return merged(doc, patch, 0)


def apply_json_patch(doc: Any, patch: Any, /) -> Any:
    """The document that a JSON patch (RFC 6902) makes of `doc`.

    The answer is a new document of plain dicts and lists that shares nothing mutable with `doc` or `patch`; after an
    error `doc` is what it was. `test` compares numbers by value (1 equals 1.0) and true equals only true. The `copy`
    operations of one patch may copy 1,000,000 values in all.

    Raises:
        PatchTestFailed: a `test` operation found another value.
        PatchError: a malformed operation, or one that does not fit; the message names its index and pointer.
        TypeError: a type that JSON does not have, or a member name that is not str.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size of both + operations x length of the arrays that they shift).
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import apply_json_patch
        >>> apply_json_patch({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 3}])
        {'a': [1, 2, 3]}

    Source: RFC 6902, RFC 6901.
    """
    patch = plain(patch)
    if type(patch) is not list:
        raise PatchError(f"a JSON patch is a list of operations, not {type(patch).__name__}")
    state = _Applied(copied(doc, 0))
    for index, operation in enumerate(patch):
        state.index, state.operation = index, plain(operation)
        state.apply()
    return state.document


def size_of(value: Any, depth: int) -> int:
    """How many values a plain document holds that is to stand at `depth`."""
    if type(value) is not dict and type(value) is not list:
        return 1
    if depth == MAX_DEPTH:
        raise too_deep()
    return 1 + sum(size_of(item, depth + 1) for item in (value.values() if type(value) is dict else value))


class _Applied:
    """A private copy of the document, and the operation that is being applied to it."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.index = 0
        self.operation: Any = None
        self.copied = 0

    def error(self, reason: str) -> PatchError:
        return PatchError(self.message(reason))

    def message(self, reason: str) -> str:
        op, path = (self.operation.get(name) for name in ("op", "path"))
        if isinstance(op, str) and isinstance(path, str):
            return f"operation {self.index} ({op} {path!r}): {reason}"
        return f"operation {self.index}: {reason}"

    def apply(self) -> None:
        if type(self.operation) is not dict:
            raise PatchError(f"operation {self.index}: an operation is an object, not {type(self.operation).__name__}")
        op = self.operation.get("op")
        if not isinstance(op, str):
            raise self.error("the member 'op' is missing or not a string")
        path = self.tokens("path")
        if op == "add":
            self.add(path, copied(self.value(), len(path)))
        elif op == "remove":
            self.remove(path)
        elif op == "replace":
            self.replace(path, copied(self.value(), len(path)))
        elif op == "test":
            value = self.value()
            if not equal(self.get(path), value, len(path)):
                raise PatchTestFailed(self.message("the value there is another one"))
        elif op == "move":
            source = self.tokens("from")
            value = self.get(source)
            if source != path:
                if path[: len(source)] == source:
                    raise self.error(f"{pointer(source)!r} cannot move into itself")
                size_of(value, len(path))
                self.remove(source)
                self.add(path, value)
        elif op == "copy":
            value = self.get(self.tokens("from"))
            self.copied += size_of(value, len(path))
            if self.copied > MAX_COPIED:
                raise self.error(f"the patch copies more than {MAX_COPIED} values")
            self.add(path, copied(value, len(path)))
        else:
            raise self.error("'op' is none of add, remove, replace, move, copy, test")

    def value(self) -> Any:
        if "value" not in self.operation:
            raise self.error("the member 'value' is missing")
        return self.operation["value"]

    def tokens(self, member: str) -> list[str]:
        """The reference tokens of the pointer in a member of the operation."""
        text = self.operation.get(member)
        if not isinstance(text, str):
            raise self.error(f"the member {member!r} is missing or not a string")
        text = str.__str__(text)
        if not text:
            return []
        if text[0] != "/":
            raise self.error(f"the pointer {text!r} does not start with '/'")
        tokens: list[str] = text[1:].split("/")
        if len(tokens) > MAX_DEPTH:
            raise self.error(f"the pointer has more than {MAX_DEPTH} tokens")
        if "~" in text:
            if _BAD_ESCAPE.search(text):
                raise self.error(f"the pointer {text!r} has a '~' that is not '~0' or '~1'")
            return [token.replace("~1", "/").replace("~0", "~") for token in tokens]
        return tokens

    def nothing(self, path: list[str]) -> PatchError:
        return self.error(f"there is nothing at {pointer(path)!r}")

    def get(self, path: list[str]) -> Any:
        node = self.document
        for depth, token in enumerate(path):
            if type(node) is dict:
                if token not in node:
                    raise self.nothing(path[: depth + 1])
                node = node[token]
            elif type(node) is list:
                node = node[self.position(token, len(node) - 1, path[: depth + 1])]
            else:
                raise self.nothing(path[: depth + 1])
        return node

    def position(self, token: str, last: int, path: list[str]) -> int:
        """The array index that a token names, at most `last`."""
        if not _INDEX.fullmatch(token):
            raise self.error(f"{pointer(path)!r} does not end with an array index")
        # Longer ones are past the end of any array, and int() has a limit of its own.
        if len(token) > 18 or int(token) > last:
            raise self.error(f"the array index at {pointer(path)!r} is past the end")
        return int(token)

    def add(self, path: list[str], value: Any) -> None:
        if not path:
            self.document = value
            return
        parent, token = self.get(path[:-1]), path[-1]
        if type(parent) is dict:
            parent[token] = value
        elif type(parent) is list:
            parent.insert(len(parent) if token == "-" else self.position(token, len(parent), path), value)
        else:
            raise self.nothing(path)

    def remove(self, path: list[str]) -> None:
        if not path:
            raise self.error("the whole document cannot be removed")
        parent, token = self.get(path[:-1]), path[-1]
        if type(parent) is dict and token in parent:
            del parent[token]
        elif type(parent) is list:
            del parent[self.position(token, len(parent) - 1, path)]
        else:
            raise self.nothing(path)

    def replace(self, path: list[str], value: Any) -> None:
        if not path:
            self.document = value
            return
        parent, token = self.get(path[:-1]), path[-1]
        if type(parent) is dict and token in parent:
            parent[token] = value
        elif type(parent) is list:
            parent[self.position(token, len(parent) - 1, path)] = value
        else:
            raise self.nothing(path)
