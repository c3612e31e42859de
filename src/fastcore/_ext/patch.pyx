# cython: freethreading_compatible=True
"""JSON patch (RFC 6902) and merge patch (RFC 7386), made and applied.

Applying works on a private copy of plain dicts and lists, so an error leaves the caller's document as it was and no
user code can see the copy. User code can run where document.pxd says, while documents are copied or compared.
"""

cimport cython

from fastcore._ext.changes cimport operation_of, pair
from fastcore._ext.document cimport (
    MAX_DEPTH, Py_LeaveRecursiveCall, copied, enter, equal, is_container, is_dict, is_list, plain, pointer,
)
from fastcore._ext.merge cimport merged, merged_difference, refuse_nulls

import re

from fastcore.errors import PatchError, PatchTestFailed

__all__ = ["apply_json_patch", "apply_merge_patch", "json_patch", "merge_patch"]

cdef enum:
    MAX_COPIED = 1_000_000  # values that the `copy` operations of one patch may copy: doubling patches stop here

_INDEX = re.compile(r"0|[1-9][0-9]*")
_BAD_ESCAPE = re.compile(r"~(?![01])")


def json_patch(old, new, /):
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
    cdef list found = [], patch = []
    pair(old, new, found, False, 0)
    for op, path, value in found:
        patch.append(operation_of(op, path, value))
    return patch


def merge_patch(old, new, /):
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
    cdef object a, b = plain(new)
    if not is_dict(b):
        return new
    a = plain(old)
    if not is_dict(a):
        refuse_nulls(b, [], 0)
        return new
    return merged_difference(<dict>a, <dict>b, [], 0)


def apply_merge_patch(doc, patch, /):
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


cdef Py_ssize_t size_of(object value, int depth) except -1:
    """How many values a plain document holds that is to stand at `depth`."""
    cdef Py_ssize_t size = 1
    if not is_container(value):
        return size
    enter(depth)
    try:
        if is_dict(value):
            for item in (<dict>value).values():
                size += size_of(item, depth + 1)
        else:
            for item in <list>value:
                size += size_of(item, depth + 1)
    finally:
        Py_LeaveRecursiveCall()
    return size


def apply_json_patch(doc, patch, /):
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
    cdef _Applied state
    patch = plain(patch)
    if not is_list(patch):
        raise PatchError(f"a JSON patch is a list of operations, not {type(patch).__name__}")
    state = _Applied.__new__(_Applied)
    state.document = copied(doc, 0)
    for operation in <list>patch:
        state.apply(plain(operation))
        state.index += 1
    return state.document


@cython.final
cdef class _Applied:
    """A private copy of the document, and the operation that is being applied to it."""

    cdef object document
    cdef Py_ssize_t index
    cdef dict operation
    cdef Py_ssize_t copied_values

    cdef str message(self, str reason):
        op, path = self.operation.get("op"), self.operation.get("path")
        if isinstance(op, str) and isinstance(path, str):
            return f"operation {self.index} ({op} {path!r}): {reason}"
        return f"operation {self.index}: {reason}"

    cdef object error(self, str reason):
        return PatchError(self.message(reason))

    cdef object nothing(self, list path):
        return self.error(f"there is nothing at {pointer(path)!r}")

    cdef int apply(self, object operation) except -1:
        cdef list path, source
        if not is_dict(operation):
            raise PatchError(f"operation {self.index}: an operation is an object, not {type(operation).__name__}")
        self.operation = <dict>operation
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
            if not equal(self.get(path, len(path)), value, len(path)):
                raise PatchTestFailed(self.message("the value there is another one"))
        elif op == "move":
            source = self.tokens("from")
            value = self.get(source, len(source))
            if source != path:
                if path[:len(source)] == source:
                    raise self.error(f"{pointer(source)!r} cannot move into itself")
                size_of(value, len(path))
                self.remove(source)
                self.add(path, value)
        elif op == "copy":
            source = self.tokens("from")
            value = self.get(source, len(source))
            self.copied_values += size_of(value, len(path))
            if self.copied_values > MAX_COPIED:
                raise self.error(f"the patch copies more than {MAX_COPIED} values")
            self.add(path, copied(value, len(path)))
        else:
            raise self.error("'op' is none of add, remove, replace, move, copy, test")
        return 0

    cdef object value(self):
        if "value" not in self.operation:
            raise self.error("the member 'value' is missing")
        return self.operation["value"]

    cdef list tokens(self, str member):
        """The reference tokens of the pointer in a member of the operation."""
        cdef list tokens
        text = self.operation.get(member)
        if not isinstance(text, str):
            raise self.error(f"the member {member!r} is missing or not a string")
        text = plain(text)
        if not text:
            return []
        if text[0] != "/":
            raise self.error(f"the pointer {text!r} does not start with '/'")
        tokens = text[1:].split("/")
        if len(tokens) > MAX_DEPTH:
            raise self.error(f"the pointer has more than {MAX_DEPTH} tokens")
        if "~" in text:
            if _BAD_ESCAPE.search(text):
                raise self.error(f"the pointer {text!r} has a '~' that is not '~0' or '~1'")
            return [token.replace("~1", "/").replace("~0", "~") for token in tokens]
        return tokens

    cdef object get(self, list path, Py_ssize_t count):
        """What stands at the first `count` tokens of a path."""
        cdef Py_ssize_t i
        cdef object node = self.document
        for i in range(count):
            token = path[i]
            if is_dict(node):
                inner = (<dict>node).get(token)
                if inner is None and token not in <dict>node:
                    raise self.nothing(path[:i + 1])
                node = inner
            elif is_list(node):
                node = (<list>node)[self.position(path, i, len(<list>node) - 1)]
            else:
                raise self.nothing(path[:i + 1])
        return node

    cdef Py_ssize_t position(self, list path, Py_ssize_t i, Py_ssize_t last) except -1:
        """The array index that a token names, at most `last`."""
        cdef str token = path[i]
        if not _INDEX.fullmatch(token):
            raise self.error(f"{pointer(path[:i + 1])!r} does not end with an array index")
        # Longer ones are past the end of any array, and int() has a limit of its own.
        if len(token) > 18 or int(token) > last:
            raise self.error(f"the array index at {pointer(path[:i + 1])!r} is past the end")
        return int(token)

    cdef int add(self, list path, object value) except -1:
        cdef Py_ssize_t end = len(path) - 1
        if end < 0:
            self.document = value
            return 0
        parent, token = self.get(path, end), path[end]
        if is_dict(parent):
            (<dict>parent)[token] = value
        elif not is_list(parent):
            raise self.nothing(path)
        elif token == "-":
            (<list>parent).append(value)
        else:
            (<list>parent).insert(self.position(path, end, len(<list>parent)), value)
        return 0

    cdef int remove(self, list path) except -1:
        cdef Py_ssize_t end = len(path) - 1
        if end < 0:
            raise self.error("the whole document cannot be removed")
        parent, token = self.get(path, end), path[end]
        if is_dict(parent) and token in <dict>parent:
            del (<dict>parent)[token]
        elif is_list(parent):
            del (<list>parent)[self.position(path, end, len(<list>parent) - 1)]
        else:
            raise self.nothing(path)
        return 0

    cdef int replace(self, list path, object value) except -1:
        cdef Py_ssize_t end = len(path) - 1
        if end < 0:
            self.document = value
            return 0
        parent, token = self.get(path, end), path[end]
        if is_dict(parent) and token in <dict>parent:
            (<dict>parent)[token] = value
        elif is_list(parent):
            (<list>parent)[self.position(path, end, len(<list>parent) - 1)] = value
        else:
            raise self.nothing(path)
        return 0
