"""Faults without sockets: which requests they hit, and what those get."""

from typing import Any

import pytest

from apiserver.conftest import MAPS, Local, brief, config_map, lines
from fastcore.testing.apiserver.message import Request
from fastcore.testing.apiserver.scope import Call, Dice, Scope

INITIAL = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": True}


@pytest.mark.parametrize(
    ("method", "path", "verb", "rest"),
    [
        ("GET", "/api/v1/namespaces/n/configmaps/a", "get", ("", "configmaps", "", "root", "n", "a")),
        ("GET", "/clusters/w/apis/apps/v1/deployments", "list", ("apps", "deployments", "", "w", "", "")),
        ("GET", "/clusters/*/api/v1/pods?watch=true", "watch", ("", "pods", "", "*", "", "")),
        ("GET", "/api/v1/watch/pods", "watch", ("", "pods", "", "root", "", "")),
        ("GET", "/api/v1/pods?watch=0", "list", ("", "pods", "", "root", "", "")),
        ("POST", "/api/v1/namespaces/n/pods", "create", ("", "pods", "", "root", "n", "")),
        ("PUT", "/api/v1/namespaces/n/pods/a/status", "update", ("", "pods", "status", "root", "n", "a")),
        ("PATCH", "/apis/t.dev/v1/foos/a", "patch", ("t.dev", "foos", "", "root", "", "a")),
        ("DELETE", "/api/v1/namespaces/n/pods/a", "delete", ("", "pods", "", "root", "n", "a")),
        ("DELETE", "/api/v1/namespaces/n/pods", "deletecollection", ("", "pods", "", "root", "n", "")),
        ("GET", "/apis/apps/v1", "", ("", "", "", "root", "", "")),
        ("GET", "/", "", ("", "", "", "root", "", "")),
    ],
)
def test_calls(method: str, path: str, verb: str, rest: tuple[str, ...]) -> None:
    """Group 11: what a request asks for is read from its path as the server reads it."""
    place, _, query = path.partition("?")
    assert Call.of(Request(method, place, query)) == Call(verb, *rest)


@pytest.mark.parametrize(
    ("scope", "hit"),
    [
        ({}, True),
        ({"verbs": ("get", "patch")}, True),
        ({"verbs": ("get",)}, False),
        ({"kind": "webapps"}, True),
        ({"kind": "webapps.apps.fastcore.dev"}, True),
        ({"kind": "webapps/status"}, True),
        ({"kind": "webapps/scale"}, False),
        ({"kind": "webapps.apps"}, False),
        ({"workspace": "w", "namespace": "n", "name": "a"}, True),
        ({"workspace": "v"}, False),
        ({"namespace": "m"}, False),
        ({"name": "b"}, False),
    ],
)
def test_scope(scope: dict[str, Any], hit: bool) -> None:
    """Group 11: verb, kind, subresource, workspace, namespace and name narrow a fault down."""
    call = Call("patch", "apps.fastcore.dev", "webapps", "status", "w", "n", "a")
    assert Scope(**scope).matches(call) is hit


def test_the_nth_request() -> None:
    """Group 11: `after` requests pass, `count` are hit, and the fault is spent."""
    call = Call("get", "", "pods", "", "root", "n", "a")
    dice = Dice(Scope(after=2, count=1, verbs=("get",)))
    assert [dice.hit(call._replace(verb=verb)) for verb in ("get", "list", "get", "get", "get")] == [
        False,
        False,
        False,
        True,
        False,
    ]
    assert dice.spent


def test_chance_has_a_seed() -> None:
    """Group 11: the same seed hits the same requests; another one hits others."""
    call = Call("get", "", "pods", "", "root", "n", "a")

    def hits(seed: int) -> list[bool]:
        dice = Dice(Scope(probability=0.3, seed=seed))
        return [dice.hit(call) for _ in range(200)]

    assert hits(1) == hits(1) != hits(2)
    assert 30 < sum(hits(1)) < 90


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"verbs": ("apply",)}, "no verb 'apply'; there are get, list"),
        ({"verbs": "get"}, "write \\('get',\\)"),
        ({"after": -1}, "after must be at least 0, not -1"),
        ({"count": 0}, "count must be at least 1, or None for no limit, not 0"),
        ({"probability": 0.0}, "probability must be more than 0 and at most 1, not 0.0"),
        ({"probability": float("nan")}, "not nan"),
    ],
)
def test_bad_scope(local: Local, scope: dict[str, Any], message: str) -> None:
    """Group 11: a scope that can mean nothing is refused, and no fault is left in force."""
    with pytest.raises(ValueError, match=message):
        local.api.faults.error(500, **scope)
    with pytest.raises(ValueError, match=message):
        local.api.faults.stale(**scope)
    assert not local.api.faults.active


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("error", (399,), "code must be in 400..599, not 399"),
        ("latency", (0,), "seconds must be more than 0 and at most 3600, not 0"),
        ("latency", (float("inf"),), "not inf"),
        ("lag", (-1,), "not -1"),
        ("bookmarks", (11,), "copies must be in 0..10, not 11"),
        ("stale", (99_999,), "no replica can be at revision 99999"),
        ("shift_clock", (float("inf"),), "seconds must be finite, not inf"),
    ],
)
def test_bad_faults(local: Local, method: str, arguments: tuple[Any, ...], message: str) -> None:
    """Group 11: numbers out of range are refused."""
    with pytest.raises(ValueError, match=message):
        getattr(local.api.faults, method)(*arguments)
    with pytest.raises(ValueError, match=r"retry_after must be in 0\.\.3600 s, not -1"):
        local.api.faults.error(429, retry_after=-1)
    assert not local.api.faults.active


def test_errors(local: Local) -> None:
    """LI-1: 429 carries Retry-After, a refused write is not done, and the fault ends with its count."""
    fault = local.api.faults.error(429, retry_after=3, verbs=("create",), count=1)
    answer = local.post(MAPS, config_map("a"))
    assert (answer.code, answer.headers["retry-after"]) == (429, "3")
    assert answer.body["reason"] == "TooManyRequests"
    assert answer.body["details"] == {"retryAfterSeconds": 3}
    assert local.get(MAPS).names == []
    assert local.post(MAPS, config_map("a")).code == 201
    assert (fault.hits, fault.dice.spent) == (1, True)


def test_error_of_a_watch(local: Local) -> None:
    """RF-5: a watch request is refused by its status, not by an event."""
    with local.api.faults.error(410, verbs=("watch",)):
        assert local.get(MAPS, watch=True).code == 410
    assert brief(local.stream(MAPS)) == []


def test_verdicts_add_up(local: Local) -> None:
    """Group 11: delays add up; of an error and a reset the older wins; what does not match gets no verdict."""
    faults = local.api.faults
    faults.latency(1.5, verbs=("get",))
    faults.latency(2, answer=True)
    faults.reset(answer=True, verbs=("get",))
    faults.error(500)
    faults.lag(4)
    got = faults.judge(Request("GET", f"{MAPS}/a"))
    assert got is not None
    assert (got.delay, got.answer_delay, got.reset, got.error, got.lag) == (1.5, 2, "answer", None, 0)
    made = faults.judge(Request("POST", MAPS))
    assert made is not None
    assert (made.delay, made.answer_delay, made.reset, made.lag) == (0, 2, "", 0)
    assert made.error is not None
    watch = faults.judge(Request("GET", MAPS, "watch=1"))
    assert watch is not None
    assert watch.lag == 4
    faults.clear()
    assert faults.judge(Request("GET", f"{MAPS}/a")) is None


def test_removed(local: Local) -> None:
    """Group 11: a fault ends by itself, by its number, by its block, or with all of them."""
    faults = local.api.faults
    first, second = faults.error(500), faults.error(503)
    first.remove()
    first.remove()
    assert local.get(MAPS).code == 503
    assert faults.remove(second.id)
    assert not faults.remove(second.id)
    assert local.get(MAPS).code == 200
    with faults.error(500):
        assert local.get(MAPS).code == 500
    assert faults.active == ()


def test_stale_reads(local: Local) -> None:
    """RF-1: a list at "0" may go back in time; a consistent one may not; a later revision gets 504, retry in 1 s."""
    old = local.post(MAPS, config_map("a")).revision
    local.post(MAPS, config_map("b"))
    local.delete(f"{MAPS}/a")
    now = local.get(MAPS).revision
    stale = local.api.faults.stale(int(old))
    behind = local.get(MAPS, resourceVersion="0")
    assert (behind.names, behind.revision) == (["a"], old)
    assert local.get(f"{MAPS}/a", resourceVersion="0").code == 200
    assert local.get(f"{MAPS}/b", resourceVersion="0").code == 404
    assert local.get(f"{MAPS}/a").code == 404
    assert local.get(MAPS).names == ["b"]
    late = local.get(MAPS, resourceVersion=now, resourceVersionMatch="NotOlderThan")
    assert (late.code, late.body["details"]["retryAfterSeconds"], late.headers["retry-after"]) == (504, 1, "1")
    assert local.get(f"{MAPS}/b", resourceVersion=now).code == 504
    exact = local.get(MAPS, resourceVersion=now, resourceVersionMatch="Exact")
    assert exact.code == 200, "an exact revision comes from the store"
    stale.remove()
    assert local.get(MAPS, resourceVersion="0").names == ["b"]


def test_stale_replica_is_a_snapshot(local: Local) -> None:
    """Group 11: the replica stays as it is, whatever is written or compacted later; writes go through."""
    local.post(MAPS, config_map("a"))
    local.api.faults.stale(kind="configmaps")
    local.post(MAPS, config_map("b"))
    local.post("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    local.api.faults.compact()
    assert local.get(MAPS, resourceVersion="0").names == ["a"]
    assert local.get("/api/v1/namespaces/default/secrets", resourceVersion="0").names == ["s"], "not in its scope"


def test_stale_watch_from_the_start(local: Local) -> None:
    """RF-2: the initial events are the replica's, with its revision; the rest comes in order when it catches up."""
    old = local.post(MAPS, config_map("a")).revision
    local.post(MAPS, config_map("b"))
    stale = local.api.faults.stale(int(old))
    stream = local.stream(MAPS, resourceVersion="0", **INITIAL)
    local.delete(f"{MAPS}/a")
    stream.bookmark()
    added, mark = lines(stream)
    assert (added["object"]["metadata"]["name"], mark["object"]["metadata"]["resourceVersion"]) == ("a", old)
    late = local.stream(MAPS, resourceVersion=int(old) + 1, **INITIAL)
    assert [event["object"]["code"] for event in lines(late)] == [504]
    fresh = local.stream(MAPS, **INITIAL)
    assert brief(fresh)[:-1] == [("ADDED", "b")], "without a revision it is consistent"
    stale.remove()
    assert brief(stream) == [("ADDED", "b"), ("DELETED", "a")]
    local.post(MAPS, config_map("c"))
    assert brief(stream) == [("ADDED", "c")], "and goes on as usual"


def test_stale_watch_from_a_revision(local: Local) -> None:
    """RF-3: what the replica has seen comes at once, the rest later, everything once and in order."""
    first = local.post(MAPS, config_map("a")).revision
    at = local.post(MAPS, config_map("b")).revision
    local.post(MAPS, config_map("c"))
    stale = local.api.faults.stale(int(at))
    stream = local.stream(MAPS, resourceVersion=first)
    ahead = local.stream(MAPS, resourceVersion=int(at) + 1)
    assert (brief(stream), brief(ahead)) == ([("ADDED", "b")], [])
    local.post(MAPS, config_map("d"))
    assert (brief(stream), brief(ahead)) == ([], [])
    stale.remove()
    assert brief(stream) == [("ADDED", "c"), ("ADDED", "d")]
    assert brief(ahead) == [("ADDED", "d")]


def test_held_events_are_bounded() -> None:
    """Group 7: a watch that stands still too long is ended as a slow one is."""
    local = Local(watch_buffer=2)
    local.api.faults.stale()
    stream = local.stream(MAPS, resourceVersion="0")
    for name in "abc":
        local.post(MAPS, config_map(name))
    assert stream.cut
    assert lines(stream) == []


def test_bookmarks(local: Local) -> None:
    """RF-4: bookmarks get lost or come twice, but never the one that ends the initial events, nor any event."""
    stream = local.stream(MAPS, **INITIAL)
    assert brief(stream) == [("BOOKMARK", "")]
    with local.api.faults.bookmarks(0, kind="configmaps") as fault:
        other = local.stream(MAPS, **INITIAL)
        local.post(MAPS, config_map("a"))
        stream.bookmark()
        assert brief(stream) == [("ADDED", "a")]
        assert [kind for kind, _ in brief(other)] == ["BOOKMARK", "ADDED"]
    assert fault.hits == 1
    with local.api.faults.bookmarks(2, count=1):
        local.post(MAPS, config_map("b"))
        stream.bookmark()
        other.bookmark()
    assert brief(stream) == [("ADDED", "b"), ("BOOKMARK", ""), ("BOOKMARK", "")]
    assert brief(other) == [("ADDED", "b"), ("BOOKMARK", "")]


def test_watches_end(local: Local) -> None:
    """RF-5: running watches get 410 or are cut, those of one kind or workspace only."""
    maps, secrets = local.stream(MAPS), local.stream("/api/v1/secrets")
    elsewhere = local.stream("/clusters/w/api/v1/configmaps")
    assert local.api.faults.expire_watches("configmaps", "root") == 1
    (event,) = lines(maps)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert (maps.ended, maps.cut) == (True, False)
    assert local.api.faults.cut_watches("secrets") == 1
    assert secrets.cut
    assert not elsewhere.ended


def test_compaction(local: Local) -> None:
    """RF-5: a watch from before it expires."""
    start = local.post(MAPS, config_map("a")).revision
    local.post(MAPS, config_map("b"))
    local.api.faults.compact()
    (event,) = lines(local.stream(MAPS, resourceVersion=start))
    assert event["object"]["code"] == 410


def test_clock(local: Local) -> None:
    """LE-3: the server's clock may jump; timestamps show it; it is right again when all is cleared."""
    first = local.post(MAPS, config_map("a")).body["metadata"]["creationTimestamp"]
    local.api.faults.shift_clock(3600)
    local.api.faults.shift_clock(-60)
    second = local.post(MAPS, config_map("b")).body["metadata"]["creationTimestamp"]
    local.api.faults.clear()
    third = local.post(MAPS, config_map("c")).body["metadata"]["creationTimestamp"]
    assert (first, second, third) == ("2023-11-14T22:13:20Z", "2023-11-14T23:12:20Z", "2023-11-14T22:13:20Z")
