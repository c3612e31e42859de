"""The changes that a JSON patch is made of: member by member, and in arrays as few items as can be.

A change is (operation, reversed path, value); that of a move is the index where the item was. It starts with an empty
path, and every level adds its element on the way back.
"""

from typing import Any

from fastcore._py.align import Pairs, aligned
from fastcore._py.document import ABSENT, MAX_DEPTH, check_key, equal, plain, pointer, too_deep

Changes = list[tuple[str, list[Any], Any]]


def differences(old: Any, new: Any) -> Changes:
    found: Changes = []
    _pair(old, new, found, False, 0)
    return found


def operation_of(op: str, path: list[Any], value: Any) -> dict[str, Any]:
    """The operation that a change is in a JSON patch."""
    path = path[::-1]
    said: dict[str, Any] = {"op": op, "path": pointer(path)}
    if op == "move":
        said["from"] = pointer([*path[:-1], value])
    elif op != "remove":
        said["value"] = value
    return said


def _pair(old: Any, new: Any, found: Changes, careful: bool, depth: int) -> None:
    """Append what turns `old` into `new`; with `careful` nothing is tried that might have to be undone."""
    if old is new:
        return
    a, b = plain(old), plain(new)
    if type(a) is not type(b) or type(a) not in (dict, list):
        if not equal(a, b):
            found.append(("replace", [], new))
        return
    if depth == MAX_DEPTH:
        raise too_deep()
    if type(a) is list:
        _arrays(a, b, found, careful, depth + 1)
        return
    matched = 0
    for key, value in a.items():
        check_key(key)
        other = b.get(key, ABSENT)
        if other is ABSENT:
            found.append(("remove", [key], None))
            continue
        matched += 1
        _at(key, value, other, found, careful, depth + 1)
    if matched != len(b):
        for key, value in b.items():
            check_key(key)
            if key not in a:
                found.append(("add", [key], value))


def _at(element: Any, old: Any, new: Any, found: Changes, careful: bool, depth: int) -> bool:
    """Whether there is a change at one element."""
    before = len(found)
    _pair(old, new, found, careful, depth)
    for change in found[before:]:
        change[1].append(element)
    return len(found) != before


def _arrays(a: list[Any], b: list[Any], found: Changes, careful: bool, depth: int) -> None:
    head, old_end, new_end = 0, len(a), len(b)
    if old_end == new_end and not careful:
        # Nearly always one item has changed where it stands. Only if it is more is it asked whether items have moved.
        before = len(found)
        touched = []
        for i in range(old_end):
            if _at(i, a[i], b[i], found, False, depth):
                touched.append(i)  # noqa: PERF401 - a comprehension would be one more frame on every level
        if len(touched) < 2:
            return
        head, old_end = touched[0], touched[-1] + 1
        pairs = aligned(a[head:old_end], b[head:old_end], depth)
        if len(pairs) == old_end - head:
            return
        del found[before:]
        new_end = old_end
    else:
        while head < old_end and head < new_end and equal(a[head], b[head], depth):
            head += 1
        while old_end > head and new_end > head and equal(a[old_end - 1], b[new_end - 1], depth):
            old_end -= 1
            new_end -= 1
        pairs = aligned(a[head:old_end], b[head:new_end], depth)
    _edits(a, b, [(i + head, j + head) for i, j in pairs], head, old_end, new_end, found, depth)


def _edits(
    a: list[Any], b: list[Any], pairs: Pairs, head: int, old_end: int, new_end: int, found: Changes, depth: int
) -> None:
    for i, j in pairs:
        _at(i, a[i], b[j], found, True, depth)
    stay, come = {i for i, _ in pairs}, {j for _, j in pairs}
    # From the back, so that the indices of the operations that follow still hold.
    removed = [i for i in range(old_end - 1, head - 1, -1) if i not in stay]
    added = [j for j in range(head, new_end) if j not in come]
    moved = bool(removed and added) and equal(a[removed[-1]], b[added[0]], depth)
    found.extend(("remove", [i], None) for i in removed[: len(removed) - moved])
    if moved:
        found.append(("move", [added[0]], removed[-1]))
    found.extend(("add", [j], b[j]) for j in added[moved:])
