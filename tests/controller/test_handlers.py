"""From events to keys: priority, mapping, and errors that stay where they are."""

from typing import Any

import pytest

from fastcore.controller.handlers import Shown, WatchHandler, itself, owner_of
from fastcore.controller.model import DEPLOYMENT, NAMESPACE, Kind, Request
from fastcore.controller.predicates import GenerationChanged, Predicate, Where

SITE = Kind("example.com", "v1", "Site", "sites")


class Sink:
    def __init__(self) -> None:
        self.keys: list[tuple[Request, int, int]] = []
        self.lost = 0

        self.drops: list[Shown] = []

    def enqueue(self, request: Request, priority: int, cause: int, shown: Shown | None) -> None:
        self.keys.append((request, priority, cause))

    def dropped(self, handler: WatchHandler, shown: Shown) -> None:
        self.drops.append(shown)

    def failed_event(self) -> None:
        self.lost += 1


def handler(predicate: Predicate | None = None, mapper: Any = itself, first_bit: int = 0) -> tuple[WatchHandler, Sink]:
    sink = Sink()
    return WatchHandler("blue", sink, SITE, predicate or Predicate(), mapper, first_bit), sink


def obj(name: str = "a", version: str = "1", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "resourceVersion": version, **meta}}


def owned_by(*owners: tuple[str, str, str, bool]) -> dict[str, Any]:
    references = [
        {"apiVersion": version, "kind": kind, "name": name, "uid": name, "controller": controller}
        for version, kind, name, controller in owners
    ]
    return obj("child", ownerReferences=references)


A = Request("blue", "default", "a")


def test_objects_of_the_initial_list_and_resyncs_stand_back() -> None:
    """WQ-11."""
    watch, sink = handler()
    watch.on_add(obj(), True)
    watch.on_update(obj(), obj())
    watch.on_add(obj(), False)
    watch.on_update(obj(), obj(version="2"))
    watch.on_delete(obj())
    assert [priority for _, priority, _ in sink.keys] == [-100, -100, 0, 0, 0]
    assert {request for request, _, _ in sink.keys} == {A}


def test_each_event_has_its_cause_bit() -> None:
    watch, sink = handler(first_bit=4)
    watch.on_add(obj(), False)
    watch.on_update(obj(), obj(version="2"))
    watch.on_delete(obj())
    watch.on_update(obj(), obj())
    assert [cause for _, _, cause in sink.keys] == [1 << 4, 1 << 5, 1 << 6, 1 << 7]


def test_predicates_see_the_event_that_it_is() -> None:
    """Defect 5: a resync is asked of `generic`, so a filter of updates does not swallow it."""
    watch, sink = handler(GenerationChanged())
    watch.on_update(obj(generation=1), obj(version="2", generation=1))
    assert sink.keys == []
    watch.on_update(obj(generation=1), obj(generation=1))
    assert len(sink.keys) == 1
    watch, sink = handler(
        Where(created=lambda o: False, updated=lambda a, b: False, deleted=lambda o: False, generic=lambda o: False)
    )
    watch.on_add(obj(), False)
    watch.on_update(obj(), obj(version="2"))
    watch.on_update(obj(), obj())
    watch.on_delete(obj())
    assert sink.keys == []


def test_owners_are_found_by_group_and_kind_among_controller_references() -> None:
    mapper = owner_of(SITE)
    child = owned_by(
        ("example.com/v2", "Site", "mine", True),
        ("example.com/v1", "Site", "no-controller", False),
        ("example.org/v1", "Site", "other-group", True),
        ("v1", "Site", "core-group", True),
        ("example.com/v1", "Page", "other-kind", True),
    )
    assert list(mapper(child)) == [("default", "mine")]
    assert list(mapper(obj())) == []


def test_owners_of_the_core_group_and_without_namespace() -> None:
    child = owned_by(("v1", "Namespace", "team", True), ("example.com/v1", "Namespace", "impostor", True))
    assert list(owner_of(NAMESPACE)(child)) == [("", "team")]


def test_deletion_of_an_owned_object_concerns_its_owner() -> None:
    """Defect 4."""
    watch, sink = handler(mapper=owner_of(DEPLOYMENT))
    watch.on_delete(owned_by(("apps/v1", "Deployment", "web", True)))
    assert [request.name for request, _, _ in sink.keys] == ["web"]


def test_an_update_concerns_the_old_owner_and_the_new_one() -> None:
    watch, sink = handler(mapper=owner_of(SITE))
    old = owned_by(("example.com/v1", "Site", "before", True))
    new = owned_by(("example.com/v1", "Site", "after", True))
    new["metadata"]["resourceVersion"] = "2"
    watch.on_update(old, new)
    assert {request.name for request, _, _ in sink.keys} == {"before", "after"}


def test_a_mapper_may_name_other_workspaces() -> None:
    elsewhere = Request("red", "default", "b")
    watch, sink = handler(mapper=lambda o: [elsewhere, ("x", "y"), ("x", "y")])
    watch.on_add(obj(), False)
    assert {request for request, _, _ in sink.keys} == {elsewhere, Request("blue", "x", "y")}


@pytest.mark.parametrize("part", ["predicate", "mapper"])
def test_what_raises_loses_one_event_and_says_so(part: str, caplog: pytest.LogCaptureFixture) -> None:
    """Defect 1: nothing that user code does with an object ends the informer."""

    def broken(*objects: Any) -> Any:
        raise KeyError("spec")

    if part == "mapper":
        watch, sink = handler(mapper=broken)
    else:
        watch, sink = handler(Where(created=broken, updated=broken, deleted=broken, generic=broken))
    watch.on_add(obj(), False)
    watch.on_update(obj(), obj(version="2"))
    watch.on_update(obj(), obj())
    watch.on_delete(obj())
    assert (sink.lost, sink.keys) == (4, [])
    assert "Site failed for default/a in workspace blue" in caplog.text
