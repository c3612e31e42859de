"""The audit log, on the embedded server and on a real one: the same lines for the same requests."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from apiserver.conftest import MAPS, config_map
from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer
from fastcore.testing.kube import KubeServer
from fastcore.testing.plugin import need

AGENT = "conformance"


def lines(path: str | Path) -> list[dict[str, Any]]:
    """The lines of the test's own client."""
    events = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [event for event in events if event["userAgent"] == AGENT]


def ask(client: Client) -> None:
    client.get("/apis/apps/v1")
    client.post(MAPS, config_map("a", {"password": "hush"}))
    client.get(f"{MAPS}/a")
    client.get("/api/v1/configmaps", limit=1)
    client.patch(f"{MAPS}/a", {"data": {"k": "v"}})
    client.get(f"{MAPS}/none")
    client.delete(f"{MAPS}/a")
    with client.watch(MAPS, timeoutSeconds=1) as events:
        for _ in events:
            pass


def brief(event: dict[str, Any]) -> tuple[Any, ...]:
    place = event.get("objectRef", {})
    names = ("apiGroup", "resource", "subresource", "namespace", "name")
    return (event["verb"], event["stage"], event["responseStatus"]["code"], *(place.get(name) for name in names))


def expected() -> list[tuple[Any, ...]]:
    done, maps, default = "ResponseComplete", (None, "configmaps", None), "default"
    return [
        ("get", done, 200, None, None, None, None, None),
        ("create", done, 201, *maps, default, None),
        ("get", done, 200, *maps, default, "a"),
        ("list", done, 200, *maps, None, None),
        ("patch", done, 200, *maps, default, "a"),
        ("get", done, 404, *maps, default, "none"),
        ("delete", done, 200, *maps, default, "a"),
        ("watch", "ResponseStarted", 200, *maps, default, None),
        ("watch", done, 200, *maps, default, None),
    ]


def without_create_name(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The real server takes the name of a created object from the body."""
    return [(*event[:-1], None) if event[0] == "create" else event for event in events]


def test_embedded(tmp_path: Path) -> None:
    """A line a request, when it is answered; no bodies, and nobody else may read it."""
    path = tmp_path / "audit.log"
    server = APIServer(audit_log=path)
    with server:
        client = Client(server.url)
        ask(client)
        assert [brief(event) for event in lines(path)] == expected()
        client.close()
    with server:  # it is appended to after an outage
        assert len(lines(path)) == len(expected())
        client = Client(server.url)
        client.get("/version")
        client.close()
    assert len(lines(path)) == len(expected()) + 1
    assert "hush" not in path.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.kube
def test_real() -> None:
    """The real server writes the same."""
    need("kube", "etcd", "kube-apiserver", "openssl")
    with KubeServer(audit=True) as server:
        client = Client(server.url, server.token, server.ca)
        while client.get("/api/v1/namespaces/default").code != 200:
            pass
        before = len(lines(server.audit_log))
        ask(client)
        client.close()
        assert without_create_name([brief(event) for event in lines(server.audit_log)[before:]]) == expected()


def test_answers_that_get_lost_are_noted(tmp_path: Path) -> None:
    """What was handled is noted, also if its client never hears of it; what was not is not."""
    path = tmp_path / "audit.log"
    with APIServer(audit_log=path) as server:
        for answer in (False, True):
            client = Client(server.url)
            with server.faults.reset(answer=answer), pytest.raises(ConnectionResetError):
                client.post(MAPS, config_map("a"))
            client.close()
    assert [brief(event)[:3] for event in lines(path)] == [("create", "ResponseComplete", 201)]


def test_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        APIServer(audit_log=tmp_path / "none" / "audit.log").start()
