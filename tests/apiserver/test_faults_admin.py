"""Faults over HTTP."""

from typing import Any

import pytest

from apiserver.conftest import MAPS, config_map
from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer
from fastcore.testing.apiserver.faults_admin import PATH

pytestmark = pytest.mark.api_server(faults_path=True)


@pytest.fixture
def admin(api_server: APIServer) -> Any:
    client = Client(api_server.url)
    yield client
    client.close()


def test_off_by_default(client: Client) -> None:
    """Group 11: without the option there is no such path."""
    assert client.post(PATH, {"fault": "error", "code": 500}).code == 405
    assert client.get(PATH).code == 404


def test_loopback_only() -> None:
    """Group 11: nobody from outside may break the server."""
    with pytest.raises(ValueError, match=r"loopback only, not for '0\.0\.0\.0'"):
        APIServer(host="0.0.0.0", faults_path=True)
    for host in ("::1", "127.0.0.2", "localhost"):
        APIServer(host=host, faults_path=True)


def test_life_of_a_fault(admin: Client) -> None:
    """Group 11: added, seen, counted, removed; the path itself is never hit."""
    added = admin.post(PATH, {"fault": "error", "code": 429, "retry_after": 1, "verbs": ["list"], "count": 2})
    number = added.body["id"]
    expected = {"id": number, "fault": "error", "code": 429, "retry_after": 1, "message": "", "verbs": ["list"]}
    assert (added.code, added.body) == (201, {**expected, "count": 2, "hits": 0, "spent": False})
    admin.post(PATH, {"fault": "error", "code": 500})
    assert (admin.get(MAPS).code, admin.get(f"{MAPS}/a").code) == (429, 500)
    shown = admin.get(PATH).body
    assert [(fault["id"], fault["hits"]) for fault in shown["faults"]] == [(number, 1), (number + 1, 2)]
    assert admin.delete(f"{PATH}/{number}").code == 200
    assert admin.delete(f"{PATH}/{number}").code == 404
    assert admin.get(MAPS).code == 500
    assert admin.delete(PATH).code == 200
    assert (admin.get(MAPS).code, admin.get(PATH).body["faults"]) == (200, [])


@pytest.mark.parametrize(
    "order",
    [
        {"fault": "latency", "seconds": 0.5, "answer": True, "kind": "pods"},
        {"fault": "lag", "seconds": 0.5},
        {"fault": "reset", "verbs": ["patch"], "workspace": "w", "after": 3},
        {"fault": "stale", "namespace": "n"},
        {"fault": "bookmarks", "copies": 0, "probability": 0.5, "seed": 7},
    ],
)
def test_every_lasting_fault(admin: Client, order: dict[str, Any]) -> None:
    """Group 11: each kind takes its members and those of the scope."""
    answer = admin.post(PATH, order)
    assert answer.code == 201
    shared = {name: value for name, value in order.items() if name in answer.body}
    assert shared.items() >= {name: value for name, value in order.items() if name not in ("seconds", "answer")}.items()


def test_things_that_happen_once(admin: Client, api_server: APIServer) -> None:
    """Group 11: compaction, lost watches and the clock."""
    start = admin.post(MAPS, config_map("a")).revision
    with admin.watch(MAPS) as running:
        assert next(running)["type"] == "ADDED"
        assert admin.post(PATH, {"fault": "expire_watches", "kind": "configmaps"}).body == {"watches": 1}
        assert next(running)["object"]["code"] == 410
    assert admin.post(PATH, {"fault": "cut_watches"}).body == {"watches": 0}
    admin.post(MAPS, config_map("b"))
    assert admin.post(PATH, {"fault": "compact"}).body == {}
    with admin.watch(MAPS, resourceVersion=start) as events:
        assert next(events)["object"]["code"] == 410
    assert admin.post(PATH, {"fault": "shift_clock", "seconds": 5}).code == 200
    assert admin.get(PATH).body["clock_offset"] == api_server.faults.clock_offset == 5


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (b"{", "truncated"),
        ({"fault": "fire"}, "Invalid value 'fire'"),
        ({"fault": "error"}, "missing required field `code`"),
        ({"fault": "error", "code": "500"}, "Expected `int`, got `str` - at `$.code`"),
        ({"fault": "error", "code": 500, "kinds": "pods"}, "unknown field `kinds`"),
        ({"fault": "error", "code": 200}, "code must be in 400..599, not 200"),
        ({"fault": "reset", "verbs": ["apply"]}, "no verb 'apply'"),
        ({"fault": "stale", "revision": 10**6}, "no replica can be at revision 1000000"),
    ],
)
def test_bad_orders(admin: Client, order: Any, message: str) -> None:
    """Group 11: what cannot be done is refused with a reason, and nothing is in force."""
    answer = admin.post(PATH, order)
    assert answer.code == 400
    assert message in answer.message
    assert admin.get(PATH).body["faults"] == []


def test_no_web_page_can(admin: Client) -> None:
    """Group 11: only JSON is taken, which a browser does not send elsewhere without asking; PUT is nothing."""
    assert admin.call("POST", PATH, {"fault": "compact"}, "text/plain").code == 415
    assert admin.put(PATH, {}).code == 405


@pytest.mark.api_server(faults_path=True, token="secret")
def test_token(api_server: APIServer, admin: Client) -> None:
    """Group 11: the token is needed here as well."""
    assert admin.get(PATH).code == 401
    with_token = Client(api_server.url, "secret")
    assert with_token.get(PATH).code == 200
    with_token.close()
