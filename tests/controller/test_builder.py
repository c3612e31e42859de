"""What a controller may be built from, and what is refused before it runs."""

from typing import Any

import pytest

from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.handlers import itself
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, SECRET, Kind
from fastcore.controller.options import Options
from fastcore.controller.predicates import (
    AnnotationChanged,
    GenerationChanged,
    LabelChanged,
    Predicate,
    SpecOrMetadataChanged,
)
from fastcore.controller.shard_selector import ShardSelector

SITE = Kind("example.com", "v1", "Site", "sites")


async def reconcile(ctx: Any, request: Any) -> None:
    return None


def nobody(obj: Any) -> list[Any]:
    return []


def builder(name: str = "site") -> ControllerBuilder:
    return ControllerBuilder(Manager(), name)


def obj(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "generation": 1, "labels": {"a": "1"}, **meta}}


def test_the_whole_chain() -> None:
    manager = Manager()
    options = Options(max_concurrent_reconciles=3)
    controller = (
        ControllerBuilder(manager, "site")
        .for_(SITE)
        .owns(DEPLOYMENT, label_selector="app=site", shard_selector=ShardSelector.of(0, 2))
        .watches(SECRET, nobody, field_selector="metadata.name=tls")
        .with_options(options)
        .complete(reconcile)
    )
    assert manager.controllers == {"site": controller}
    assert (controller.name, controller.kind, controller.options) == ("site", SITE, options)
    assert [watch.kind for watch in controller.watches] == [SITE, DEPLOYMENT, SECRET]
    assert [(w.label_selector, w.field_selector, w.shard_selector) for w in controller.watches] == [
        (None, None, None),
        ("app=site", None, ShardSelector.of(0, 2)),
        (None, "metadata.name=tls", None),
    ]
    assert controller.watches[0].mapper is itself


def test_a_name_under_which_no_series_can_be_written_is_refused() -> None:
    """EV-2: the API takes 63 characters."""
    manager, options = Manager(), Options(event_series=True)
    with pytest.raises(ValueError, match="at most 63 letters"):
        ControllerBuilder(manager, "s" * 64).for_(SITE).with_options(options).complete(reconcile)
    assert manager.controllers == {}
    ControllerBuilder(manager, "s" * 63).for_(SITE).with_options(options).complete(reconcile)


def test_each_watch_has_the_predicates_said_after_it() -> None:
    """Defect 1: a predicate never meets an object of another kind."""
    controller = (
        builder()
        .for_(SITE)
        .with_predicates(LabelChanged())
        .owns(DEPLOYMENT)
        .with_predicates(GenerationChanged(), AnnotationChanged())
        .watches(SECRET, nobody)
        .complete(reconcile)
    )
    primary, owned, watched = (watch.predicate for watch in controller.watches)
    assert primary.updated(obj(), obj(labels={}))
    assert not primary.updated(obj(), obj(generation=2))
    assert not owned.updated(obj(), obj(generation=2))
    assert owned.updated(obj(), obj(generation=2, annotations={"a": "b"}))
    assert watched.updated(obj(), obj())


def test_defaults_drop_the_primary_s_status_and_nothing_of_what_is_owned() -> None:
    """Defects 3 and 4: status updates of children count, and so does their deletion."""
    controller = builder().for_(SITE).owns(DEPLOYMENT).watches(SECRET, nobody).complete(reconcile)
    primary, owned, watched = (watch.predicate for watch in controller.watches)
    assert type(primary) is SpecOrMetadataChanged
    assert not primary.deleted(obj())
    for predicate in (owned, watched):
        assert type(predicate) is Predicate
        assert predicate.deleted(obj())


def test_names_are_unique_in_a_manager() -> None:
    """CT-9."""
    manager = Manager()
    ControllerBuilder(manager, "site").for_(SITE).complete(reconcile)
    with pytest.raises(ValueError, match="'site' is taken"):
        ControllerBuilder(manager, "site")
    late = ControllerBuilder(manager, "late").for_(SITE)
    ControllerBuilder(manager, "late").for_(SITE).complete(reconcile)
    with pytest.raises(ValueError, match="'late' is taken"):
        late.complete(reconcile)
    ControllerBuilder(Manager(), "site").for_(SITE).complete(reconcile)


@pytest.mark.parametrize("name", ["", "Site", "-a", "a_b", "a" * 254, "ä"])
def test_names_become_labels_so_they_are_plain(name: str) -> None:
    with pytest.raises(ValueError, match="controller's name"):
        builder(name)


def test_a_predicate_class_is_refused_with_a_hint() -> None:
    """Defect 1: checked type."""
    with pytest.raises(TypeError, match=r"LabelChanged.*call it"):
        builder().for_(SITE).with_predicates(LabelChanged)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Predicate objects, not <function"):
        builder().for_(SITE).with_predicates(nobody)  # type: ignore[arg-type]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="already for Site"):
        builder().for_(SITE).for_(SECRET)
    with pytest.raises(ValueError, match=r"\.for_\(kind\) before \.owns\(Secret\)"):
        builder().owns(SECRET)
    with pytest.raises(ValueError, match=r"call \.for_\(kind\)"):
        builder().watches(SECRET, nobody).complete(reconcile)
    with pytest.raises(ValueError, match="belongs to the watch before it"):
        builder().with_predicates(LabelChanged())
    with pytest.raises(TypeError, match="mapper of Secret"):
        builder().for_(SITE).watches(SECRET, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes Options"):
        builder().for_(SITE).with_options({})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="reconciler is a function"):
        builder().for_(SITE).complete(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Secret twice with different selectors"):
        builder().for_(SITE).owns(SECRET).watches(SECRET, nobody, label_selector="a=b")


def test_one_kind_may_be_owned_and_watched() -> None:
    controller = builder().for_(CONFIG_MAP).owns(SECRET).watches(SECRET, nobody).complete(reconcile)
    assert [watch.kind for watch in controller.watches] == [CONFIG_MAP, SECRET, SECRET]
