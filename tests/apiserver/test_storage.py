"""The store: revisions, records cut out of bytes, history and compaction."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.testing.apiserver.status import StatusError
from fastcore.testing.apiserver.storage import Collection, Event, Record, Store

HEAD = b'{"kind":"ConfigMap","apiVersion":"v1",'


def obj(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", **metadata}, "data": {"k": "v"}}


def put(
    collection: Collection, name: str, workspace: str = "root", namespace: str = "default", **metadata: Any
) -> Record:
    return collection.put((workspace, namespace, name), obj(name, **metadata), {})


@pytest.fixture
def store() -> Store:
    return Store(history=4)


@pytest.fixture
def maps(store: Store) -> Collection:
    return store.collection("", "configmaps")


def test_one_revision_for_all_collections(store: Store, maps: Collection) -> None:
    """Group 2: revisions rise by one with every write, whatever it is."""
    secrets = store.collection("", "secrets")
    revisions = [put(maps, "a").revision, put(secrets, "a").revision, maps.remove(("root", "default", "a")).revision]
    assert revisions == [2, 3, 4]
    assert store.revision == 4


def test_record_round_trip(maps: Collection) -> None:
    record = put(maps, "a", labels={"l": "1"}, annotations={"x": "y"})
    assert record.decode(HEAD) == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "resourceVersion": "2",
            "name": "a",
            "uid": "uid-a",
            "labels": {"l": "1"},
            "annotations": {"x": "y"},
        },
        "data": {"k": "v"},
    }


@pytest.mark.parametrize("annotations", [{}, {"x": "y"}, {"resourceVersion": "2", 'quote"': '"annotations":{'}])
def test_record_is_cut_without_decoding(maps: Collection, annotations: dict[str, str]) -> None:
    """Revision, annotation and metadata change in the bytes, whatever the values look like."""
    record = put(maps, "a", annotations=annotations)
    later = record.at(1234567)
    assert json.loads(HEAD + later.body) == record.decode(HEAD) | {
        "metadata": record.decode(HEAD)["metadata"] | {"resourceVersion": "1234567"}
    }
    marked = json.loads(HEAD + record.annotated("kcp.io/cluster", "team-a"))
    assert marked["metadata"]["annotations"] == annotations | {"kcp.io/cluster": "team-a"}
    assert json.loads(b"{" + later.body[: later.metadata_end] + b"}")["metadata"]["name"] == "a"


def test_order_and_scope(maps: Collection) -> None:
    """Group 6: lists are in the order of workspace, namespace, name; a prefix of a name is no scope."""
    for workspace, namespace, name in [
        ("b", "n", "a"),
        ("a", "nn", "x"),
        ("a", "n", "z"),
        ("a", "n", "b"),
        ("aa", "n", "c"),
    ]:
        put(maps, name, workspace, namespace)
    assert [key[2] for key in maps.scope("a", "n")] == ["b", "z"]
    assert [key[2] for key in maps.scope("a", "")] == ["b", "z", "x"]
    assert [key[2] for key in maps.scope(None, "n")] == ["b", "z", "c", "a"]
    assert [record.key for record in maps.select(None, "")] == sorted(maps.records)


def test_state_at_a_revision(maps: Collection) -> None:
    """Group 6: an old list shows objects that have changed or gone since, and none that came later."""
    put(maps, "a")
    first = put(maps, "b")
    put(maps, "a", labels={"new": "1"})
    maps.remove(("root", "default", "b"))
    put(maps, "c")
    old = maps.select_at("root", "default", first.revision)
    assert [(record.key[2], record.labels) for record in old] == [("a", None), ("b", None)]
    assert [r.key[2] for r in maps.select_at("root", "default", 6)] == ["a", "c"]


def test_history_is_bounded(maps: Collection) -> None:
    """Group 7: what has left the history answers 410."""
    for index in range(20):
        put(maps, f"m{index}")
    assert len(maps.history) < 8
    assert [event.revision for event in maps.since(maps.floor)] == list(range(maps.floor + 1, 22))
    with pytest.raises(StatusError) as caught:
        maps.since(maps.floor - 1)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    with pytest.raises(StatusError, match="too old"):
        maps.select_at("root", "", 2)


def test_compaction(store: Store, maps: Collection) -> None:
    """Group 7: also for collections that are made later."""
    put(maps, "a")
    store.compact()
    assert list(maps.since(store.revision)) == []
    with pytest.raises(StatusError):
        maps.since(store.revision - 1)
    with pytest.raises(StatusError):
        store.collection("", "secrets").since(store.revision - 1)


def test_future_revision(store: Store, maps: Collection) -> None:
    """Group 7: 504 with retryAfterSeconds 1."""
    with pytest.raises(StatusError) as caught:
        maps.select_at("root", "", 99)
    error = caught.value
    assert (error.code, error.reason, error.retry_after) == (504, "Timeout", 1)
    assert error.status()["details"]["retryAfterSeconds"] == 1


def test_watchers_by_workspace(maps: Collection) -> None:
    seen: list[tuple[str, str]] = []

    def one(event: Event) -> None:
        seen.append(("a", event.new.key[2]))

    def every(event: Event) -> None:
        seen.append(("*", event.new.key[2]))

    maps.subscribe("a", one)
    maps.subscribe(None, every)
    put(maps, "x", "a")
    put(maps, "y", "b")
    maps.unsubscribe("a", one)
    maps.unsubscribe("a", one)
    put(maps, "z", "a")
    assert seen == [("a", "x"), ("*", "x"), ("*", "y"), ("*", "z")]


def test_rewrite_is_silent(store: Store, maps: Collection) -> None:
    put(maps, "a")
    maps.rewrite(("root", "default", "a"), obj("a", labels={"n": "1"}), {})
    record = maps.records["root", "default", "a"]
    assert (store.revision, record.revision, record.labels, len(maps.history)) == (2, 2, {"n": "1"}, 1)


def test_history_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Store(0)


writes = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.booleans()), max_size=30)


@given(writes)
def test_every_old_state_can_be_read(steps: list[tuple[str, str, bool]]) -> None:
    """Group 6: as long as history reaches back, a list at a revision is what the list was then."""
    store = Store(history=100)
    maps = store.collection("", "configmaps")
    then: dict[int, list[str]] = {store.revision: []}
    for name, namespace, delete in steps:
        key = ("root", namespace, name)
        if delete and key in maps.records:
            maps.remove(key)
        else:
            put(maps, name, namespace=namespace)
        then[store.revision] = [f"{k[1]}/{k[2]}@{r.revision}" for k, r in sorted(maps.records.items())]
        assert maps.keys == sorted(maps.records)
    for revision, expected in then.items():
        found = maps.select_at("root", "", revision)
        assert [f"{r.key[1]}/{r.key[2]}@{r.revision}" for r in found] == expected
