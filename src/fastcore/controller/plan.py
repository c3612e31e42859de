"""What a batch would do, to be read before it is done: each write, its wave, and the changes to the live object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from fastcore.controller.adoption import ForeignObjectError, may_write
from fastcore.controller.client import JSON_PATCH, MERGE_PATCH
from fastcore.controller.managed import dropped_fields, drops_nothing
from fastcore.controller.planner import Chain
from fastcore.controller.results import ItemResult
from fastcore.controller.writes import Adopt, Apply, Create, Delete, Update, Write, key_of_write
from fastcore.diff import Change, apply_json_patch, apply_merge_patch, covers, diff
from fastcore.errors import PatchError

Action = Literal["create", "change", "delete", "skip", "refuse"]
Live = Mapping[str, Any]

_BOOKKEEPING = ("metadata.managedFields", "metadata.resourceVersion", "metadata.generation", "metadata.uid")
_SHOWN = 20  # changes of one write in the text


@dataclass(frozen=True, slots=True)
class Step:
    """What would become of one write.

    Attributes:
        write: the write.
        key: "Apply ConfigMap default/web".
        wave: steps of one wave run at the same time; they count from 0.
        action: "create", "change", "delete", "skip" when nothing would be sent or changed, or "refuse".
        changes: to the live object, as far as they are known; values of a Secret are among them.
        error: why it would be refused.
    """

    write: Write
    key: str
    wave: int
    action: Action
    changes: tuple[Change, ...] = ()
    error: Exception | None = None


class BatchPlan(tuple[Step, ...]):
    """The steps of a batch in the order in which they would run.

    Its text has a line for each step and one for each change: where, but no values.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(line for step in self for line in _lines(step))


def foresee(
    writes: Sequence[Write],
    live: Sequence[Live | None],
    order: list[list[Chain]],
    manager: str,
    adopt: Adopt,
) -> Iterator[Step]:
    """The steps, from the live objects alone. What an earlier write to the same object has done is taken to be what it
    says, merged into the live object.

    Args:
        writes: in the order given.
        live: the object of each, or None.
        order: the waves of their chains.
        manager: our field manager.
        adopt: the batch's rule.
    """
    for wave, chains in enumerate(order):
        for chain in chains:
            now = live[chain.places[0]]
            for place in chain.places:
                write = writes[place]
                try:
                    step, now = _foreseen(write, now, wave, manager, adopt)
                except Exception as error:  # of an object that is none, as in a run
                    step = Step(write, key_of_write(write), wave, "refuse", error=error)
                yield step
            for place in chain.repeats:
                yield Step(writes[place], key_of_write(writes[place]), wave, "skip")


def seen(results: Sequence[ItemResult], live: Sequence[Live | None], order: list[list[Chain]]) -> Iterator[Step]:
    """The steps, from the server's answers to dry runs."""
    for wave, chains in enumerate(order):
        for chain in chains:
            for place in [*chain.places, *chain.repeats]:
                yield _answered(results[place], live[place], wave)


def _foreseen(write: Write, live: Live | None, wave: int, manager: str, adopt: Adopt) -> tuple[Step, Live | None]:
    key = key_of_write(write)
    if isinstance(write, Delete):
        return Step(write, key, wave, "delete" if live is not None else "skip"), None
    if isinstance(write, Create | Apply) and live is None:
        return Step(write, key, wave, "create", tuple(diff({}, write.obj))), write.obj
    if live is None:
        return Step(write, key, wave, "change"), None  # to what, only the server knows
    if isinstance(write, Create):
        return Step(write, key, wave, "refuse", error=ForeignObjectError(write.kind, live)), live
    if isinstance(write, Apply):
        return _foreseen_apply(write, key, live, wave, manager, adopt)
    after = _after(write, live)
    if after is None:
        return Step(write, key, wave, "change"), live
    changes = tuple(diff(live, after, ignore=_BOOKKEEPING))
    return Step(write, key, wave, "change" if changes else "skip", changes), after


def _foreseen_apply(write: Apply, key: str, live: Live, wave: int, manager: str, adopt: Adopt) -> tuple[Step, Live]:
    desired, part = write.obj, write.subresource or ""
    if not part and may_write(live, desired, manager, write.adopt or adopt) is False:
        return Step(write, key, wave, "refuse", error=ForeignObjectError(write.kind, live)), live
    if covers(live, desired) and drops_nothing(live, desired, manager, part):
        return Step(write, key, wave, "skip"), live
    changes = [change for change in diff(live, desired) if change.op != "remove" or isinstance(change.path[-1], int)]
    changes += [Change("remove", path, None, None) for path in dropped_fields(live, desired, manager, part)]
    return Step(write, key, wave, "change", tuple(changes)), apply_merge_patch(live, desired)


def _after(write: Write, live: Live) -> Any:
    """The object after an update or a patch, or None if only the server knows."""
    if isinstance(write, Update):
        return write.obj
    patch_type, patch = getattr(write, "patch_type", ""), getattr(write, "patch", None)
    try:
        if patch_type == MERGE_PATCH:
            return apply_merge_patch(live, patch)
        if patch_type == JSON_PATCH:
            return apply_json_patch(live, patch)
    except PatchError:
        return None
    return None


def _answered(result: ItemResult, live: Live | None, wave: int) -> Step:
    write, key = result.write, result.key
    if result.error is not None:
        return Step(write, key, wave, "refuse", error=result.error)
    if isinstance(write, Delete):
        return Step(write, key, wave, "delete")
    changes = () if result.skipped else tuple(diff(live or {}, result.object, ignore=_BOOKKEEPING))
    if live is None and not result.skipped:
        return Step(write, key, wave, "create", changes)
    return Step(write, key, wave, "change" if changes else "skip", changes)


def _lines(step: Step) -> Iterator[str]:
    yield f"{step.wave}: {step.action:7} {step.key}" + (f": {step.error}" if step.error is not None else "")
    if step.action != "create":
        for change in islice(step.changes, _SHOWN):
            yield f"     {change.op} {change.where}"
        if len(step.changes) > _SHOWN:
            yield f"     and {len(step.changes) - _SHOWN} more"
