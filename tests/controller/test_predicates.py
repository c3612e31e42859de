"""Predicates: the five defects of the classic ones, and combination."""

from itertools import product
from typing import Any

import pytest

from fastcore.controller.predicates import (
    AnnotationChanged,
    DeletionChanged,
    FinalizerChanged,
    GenerationChanged,
    LabelChanged,
    Predicate,
    ResourceVersionChanged,
    SpecOrMetadataChanged,
    Where,
)


def obj(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "generation": 1, **meta}}


def without_generation(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", **meta}}


CHANGES = {
    "generation": (obj(), obj(generation=2)),
    "labels": (obj(), obj(labels={"a": "b"})),
    "annotations": (obj(annotations={"a": "b"}), obj(annotations={"a": "c"})),
    "finalizers": (obj(finalizers=["x"]), obj()),
    "deletionTimestamp": (obj(), obj(deletionTimestamp="2026-01-01T00:00:00Z")),
}


@pytest.mark.parametrize("field", CHANGES)
def test_the_default_sees_generation_labels_annotations_finalizers_and_deletion(field: str) -> None:
    """Defect 3: changes that do not raise the generation are not lost."""
    assert SpecOrMetadataChanged().updated(*CHANGES[field])


def test_the_default_drops_status_updates() -> None:
    old, new = obj(resourceVersion="1"), obj(resourceVersion="2", managedFields=[{}], labels={})
    assert not SpecOrMetadataChanged().updated({**old, "status": {}}, {**new, "status": {"phase": "Ready"}})


def test_deletion_timestamps_are_compared_as_values() -> None:
    """Defect 2: two equal timestamps in two decoded objects are no change."""
    old = obj(deletionTimestamp="2026-01-01T00:00:00" + "Z", resourceVersion="1")
    new = obj(deletionTimestamp="".join(["2026-01-01T00:00:00", "Z"]), resourceVersion="2")
    assert not SpecOrMetadataChanged().updated(old, new)
    assert not DeletionChanged().updated(old, new)


def test_the_default_drops_only_the_primary_s_own_deletion() -> None:
    """Defect 4: this default is for `for_`; what is owned keeps its deletions (see test_builder)."""
    assert not SpecOrMetadataChanged().deleted(obj())
    assert Predicate().deleted(obj())


def test_the_default_passes_resyncs_and_outside_events() -> None:
    """Defect 5."""
    assert SpecOrMetadataChanged().generic(obj())
    assert GenerationChanged().generic(obj())
    assert not ResourceVersionChanged().generic(obj())


@pytest.mark.parametrize("predicate", [SpecOrMetadataChanged(), GenerationChanged()])
def test_kinds_without_generation_pass(predicate: Predicate) -> None:
    """A ConfigMap has no generation: dropping "same generation" would drop every change of it."""
    assert predicate.updated(without_generation(resourceVersion="1"), without_generation(resourceVersion="2"))


@pytest.mark.parametrize(
    ("predicate", "field"),
    [
        (GenerationChanged(), "generation"),
        (LabelChanged(), "labels"),
        (AnnotationChanged(), "annotations"),
        (FinalizerChanged(), "finalizers"),
        (DeletionChanged(), "deletionTimestamp"),
    ],
)
def test_each_predicate_sees_its_own_change_alone(predicate: Predicate, field: str) -> None:
    assert {name for name, change in CHANGES.items() if predicate.updated(*change)} == {field}
    assert predicate.created(obj())
    assert predicate.deleted(obj())


def test_where_restricts_only_what_it_is_given() -> None:
    predicate = Where(
        created=lambda o: "wanted" in o["metadata"],
        updated=lambda old, new: old["metadata"]["generation"] < new["metadata"]["generation"],
    )
    assert predicate.created(obj(wanted=True))
    assert not predicate.created(obj())
    assert predicate.updated(obj(), obj(generation=2))
    assert not predicate.updated(obj(), obj())
    assert predicate.deleted(obj())
    assert predicate.generic(obj())
    nothing = Where(deleted=lambda o: False, generic=lambda o: False)
    assert (nothing.created(obj()), nothing.updated(obj(), obj())) == (True, True)
    assert (nothing.deleted(obj()), nothing.generic(obj())) == (False, False)


def test_where_refuses_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="updated must be a function, not True"):
        Where(updated=True)  # type: ignore[arg-type]


def answers(predicate: Predicate) -> tuple[bool, ...]:
    return predicate.created({}), predicate.updated({}, {}), predicate.deleted({}), predicate.generic({})


@pytest.mark.parametrize(("left", "right"), list(product([False, True], repeat=2)))
def test_combinations_are_those_of_logic(left: bool, right: bool) -> None:
    def constant(value: bool) -> Predicate:
        return Where(
            created=lambda o: value,
            updated=lambda old, new: value,
            deleted=lambda o: value,
            generic=lambda o: value,
        )

    assert answers(constant(left) & constant(right)) == (left and right,) * 4
    assert answers(constant(left) | constant(right)) == (left or right,) * 4
    assert answers(~constant(left)) == (not left,) * 4


def test_combines_only_with_predicates() -> None:
    """Defect 1: a class, or a bare function, is refused before it meets an object."""
    with pytest.raises(TypeError):
        LabelChanged() & LabelChanged  # type: ignore[operator]
    with pytest.raises(TypeError):
        LabelChanged() | (lambda o: True)  # type: ignore[operator]
