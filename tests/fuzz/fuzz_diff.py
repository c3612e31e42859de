"""The compiled diff and patches against their twins, and against what they promise: a patch leads where it should."""

from typing import Any

from fastcore._ext import diff as ext_diff
from fastcore._ext import fingerprint as ext_fingerprint
from fastcore._ext import patch as ext_patch
from fastcore._ext import strategic as ext_strategic
from fastcore._py import diff as py_diff
from fastcore._py import fingerprint as py_fingerprint
from fastcore._py import patch as py_patch
from fastcore._py import strategic as py_strategic
from fuzz.choices import Choices

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    2,
    -1,
    0.5,
    2**63,
    10**30,
    float("nan"),
    "",
    "a",
    "b",
    "500m",
    "0.5",
]
SCALARS += ["1Gi", "1024Mi", "\ud800", "replace", "delete", "merge"]
NAMES = [
    "a",
    "b",
    "name",
    "l",
    "set",
    "kept",
    "ports",
    "containers",
    "containerPort",
    "limits",
    "resources",
    "cpu",
    "x/y",
]
NAMES += [
    "m~n",
    "",
    "$patch",
    "$retainKeys",
    "$setElementOrder/l",
    "$setElementOrder/set",
    "$deleteFromPrimitiveList/set",
]
OPERATIONS = ["add", "remove", "replace", "move", "copy", "test", "spam"]
POINTERS = ["", "/a", "/b", "/l", "/l/0", "/l/1", "/l/-", "/a/b", "/x~1y", "/m~0n", "/~", "a", "/l/00", "/l/9", "/"]
TYPES = {
    "": {"l": ("T", "merge", "name"), "set": ("", "merge", ""), "kept": ("T", "retainKeys", ""), "a": ("T", "", "")},
    "T": {
        "l": ("T", "merge,retainKeys", "name"),
        "set": ("", "merge", ""),
        "b": ("", "replace", ""),
        "*": ("T", "", ""),
    },
}


def document(choices: Choices, depth: int = 0) -> Any:
    kind = choices.below(4) if depth < 5 else 0
    if kind == 1:
        return [document(choices, depth + 1) for _ in range(choices.below(5))]
    if kind >= 2:
        return {choices.of(NAMES): document(choices, depth + 1) for _ in range(choices.below(5))}
    return choices.of(SCALARS)


def changed(choices: Choices, value: Any) -> Any:
    """`value` with something else somewhere in it, or nothing."""
    if not choices.below(4):
        return document(choices, 3)
    if isinstance(value, dict):
        return {name: changed(choices, item) if choices.below(2) else item for name, item in value.items()}
    if isinstance(value, list):
        items = [changed(choices, item) if choices.below(2) else item for item in value]
        return items[::-1] if choices.below(3) == 2 else items
    return value


def outcome(function: Any, *args: Any, **kwargs: Any) -> tuple[str, Any]:
    """What a call gives, so that two calls can be compared: its answer, or its error."""
    try:
        return "is", function(*args, **kwargs)
    except (TypeError, ValueError, RecursionError) as error:
        return type(error).__name__, str(error)


def agreed(ext: Any, py: Any, name: str, *args: Any, **kwargs: Any) -> tuple[str, Any]:
    ours, twin = (outcome(getattr(module, name), *args, **kwargs) for module in (ext, py))
    assert repr(ours) == repr(twin), (name, args, kwargs, ours, twin)
    return ours


def one_input(data: bytes) -> None:
    choices = Choices(data)
    one = document(choices)
    other = changed(choices, one)
    third = changed(choices, one)
    before = repr((one, other, third))
    agreed(ext_fingerprint, py_fingerprint, "fingerprint", one)
    same = agreed(ext_diff, py_diff, "diff", one, other, quantities={}, list_keys={}) == ("is", [])
    options = {"list_keys": {"l": ["name", "="], "set": "="}, "ignore": choices.of([(), ["a"], ["*.l.*.name"]])}
    for function in ("diff", "covers"):
        agreed(ext_diff, py_diff, function, one, other)
        agreed(ext_diff, py_diff, function, one, other, **options)

    patch = agreed(ext_patch, py_patch, "json_patch", one, other)[1]
    assert (patch == []) == same
    reached = agreed(ext_patch, py_patch, "apply_json_patch", one, patch)[1]
    assert not ext_diff.diff(reached, other, quantities={}, list_keys={}), (one, other, patch, reached)
    merge = agreed(ext_patch, py_patch, "merge_patch", one, other)
    if merge[0] == "is":
        reached = ext_patch.apply_merge_patch(one, merge[1])
        assert not ext_diff.diff(reached, other, quantities={}, list_keys={}), (one, other, merge, reached)
    agreed(ext_patch, py_patch, "apply_merge_patch", one, other)

    for types in (TYPES, {}):
        made = agreed(ext_strategic, py_strategic, "strategic_merge_patch", one, other, types=types)
        if made[0] == "is":
            agreed(ext_strategic, py_strategic, "apply_strategic_merge_patch", one, made[1], types=types)
        agreed(ext_strategic, py_strategic, "apply_strategic_merge_patch", one, other, types=types)
        for overwrite in (True, False):
            how = {"overwrite": overwrite, "types": types}
            agreed(ext_strategic, py_strategic, "three_way_patch", one, other, third, **how)

    operations = []
    while choices.left() and len(operations) < 20:
        given = {"op": choices.of(OPERATIONS), "path": choices.of(POINTERS), "from": choices.of(POINTERS)}
        operations.append({**given, "value": document(choices, 3)})
    agreed(ext_patch, py_patch, "apply_json_patch", one, operations)
    assert repr((one, other, third)) == before
