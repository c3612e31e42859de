"""The store: what changes, what the indexes know, and what our own writes may do to it."""

from random import Random
from typing import Any, NamedTuple

import pytest

from controller.scripted import config_map
from fastcore.controller.client import encode
from fastcore.controller.frames import read_item
from fastcore.controller.store import Store
from fastcore.objects import ObjectStore


class Change(NamedTuple):
    """What a change has to be equal to."""

    old: Any
    new: Any


def labels(obj):
    return obj["metadata"].get("labels", {}).values()


def empty(partial=False):
    return Store(ObjectStore(), partial=partial)


def item(obj):
    return read_item(encode(obj))


def held(store):
    return {key: store.objects.get(key) for key in store.objects}


def at(revision, *objects):
    """A store that was filled by a list."""
    store = empty()
    store.add_index("label", labels)
    replace(store, objects, str(revision))
    return store


def replace(store, objects, revision):
    return store.replace(map(item, objects), revision)


def observe(store, obj):
    return store.observe(item(obj))


def feed(store, change, obj):
    """As the reflector does."""
    store.revision = obj["metadata"]["resourceVersion"]
    return store.apply(change, item(obj))


A1, A2, A3 = (config_map("a", n) for n in (1, 2, 3))


# --- The watch


def test_events_add_update_and_delete():
    store = at(0)
    assert feed(store, "ADDED", A1) == [Change(None, A1)]
    assert feed(store, "MODIFIED", A2) == [Change(A1, A2)]
    assert feed(store, "DELETED", A3) == [Change(A3, None)]
    assert held(store) == {}


def test_an_event_of_another_kind_than_the_store_expects_is_taken_for_what_it_says():
    """An ADDED for a known object updates it, a MODIFIED for an unknown one adds it, a DELETED for none is nothing."""
    store = at(0)
    assert feed(store, "MODIFIED", A1) == [Change(None, A1)]
    assert feed(store, "ADDED", A2) == [Change(A1, A2)]
    assert feed(store, "DELETED", config_map("b", 3)) == []


def test_the_same_version_is_no_change():
    """RF-9: keys with the same RV must not fire an update."""
    store = at(1, A1)
    again = config_map("a", 1)
    assert feed(store, "MODIFIED", again) == []
    assert replace(store, [config_map("a", 1)], "5") == []
    assert held(store)["default", "a"] == A1, "the object that others hold stays"


def test_another_uid_is_a_deletion_and_an_addition():
    """IN-7: delete + recreate between two syncs surfaces as delete then add."""
    store = at(1, A1)
    new = config_map("a", 9, uid="another")
    assert feed(store, "MODIFIED", new) == [Change(A1, None), Change(None, new)]
    newest = config_map("a", 12, uid="third")
    assert replace(store, [newest], "12") == [Change(new, None), Change(None, newest)]


def test_replace_leaves_no_ghosts():
    """RF-9: absent keys are deleted with the last known object, changed ones updated, equal ones left alone."""
    b, c, d = config_map("b", 2), config_map("c", 3), config_map("d", 4)
    store = at(4, A1, b, c)
    c7 = config_map("c", 7)
    changes = replace(store, [c7, config_map("b", 2), d], "8")
    assert changes == [Change(A1, None), Change(c, c7), Change(None, d)]
    assert set(held(store)) == {("default", "b"), ("default", "c"), ("default", "d")}
    assert store.revision == "8"


# --- Indexes


def test_an_index_follows_its_objects():
    """IN-4: after any update or delete no key points at a stale object."""
    red, blue = config_map("a", 2, labels={"c": "red"}), config_map("a", 3, labels={"c": "blue", "d": "big"})
    store = at(1, A1)
    assert store.objects.by_index("label", "red") == []
    feed(store, "MODIFIED", red)
    assert store.objects.by_index("label", "red") == [red]
    feed(store, "MODIFIED", blue)
    assert store.objects.by_index("label", "red") == []
    assert store.objects.by_index("label", "blue") == store.objects.by_index("label", "big") == [blue]
    feed(store, "DELETED", blue)
    assert store.objects.by_index("label", "blue") == []


def test_replace_rebuilds_indexes():
    """IN-4."""
    store = at(1, config_map("a", 1, labels={"c": "red"}))
    b = config_map("b", 2, labels={"c": "red"})
    replace(store, [b], "2")
    assert store.objects.by_index("label", "red") == [b]


def test_an_index_added_late_is_filled():
    """IN-3: an index after start behaves as if it had been there."""
    store = at(1, A1)
    store.add_index("name", lambda obj: [obj["metadata"]["name"]])
    assert store.objects.by_index("name", "a") == [A1]


def test_an_index_function_that_repeats_itself_or_changes_its_mind():
    """IN-4: the values of an object are remembered, whatever the function says later."""
    answers = iter([["x", "x", "y"], ["z"], []])
    store = empty()
    store.add_index("moody", lambda _: next(answers))
    replace(store, [], "0")
    feed(store, "ADDED", A1)
    assert store.objects.by_index("moody", "x") == [A1]
    feed(store, "MODIFIED", A2)
    assert store.objects.by_index("moody", "x") == store.objects.by_index("moody", "y") == []
    assert store.objects.by_index("moody", "z") == [A2]
    feed(store, "MODIFIED", A3)
    assert store.objects.by_index("moody", "z") == []


@pytest.mark.parametrize("values", [[["unhashable"]], None, 7])
def test_an_index_function_that_fails_costs_its_object_only_this_index(values, caplog):
    """IN-4: the store stays whole."""
    store = at(0)
    store.add_index("bad", lambda _: values)
    feed(store, "ADDED", A1)
    assert held(store)["default", "a"] == A1
    assert store.objects.by_index("bad", "x") == []
    assert "index 'bad' failed on default/a" in caplog.text


def test_index_names_are_checked():
    store = at(0)
    with pytest.raises(ValueError, match="there is already an index 'label'"):
        store.add_index("label", labels)
    with pytest.raises(ValueError, match=r"there is no index 'nope', only \['label'\]"):
        store.objects.by_index("nope", 1)


# --- Our own writes


def test_our_write_is_seen_before_its_event_and_the_event_changes_nothing():
    """RF-11: a newer version, compared as a number, is put in; its own event is the same version."""
    store = at(9, config_map("a", 9))
    a10 = config_map("a", 10)
    assert observe(store, a10) == [Change(config_map("a", 9), a10)]
    assert feed(store, "MODIFIED", config_map("a", 10)) == []
    assert held(store)["default", "a"] == a10


def test_an_older_event_does_not_undo_our_write():
    """WR-8: a read after our write does not go back behind it."""
    store = at(1, A1)
    ours = config_map("a", 5)
    observe(store, ours)
    assert feed(store, "MODIFIED", A2) == []
    assert held(store)["default", "a"] == ours
    later = config_map("a", 6)
    assert feed(store, "MODIFIED", later) == [Change(ours, later)]


def test_a_later_event_that_came_first_wins():
    store = at(1, A1)
    feed(store, "MODIFIED", A3)
    assert observe(store, A2) == []
    assert held(store)["default", "a"] == A3


def test_a_deleted_object_does_not_come_back():
    """WR-8: what the watch has passed has nothing to learn from an answer."""
    store = at(1, A1)
    feed(store, "DELETED", A3)
    assert observe(store, A2) == []
    assert held(store) == {}


def test_the_deletion_of_a_predecessor_does_not_delete_what_we_created():
    store = at(1, A1)
    new = config_map("a", 5, uid="another")
    assert observe(store, new) == [Change(A1, None), Change(None, new)]
    assert feed(store, "DELETED", A3) == []
    assert feed(store, "ADDED", config_map("a", 5, uid="another")) == []
    assert held(store)["default", "a"] == new


def test_a_list_older_than_our_write_keeps_it_and_a_newer_one_decides():
    store = at(1, A1)
    ours, created = config_map("a", 5), config_map("b", 6)
    observe(store, ours)
    observe(store, created)
    assert replace(store, [A2], "4") == []
    assert set(held(store)) == {("default", "a"), ("default", "b")}
    assert replace(store, [config_map("a", 5)], "9") == [Change(created, None)]


def test_versions_that_are_no_numbers_are_not_compared():
    """RF-11: only when both parse."""
    store = empty()
    replace(store, [config_map("a", "x1")], "x9")
    assert observe(store, config_map("a", 99)) == []
    store.revision = "9"
    assert observe(store, config_map("a", "x99")) == []
    fresh = empty()
    assert observe(fresh, A1) == [], "nothing is known before the first list"


def test_with_a_selector_an_unknown_object_is_not_taken_in():
    """An answer does not say whether the object fits the selector."""
    store = empty(partial=True)
    replace(store, [A1], "1")
    assert observe(store, config_map("b", 5)) == []
    assert observe(store, config_map("a", 5, uid="another")) == []
    ours = config_map("a", 6)
    assert observe(store, ours) == [Change(A1, ours)]


def test_with_a_selector_an_object_that_left_it_before_our_write_goes():
    """Its deletion is the only event that will ever come."""
    store = empty(partial=True)
    replace(store, [A1], "1")
    observe(store, config_map("a", 5))
    assert feed(store, "DELETED", A2) == [Change(A2, None)]
    assert held(store) == {}


class History:
    """A server, a watch that lags behind it, and answers of our writes that come in any order, by chance."""

    def __init__(self, random, partial):
        self.random = random
        self.partial = partial
        self.trail = []
        self.revision = 1
        self.uids = 0
        self.server = {}
        self.events = []
        self.delivered = 0
        self.answers = []
        self.store = empty(self.partial)
        self.store.add_index("label", labels)
        self.mirror = {}
        self.read = {}
        self.told(replace(self.store, [], "1"))

    def told(self, changes):
        """Follow the changes as a handler does."""
        for old, new in changes:
            name = (old or new)["metadata"]["name"]
            if old is None:
                assert name not in self.mirror
            else:
                assert self.mirror[name]["metadata"]["uid"] == old["metadata"]["uid"]
            if new is None:
                del self.mirror[name]
            else:
                self.mirror[name] = new

    def write(self, name, selected=True):
        self.revision += 1
        old = self.server.get(name)
        if old is None:
            self.uids += 1
        uid = old["metadata"]["uid"] if old else f"u{self.uids}"
        meta = {"uid": uid, "labels": {"parity": str(self.revision % 2)}}
        obj = config_map(name, self.revision, {"selected": selected or not self.partial}, **meta)
        self.server[name] = obj
        self.changed(old, obj)
        return obj

    def changed(self, old, new):
        """What the watch will say of it: with a selector, leaving and entering it are deletions and additions."""
        was, now = old is not None and old["data"]["selected"], new is not None and new["data"]["selected"]
        if was or now:
            change = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
            last = {**(old or new), "metadata": {**(old or new)["metadata"], "resourceVersion": str(self.revision)}}
            self.events.append((change, last if change == "DELETED" else new))

    def others_write(self):
        self.write(self.random.choice("ab"), self.random.random() < 0.5)

    def we_write(self):
        self.answers.append(self.write(self.random.choice("ab"), self.random.random() < 0.5))

    def a_delete(self):
        name = self.random.choice("ab")
        if name in self.server:
            self.revision += 1
            self.changed(self.server.pop(name), None)

    def the_watch_brings_events(self):
        self.bring(self.random.randrange(1, 4))

    def bring(self, number):
        for change, obj in self.events[self.delivered : self.delivered + number]:
            self.told(feed(self.store, change, obj))
            self.delivered += 1

    def the_watch_brings_a_bookmark(self):
        if self.delivered == len(self.events):
            self.store.revision = str(self.revision)

    def an_answer_arrives(self):
        if not self.answers:
            return
        answer = self.answers.pop(self.random.randrange(len(self.answers)))
        revision = int(answer["metadata"]["resourceVersion"])
        self.told(observe(self.store, answer))
        if not self.partial:
            name = answer["metadata"]["name"]
            self.read[name] = max(revision, self.read.get(name, 0))

    def a_relist(self):
        """Not older than what the watch brought, not newer than now."""
        end = self.random.randint(self.delivered, len(self.events))
        state = {}
        for change, obj in self.events[:end]:
            name = obj["metadata"]["name"]
            if change == "DELETED":
                del state[name]
            else:
                state[name] = obj
        revision = self.events[end - 1][1]["metadata"]["resourceVersion"] if end else "1"
        if int(revision) >= int(self.store.revision):
            self.told(replace(self.store, state.values(), revision))
            self.delivered = end

    def handlers_know_what_the_store_holds(self):
        assert {key[1]: obj for key, obj in held(self.store).items()} == self.mirror

    def our_writes_are_read(self):
        """WR-8: from its answer on, no read goes back behind our write, unless the watch has passed it."""
        for name, revision in self.read.items():
            now = self.store.objects.get(("default", name))
            assert int(self.store.revision) >= revision or int(now["metadata"]["resourceVersion"]) >= revision

    def indexes_know_what_the_store_holds(self):
        for value in "01":
            wanted = [o for o in held(self.store).values() if o["metadata"]["labels"]["parity"] == value]
            assert sorted(map(str, self.store.objects.by_index("label", value))) == sorted(map(str, wanted))

    def there_are_no_ghosts(self):
        """RF-9: nothing stays that the watch has seen deleted."""
        for change, obj in self.events[: self.delivered]:
            now = self.store.objects.get(("default", obj["metadata"]["name"]))
            if change == "DELETED" and now is not None:
                assert int(now["metadata"]["resourceVersion"]) > int(obj["metadata"]["resourceVersion"])

    def everything_arrives(self):
        """IN-1: then the store is what the server has."""
        self.bring(len(self.events))
        while self.answers:
            self.told(observe(self.store, self.answers.pop()))
        wanted = {name: obj for name, obj in self.server.items() if obj["data"]["selected"]}
        assert {key[1]: obj for key, obj in held(self.store).items()} == wanted == self.mirror
        assert self.store._ahead == {}

    STEPS = (
        others_write,
        we_write,
        a_delete,
        the_watch_brings_events,
        the_watch_brings_a_bookmark,
        an_answer_arrives,
        a_relist,
        everything_arrives,
    )

    def run(self, number):
        for _ in range(number):
            step = self.random.choice(self.STEPS)
            self.trail.append(step.__name__)
            step(self)
            self.handlers_know_what_the_store_holds()
            self.our_writes_are_read()
            self.indexes_know_what_the_store_holds()
            self.there_are_no_ghosts()
        self.everything_arrives()


@pytest.mark.parametrize("partial", [False, True], ids=["everything", "selected"])
def test_any_order_of_events_answers_and_lists(partial):
    """IN-1, IN-4, RF-9, RF-11, WR-8: never a ghost, never a lost event, our writes are read, and it all converges.

    With a selector, objects enter and leave the collection too.
    """
    for seed in range(400):
        history = History(Random(seed), partial)
        try:
            history.run(40)
        except AssertionError as error:
            error.add_note(f"seed {seed}: {', '.join(history.trail)}")
            raise


def test_a_server_that_begins_anew_takes_our_writes_with_it():
    """A list older than what the watch has brought is another history, in which a write of ours never happened."""
    store = at(5, A1)
    observe(store, config_map("b", 9))
    assert replace(store, [], "3") == [Change(A1, None), Change(config_map("b", 9), None)]
    assert held(store) == {}
    assert feed(store, "ADDED", config_map("b", 4)) == [Change(None, config_map("b", 4))]
