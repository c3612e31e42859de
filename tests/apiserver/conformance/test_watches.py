"""Group 7: watches."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from apiserver.http_client import Client
from apiserver.objects import config_map, demo

INITIAL_END = "k8s.io/initial-events-end"


def take(events: Iterator[dict[str, Any]], count: int) -> list[tuple[str, str]]:
    """Type and name of the next events."""
    return [(event["type"], event["object"]["metadata"]["name"]) for event in itertools.islice(events, count)]


def test_from_a_revision(server: Client, maps: str) -> None:
    """RF-3: only what came later, in order, each with its revision."""
    server.post(maps, config_map("old"))
    start = server.get(maps).revision
    with server.watch(maps, resourceVersion=start) as events:
        server.post(maps, config_map("a"))
        server.patch(f"{maps}/a", {"data": {"k": "v"}})
        server.delete(f"{maps}/a")
        seen = list(itertools.islice(events, 3))
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert all(event["object"]["kind"] == "ConfigMap" for event in seen)
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert revisions == sorted(set(revisions))
    assert revisions[0] > int(start)


def test_replays_the_past(server: Client, maps: str) -> None:
    """RF-3: what happened between the list and the watch is not lost."""
    start = server.get(maps).revision
    server.post(maps, config_map("a"))
    server.delete(f"{maps}/a")
    server.post(maps, config_map("b"))
    with server.watch(maps, resourceVersion=start) as events:
        assert take(events, 3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
def test_from_nowhere(server: Client, maps: str, query: dict[str, str]) -> None:
    """RF-3: without a revision the present comes first, as ADDED."""
    server.post(maps, config_map("a"))
    server.post(maps, config_map("b"))
    with server.watch(maps, **query) as events:
        assert sorted(take(events, 2)) == [("ADDED", "a"), ("ADDED", "b")]
        server.patch(f"{maps}/b", {"data": {"k": "v"}})
        assert take(events, 1) == [("MODIFIED", "b")]


def test_noop_writes_are_no_events(server: Client, maps: str) -> None:
    """WR-3: nothing changed, nothing to tell."""
    server.post(maps, config_map("a", {"k": "v"}))
    start = server.get(maps).revision
    with server.watch(maps, resourceVersion=start) as events:
        server.put(f"{maps}/a", config_map("a", {"k": "v"}))
        server.apply(f"{maps}/b", config_map("b"), "me")
        server.apply(f"{maps}/b", config_map("b"), "me")
        server.post(maps, config_map("c"))
        assert take(events, 2) == [("ADDED", "b"), ("ADDED", "c")]


def test_deleted_object_is_the_last_state(server: Client, maps: str) -> None:
    """WR-5: DELETED carries a new revision."""
    created = server.post(maps, config_map("a", {"k": "v"}, finalizers=["x.dev/one"]))
    with server.watch(maps, resourceVersion=created.revision) as events:
        marked = server.delete(f"{maps}/a")
        server.patch(f"{maps}/a", {"metadata": {"finalizers": None}})
        modified, deleted = itertools.islice(events, 2)
    assert (modified["type"], deleted["type"]) == ("MODIFIED", "DELETED")
    assert modified["object"]["metadata"]["resourceVersion"] == marked.revision
    assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(marked.revision)
    assert deleted["object"]["data"] == {"k": "v"}


def test_selector_transitions(server: Client, maps: str) -> None:
    """Group 7: an object that leaves the selector is DELETED, one that enters it is ADDED."""
    start = server.get(maps).revision
    with server.watch(maps, resourceVersion=start, labelSelector="on=yes") as events:
        server.post(maps, config_map("a", labels={"on": "yes"}))
        server.post(maps, config_map("b", labels={"on": "no"}))
        server.patch(f"{maps}/a", {"metadata": {"labels": {"on": "no"}}})
        server.patch(f"{maps}/b", {"metadata": {"labels": {"on": "yes"}}})
        server.patch(f"{maps}/b", {"data": {"k": "v"}})
        server.delete(f"{maps}/a")
        server.delete(f"{maps}/b")
        seen = list(itertools.islice(events, 5))
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in seen] == [
        ("ADDED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "b"),
        ("DELETED", "b"),
    ]
    assert seen[1]["object"]["metadata"]["labels"] == {"on": "yes"}


def test_one_object(server: Client, maps: str) -> None:
    """Group 7: a field selector by name watches one object."""
    start = server.get(maps).revision
    with server.watch(maps, resourceVersion=start, fieldSelector="metadata.name=b") as events:
        server.post(maps, config_map("a"))
        server.post(maps, config_map("b"))
        assert take(events, 1) == [("ADDED", "b")]


def test_other_namespaces(server: Client, maps: str, namespace: str) -> None:
    """Group 7: a watch of a namespace sees no other."""
    server.post("/api/v1/namespaces", {"metadata": {"name": f"{namespace}-b"}})
    start = server.get(maps).revision
    with server.watch(maps, resourceVersion=start) as events:
        server.post(f"/api/v1/namespaces/{namespace}-b/configmaps", config_map("elsewhere"))
        server.post(maps, config_map("here"))
        assert take(events, 1) == [("ADDED", "here")]


def test_initial_events(server: Client, maps: str) -> None:
    """RF-2: the present, then the annotated bookmark, then the changes, on one stream."""
    server.post(maps, config_map("a"))
    server.post(maps, config_map("b"))
    query = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": True}
    with server.watch(maps, **query) as events:
        assert sorted(take(events, 2)) == [("ADDED", "a"), ("ADDED", "b")]
        bookmark = next(events)
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["kind"] == "ConfigMap"
        meta = bookmark["object"]["metadata"]
        assert meta["annotations"] == {INITIAL_END: "true"}
        server.post(maps, config_map("c"))
        added = next(events)
        assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "c")
        assert int(added["object"]["metadata"]["resourceVersion"]) > int(meta["resourceVersion"])


def test_initial_events_need_a_match(server: Client, maps: str) -> None:
    """RF-2: 422 without resourceVersionMatch=NotOlderThan."""
    answer = server.get(maps, watch=True, sendInitialEvents=True)
    assert (answer.code, answer.causes[0]["field"]) == (422, "resourceVersionMatch")


def test_timeout(server: Client, maps: str) -> None:
    """RF-7: timeoutSeconds ends the stream cleanly, with a last bookmark if those are wanted."""
    start = server.get(maps).revision
    with server.watch(maps, resourceVersion=start, timeoutSeconds=1) as events:
        assert list(events) == []
    server.post(maps, config_map("a"))
    with server.watch(maps, resourceVersion=start, timeoutSeconds=1, allowWatchBookmarks=True) as events:
        seen = list(events)
    assert (seen[0]["type"], {event["type"] for event in seen[1:]}) in (("ADDED", {"BOOKMARK"}), ("ADDED", set()))


def test_metadata_only(server: Client, maps: str) -> None:
    """Group 7: the events carry PartialObjectMetadata."""
    start = server.get(maps).revision
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    with server.watch(maps, resourceVersion=start, accept=accept) as events:
        server.post(maps, config_map("a", {"k": "v"}))
        event = next(events)
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert "data" not in event["object"]


def test_custom_kinds(server: Client, demos: str) -> None:
    """Group 7: the same for custom kinds, status included."""
    start = server.get(demos).revision
    with server.watch(demos, resourceVersion=start) as events:
        server.post(demos, demo("a"))
        server.patch(f"{demos}/a/status", {"status": {"phase": "Ready"}})
        first, second = itertools.islice(events, 2)
    assert (first["type"], second["type"]) == ("ADDED", "MODIFIED")
    assert second["object"]["status"] == {"phase": "Ready"}


def test_old_form(server: Client, maps: str) -> None:
    """Group 7: `watch` in the path, as old clients do it."""
    start = server.get(maps).revision
    path = maps.replace("/api/v1/", "/api/v1/watch/")
    with server.watch(path, resourceVersion=start) as events:
        server.post(maps, config_map("a"))
        assert take(events, 1) == [("ADDED", "a")]


def test_bad_revision(server: Client, maps: str) -> None:
    """Group 7: what is no revision is refused before the stream begins."""
    answer = server.get(maps, watch=True, resourceVersion="nonsense")
    assert answer.code == 500
    assert "invalid syntax" in answer.message
