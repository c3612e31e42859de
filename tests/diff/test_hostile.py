"""Documents that are no documents: wrong types, endless ones, ones that change while they are read, threads."""

import contextlib
import gc
import sys
import threading
import weakref
from collections.abc import Mapping

import pytest

from diff.documents import deployment, endless, nested


def calls(impl, one, other):
    """Every function that walks two documents, or one."""
    return [
        lambda: impl.diff.diff(one, other),
        lambda: impl.diff.covers(one, other),
        lambda: impl.plan.plan({"k": one}, {"k": other}, exact=True),
        lambda: impl.patch.json_patch(one, other),
        lambda: impl.patch.merge_patch({"x": one}, {"x": other}),
        lambda: impl.patch.apply_merge_patch({}, other),
        lambda: impl.patch.apply_json_patch(one, []),
        lambda: impl.fingerprint.fingerprint(other),
        lambda: impl.strategic.strategic_merge_patch({"x": one}, {"x": other}),
        lambda: impl.strategic.apply_strategic_merge_patch({"x": one}, {"x": other}),
        lambda: impl.strategic.three_way_patch({"x": one}, {"x": one}, {"x": other}),
    ]


@pytest.mark.parametrize("value", [{1, 2}, b"x", 1j, object(), iter([])])
def test_a_type_that_json_lacks_is_named(impl, value):
    for call in [
        *calls(impl, {"a": [{"b": value}]}, {"a": [{"b": [value]}]}),
        lambda: impl.diff.diff(1, value),
    ]:
        with pytest.raises(TypeError) as caught:
            call()
        kind = type(value).__qualname__
        assert str(caught.value) == f"a document holds dict, list, str, int, float, bool and None, not {kind}"


@pytest.mark.parametrize("key", [1, None, True, b"a", (1,)])
def test_a_name_that_is_no_str_is_named(impl, key):
    for call in calls(impl, {"a": {key: 1, "b": 1}}, {"a": {key: 1, "b": 2}}):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == f"the names in a document are str, not {type(key).__qualname__}"


@pytest.mark.parametrize("kind", [dict, list])
def test_endless_documents_raise(impl, kind):
    """A document that contains itself is refused by every walk, and so is one of 257 levels; 256 are fine."""
    for one, other in [(endless(kind), endless(kind)), (nested(300, 1, kind), nested(300, 2, kind))]:
        for call in calls(impl, one, other):
            if kind is list and call.__code__.co_names[0] == "merge_patch":
                continue
            with pytest.raises(RecursionError, match="nested deeper than 256 levels, or contains itself"):
                call()
    assert len(impl.diff.diff(nested(256, 1, kind), nested(256, 2, kind))[0].path) == 256
    assert len(impl.patch.json_patch(nested(256, 1, kind), nested(256, 2, kind))) == 1
    assert impl.patch.apply_json_patch(nested(256, 1, kind), []) == nested(256, 1, kind)
    assert impl.fingerprint.fingerprint(nested(256, 1, kind)) > 0


def test_the_end_of_the_stack_is_not_overrun(impl):
    """Close to it a walk answers, or raises what any Python function would: which, depends on the interpreter."""

    def deep(levels):
        if levels:
            return deep(levels - 1)
        return impl.diff.diff(nested(200, 1), nested(200, 2))

    with contextlib.suppress(RecursionError):
        assert len(deep(sys.getrecursionlimit() - 150)) == 1
    assert len(impl.diff.diff(nested(200, 1), nested(200, 2))) == 1


class Vandal(Mapping):
    """A mapping that empties its victim when it is read."""

    def __init__(self, victim):
        self.victim = victim

    def __getitem__(self, key):
        self.victim.clear()
        return 1

    def __iter__(self):
        self.victim.clear()
        return iter(["a"])

    def __len__(self):
        return 1


@pytest.mark.parametrize("kind", [dict, list])
def test_a_document_that_changes_while_it_is_read(impl, kind):
    """User code that empties the container in which it stands may end the walk, and not the process."""
    for index in range(11):
        victim = {} if kind is dict else []
        rest = [{"x": [i]} for i in range(20)]
        if kind is dict:
            victim.update({"v": Vandal(victim)}, **{str(i): item for i, item in enumerate(rest)})
            other = {"v": {"a": 1}, **{str(i): {"x": [i]} for i in range(20)}}
        else:
            victim += [Vandal(victim), *rest]
            other = [{"a": 1}, *({"x": [i]} for i in range(20))]
        del rest
        call = calls(impl, other, victim)[index] if index in (5, 7) else calls(impl, victim, other)[index]
        with contextlib.suppress(RuntimeError, IndexError):
            call()
        assert not victim
        assert len(impl.diff.diff(other, victim)) >= 1


def test_keys_whose_comparison_changes_the_document(impl):
    """A str subclass as a key may run code in every look-up."""

    class Key(str):
        __hash__ = str.__hash__
        victim: dict

        def __eq__(self, other):
            self.victim.clear()
            return str.__eq__(self, other)

    emptied = []
    for index in range(11):
        key = Key("k1")
        key.victim = {key: {"a": [1]}, "k2": {"b": [2]}, "k3": 3}
        other = {"k0": 1, "k1": {"a": [2]}, "k2": {"b": [2]}}
        call = calls(impl, other, key.victim)[index] if index in (5, 7) else calls(impl, key.victim, other)[index]
        with contextlib.suppress(RuntimeError):
            call()
        emptied.append(not key.victim)
    assert any(emptied)


def test_errors_of_user_code_pass_through(impl):
    """What a mapping or an iterable raises is what the caller sees."""

    class Broken(Mapping):
        def __getitem__(self, key):
            raise LookupError("mine")

        def __iter__(self):
            return iter(["a"])

        def __len__(self):
            return 1

    for call in calls(impl, Broken(), Broken()):
        with pytest.raises(LookupError, match="mine"):
            call()

    def paths():
        yield "a"
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        impl.diff.diff({}, {}, ignore=paths())
    with pytest.raises(OSError, match="mine"):
        impl.fingerprint.fingerprints(paths())


def test_nothing_is_kept(impl):
    """After an answer and after an error no document stays alive."""

    class Watched(dict):
        pass

    for bad in (False, True):
        one, other = Watched(deployment()), Watched(deployment(replicas=4))
        if bad:
            one["bad"], other["bad"] = {1}, {2}
        alive = [weakref.ref(one), weakref.ref(other)]
        for call in calls(impl, one, other):
            try:
                call()
            except TypeError:
                assert bad
        del call, one, other
        gc.collect()
        assert [ref() for ref in alive] == [None, None]


def test_many_threads_read_one_document(impl):
    """Reading needs no lock: eight threads get the answer that one gets."""
    one, other = deployment(), deployment(image="other:1")
    expected = (impl.diff.diff(one, other), impl.patch.json_patch(one, other), impl.fingerprint.fingerprint(one))
    wrong = []

    def work():
        for _ in range(20):
            got = (impl.diff.diff(one, other), impl.patch.json_patch(one, other), impl.fingerprint.fingerprint(one))
            if got != expected:
                wrong.append(got)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_that_write_what_others_read(impl):
    """A document that another thread changes gives some answer or a clean error, and no crash."""
    document = {"a": {str(i): [i] for i in range(50)}, "env": [{"name": str(i)} for i in range(50)]}
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            document["a"][f"x{i % 7}"] = [i]
            document["a"].pop(f"x{(i + 3) % 7}", None)
            document["env"].append({"name": f"n{i}"})
            document["env"].pop()

    answers = 0
    writer = threading.Thread(target=write)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer.start()
    try:
        for _ in range(30):
            for call in calls(impl, document, {"a": {"1": [1]}, "env": [{"name": "2"}]}):
                with contextlib.suppress(RuntimeError, IndexError):
                    call()
                    answers += 1
    finally:
        sys.setswitchinterval(before)
        stop.set()
        writer.join()
    assert answers > 0
