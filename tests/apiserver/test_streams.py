"""Watches without sockets: starting points, transitions, bookmarks, ends."""

import json

import pytest

from apiserver.conftest import MAPS, Local, brief, config_map, lines


def test_from_a_revision(local: Local) -> None:
    """RF-3: only what came later, history first, then live."""
    start = local.post(MAPS, config_map("a")).revision
    local.post(MAPS, config_map("b"))
    stream = local.stream(MAPS, resourceVersion=start)
    local.delete(f"{MAPS}/b")
    assert brief(stream) == [("ADDED", "b"), ("DELETED", "b")]


@pytest.mark.parametrize("start", [{}, {"resourceVersion": "0"}])
def test_from_nothing(local: Local, start: dict[str, str]) -> None:
    """RF-3: the present state as ADDED, then live."""
    local.post(MAPS, config_map("b"))
    local.post(MAPS, config_map("a"))
    stream = local.stream(MAPS, **start)
    local.patch(f"{MAPS}/a", {"data": {"k": "2"}})
    assert brief(stream) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a")]


def test_initial_events_end(local: Local) -> None:
    """RF-2: the annotated bookmark carries the revision of the state that was sent."""
    revision = local.post(MAPS, config_map("a")).revision
    stream = local.stream(MAPS, sendInitialEvents=True, resourceVersionMatch="NotOlderThan", allowWatchBookmarks=True)
    added, mark = lines(stream)
    assert added["type"] == "ADDED"
    assert mark["object"]["metadata"] == {
        "resourceVersion": revision,
        "annotations": {"k8s.io/initial-events-end": "true"},
    }
    assert mark["object"]["kind"] == "ConfigMap"


def test_no_initial_events(local: Local) -> None:
    local.post(MAPS, config_map("a"))
    stream = local.stream(MAPS, sendInitialEvents=False, resourceVersionMatch="NotOlderThan")
    local.post(MAPS, config_map("b"))
    assert brief(stream) == [("ADDED", "b")]


def test_selector_transitions(local: Local) -> None:
    """Group 7: leaving the selector is DELETED with the last state that matched, under the new revision."""
    local.post(MAPS, config_map("a", {"k": "1"}, labels={"on": "1"}))
    stream = local.stream(MAPS, labelSelector="on=1")
    gone = local.patch(f"{MAPS}/a", {"metadata": {"labels": {"on": "0"}}, "data": {"k": "2"}}).revision
    local.patch(f"{MAPS}/a", {"data": {"k": "3"}})
    local.patch(f"{MAPS}/a", {"metadata": {"labels": {"on": "1"}}})
    local.delete(f"{MAPS}/a")
    events = lines(stream)
    assert [event["type"] for event in events] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    left = events[1]["object"]
    assert (left["metadata"]["resourceVersion"], left["metadata"]["labels"], left["data"]) == (
        gone,
        {"on": "1"},
        {"k": "1"},
    )


def test_deleted_outside_the_selector(local: Local) -> None:
    local.post(MAPS, config_map("a"))
    stream = local.stream(MAPS, fieldSelector="metadata.name=b")
    local.delete(f"{MAPS}/a")
    assert lines(stream) == []


def test_namespace_of_a_watch(local: Local) -> None:
    stream = local.stream(MAPS)
    other = "/api/v1/namespaces/kube-public/configmaps"
    local.post(other, config_map("a"))
    assert brief(stream) == []
    assert brief(local.stream("/api/v1/configmaps")) == [("ADDED", "a")]


def test_delete_has_a_new_revision(local: Local) -> None:
    """WR-5: DELETED carries the revision of the delete."""
    created = int(local.post(MAPS, config_map("a")).revision)
    stream = local.stream(MAPS, resourceVersion=created)
    local.delete(f"{MAPS}/a")
    assert int(lines(stream)[0]["object"]["metadata"]["resourceVersion"]) == created + 1


def test_bookmarks(local: Local) -> None:
    """RF-4: only for who allows them, and only when the revision has moved."""
    stream = local.stream(MAPS, allowWatchBookmarks=True)
    plain = local.stream(MAPS)
    stream.bookmark()
    assert lines(stream) == []
    revision = local.post("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}}).revision
    stream.bookmark()
    stream.bookmark()
    plain.bookmark()
    (mark,) = lines(stream)
    assert (mark["type"], mark["object"]["metadata"]) == ("BOOKMARK", {"resourceVersion": revision})
    assert lines(plain) == []


def test_expired_start(local: Local) -> None:
    """RF-5: a start from before the history is an ERROR event with code 410, and the end."""
    start = local.post(MAPS, config_map("a")).revision
    local.post(MAPS, config_map("b"))
    local.api.store.compact()
    stream = local.stream(MAPS, resourceVersion=start)
    (event,) = lines(stream)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert stream.ended


def test_future_start(local: Local) -> None:
    """Group 7: a streaming list from the future fails with 504; a plain watch just waits."""
    stream = local.stream(MAPS, resourceVersion=99, sendInitialEvents=True, resourceVersionMatch="NotOlderThan")
    (event,) = lines(stream)
    assert event["object"]["details"] == {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    waiting = local.stream(MAPS, resourceVersion=local.api.store.revision + 1)
    local.post(MAPS, config_map("a"))
    local.post(MAPS, config_map("b"))
    assert brief(waiting) == [("ADDED", "b")]


def test_slow_consumer() -> None:
    """Group 7: who does not read loses the watch; the memory it holds is bounded."""
    local = Local(watch_buffer=3)
    for name in "abcde":
        local.post(MAPS, config_map(name))
    stream = local.stream(MAPS)
    assert len(brief(stream)) == 5, "the state that was asked for does not count as slowness"
    for name in "fghi":
        local.post(MAPS, config_map(name))
    assert stream.ended
    assert stream.cut
    assert lines(stream) == []
    local.post(MAPS, config_map("z"))
    assert lines(stream) == [], "nothing more comes"


def test_bytes_are_shared(local: Local) -> None:
    """Watchers of one view get the same bytes: encoded once."""
    streams = [local.stream(MAPS) for _ in range(2)]
    local.post(MAPS, config_map("a"))
    first, second = (stream.take() for stream in streams)
    assert first is second


def test_metadata_only(local: Local) -> None:
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    stream = local.stream(MAPS, accept, allowWatchBookmarks=True)
    local.post(MAPS, config_map("a"))
    stream.bookmark()
    added, mark = lines(stream)
    assert added["object"].keys() == {"kind", "apiVersion", "metadata"}
    assert added["object"]["kind"] == mark["object"]["kind"] == "PartialObjectMetadata"


def test_table_rows(local: Local) -> None:
    stream = local.stream(MAPS, "application/json;as=Table;g=meta.k8s.io;v=v1,application/json")
    local.post(MAPS, config_map("a"))
    (event,) = lines(stream)
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][:2] == ["a", 1]


def test_wake_and_end(local: Local) -> None:
    """The carrier hears of lines and of the end; a finished watch is forgotten."""
    woken: list[bool] = []
    stream = local.stream(MAPS)
    stream.wake = lambda: woken.append(stream.ended)
    local.post(MAPS, config_map("a"))
    local.api.finished(stream)
    local.api.finished(stream)
    local.post(MAPS, config_map("b"))
    assert woken[:2] == [False, True]
    assert brief(stream) == [("ADDED", "a")]
    assert not local.api.watches


def test_cut_watches(local: Local) -> None:
    streams = [local.stream(MAPS), local.stream("/api/v1/secrets")]
    assert local.api.cut_watches() == 2
    assert all(stream.ended and stream.cut for stream in streams)


def test_lines_end_with_newlines(local: Local) -> None:
    stream = local.stream(MAPS)
    local.post(MAPS, config_map("a", {"k": "line\nbreak"}))
    raw = stream.take()
    assert raw.endswith(b"\n")
    assert json.loads(raw)["object"]["data"] == {"k": "line\nbreak"}
