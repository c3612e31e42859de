"""Copies of the reference controller with a bug planted in each."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from fastcore.reference import reconciler, status

# By name: the module, the text that is replaced, and the bug.
BUGS: dict[str, tuple[ModuleType, str, str]] = {
    "takes over what others own": (
        reconciler,
        "child is not None and not is_owned(child, webapp)",
        "False",
    ),
    "remembers what is settled by name": (
        reconciler,
        'return fingerprint(\n        [\n            request.workspace,\n            meta["uid"],\n',
        'return fingerprint(\n        [request, meta["generation"]]\n        if status\n        else [\n',
    ),
    "remembers the answer's generation as settled": (
        reconciler,
        'self.settled[_mark(request, webapp, written.get("status"), live)] = True',
        'self.settled[_mark(request, written, written.get("status"), live)] = True',
    ),
    "settles what an answer shows to be changed": (
        reconciler,
        "outcome is IN_ORDER and not _is_as_asked(webapp, live, wanted)",
        "False",
    ),
    "drops what has failed": (reconciler, "        results.raise_for_errors()\n", ""),
    "writes the status through the main endpoint": (reconciler, ', subresource="status")', ")"),
    "takes a status for its own whoever wrote it": (reconciler, "        .with_predicates(_CHANGED)\n", ""),
    "does not say which generation it has seen": (
        status,
        '{"observedGeneration": generation, "phase"',
        '{"observedGeneration": 1, "phase"',
    ),
}


def build_with(bug: str) -> Callable[..., Any]:
    """`fastcore.reference.build` of a copy with this bug."""
    module, before, after = BUGS[bug]
    source = inspect.getsource(module)
    assert source.count(before) == 1, f"the reference controller has changed: where is the place for {bug!r} now?"
    copy = ModuleType(f"{module.__name__} that {bug}")
    exec(compile(source.replace(before, after), copy.__name__, "exec"), copy.__dict__)
    if module is reconciler:
        build: Callable[..., Any] = copy.build
        return build
    caller = ModuleType(f"{reconciler.__name__} that {bug}")
    exec(compile(inspect.getsource(reconciler), caller.__name__, "exec"), caller.__dict__)
    for name in ("status_of", "is_synced", "synced_condition"):
        setattr(caller, name, getattr(copy, name))
    build = caller.build
    return build
