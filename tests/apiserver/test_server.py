"""The server on its sockets: life cycle, token, limits, watches over the wire."""

import asyncio
import http.client
import json
import os
import socket
import stat
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from apiserver.conftest import MAPS, config_map
from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer


def broken_off(response: http.client.HTTPResponse) -> bool:
    """Whether a chunked answer ends without its last chunk."""
    try:
        while response.read1():
            pass
    except (ConnectionError, http.client.IncompleteRead):
        return True
    return False


def open_watch(server: APIServer) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.request("GET", f"{MAPS}?watch=1")
    return connection, connection.getresponse()


def code_of(url: str, token: str) -> int:
    client = Client(url, token)
    try:
        return client.get("/api").code
    finally:
        client.close()


def test_start_and_stop() -> None:
    before = threading.enumerate()
    server = APIServer()
    assert server.start() is server
    url = server.url
    client = Client(url)
    assert client.get("/healthz").raw == b"ok"
    client.close()
    server.stop()
    server.stop()
    with pytest.raises(ConnectionError):
        Client(url).get("/healthz")
    assert threading.enumerate() == before


def test_start_twice(embedded: APIServer) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        embedded.start()


def test_start_again() -> None:
    """The same address and objects, and the built-in controllers work on."""
    server = APIServer()
    with server:
        url = server.url
        client = Client(url)
        client.post(MAPS, config_map("a"))
        client.close()
    with server:
        assert server.url == url
        client = Client(url)
        assert client.get(MAPS).names == ["a"]
        client.post("/api/v1/namespaces", {"metadata": {"name": "n"}})
        with client.watch("/api/v1/namespaces", fieldSelector="metadata.name=n") as events:
            client.delete("/api/v1/namespaces/n")
            assert next(event for event in events if event["type"] == "DELETED")
        client.close()


async def test_in_a_running_loop() -> None:
    async with APIServer() as server:
        address = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"ok")
        writer.close()
        await writer.wait_closed()


def test_port_is_taken(embedded: APIServer) -> None:
    port = urlsplit(embedded.url).port
    assert port is not None
    with pytest.raises(OSError), APIServer(port):
        pass


@pytest.mark.parametrize("setting", [{"bookmark_period": 0}, {"watch_buffer": 0}, {"history": 0}])
def test_bad_settings(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not 0"):
        APIServer(**setting)  # type: ignore[arg-type]


def test_unknown_controller() -> None:
    with pytest.raises(ValueError, match="'scheduler'"):
        APIServer(controllers=("scheduler",))


def test_token() -> None:
    with APIServer(token="secret") as server:
        assert code_of(server.url, "") == 401
        assert code_of(server.url, "wrong") == 401
        assert code_of(server.url, "secret") == 200


def test_kubeconfig(tmp_path: Path) -> None:
    """Readable by its owner only, even where a file lay before."""
    place = tmp_path / "kubeconfig"
    place.write_text("old")
    place.chmod(0o644)
    with APIServer(token="secret") as server:
        assert server.kubeconfig(place, ("team-a",)) == str(place)
        config = json.loads(place.read_text())
        if os.name == "posix":
            assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert config["users"][0]["user"] == {"token": "secret"}
        servers = {entry["name"]: entry["cluster"]["server"] for entry in config["clusters"]}
        assert servers == {"fastcore": server.url, "team-a": f"{server.url}/clusters/team-a"}


def test_body_limit(client: Client, embedded: APIServer) -> None:
    """LI-5: more than 3 MiB is refused, announced or not."""
    assert client.call("POST", MAPS, b"x" * (3 * 1024 * 1024 + 1)).code == 413
    connection = http.client.HTTPConnection(urlsplit(embedded.url).netloc, timeout=20)
    parts = (b"x" * 1024 * 1024 for _ in range(4))
    connection.request("POST", MAPS, parts, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_chunked_body(embedded: APIServer) -> None:
    connection = http.client.HTTPConnection(urlsplit(embedded.url).netloc, timeout=20)
    body = (part.encode() for part in ('{"metadata":', '{"name":"a"}}'))
    connection.request("POST", MAPS, body, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 201
    connection.close()


def test_expect_continue(embedded: APIServer) -> None:
    """curl waits a second for it before it sends a large body."""
    address = urlsplit(embedded.url)
    body = json.dumps(config_map("a")).encode()
    with socket.create_connection((address.hostname, address.port), timeout=20) as sock:
        head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        sock.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 ")


def test_watch(client: Client) -> None:
    with client.watch(MAPS) as events:
        client.post(MAPS, config_map("a"))
        assert next(events)["object"]["metadata"]["name"] == "a"


def test_timeout(client: Client) -> None:
    """Group 7: timeoutSeconds ends a watch in order; a last bookmark tells where to go on."""
    client.post(MAPS, config_map("a"))
    with client.watch(MAPS, timeoutSeconds=1, allowWatchBookmarks=True) as events:
        revision = client.post(MAPS, config_map("b")).revision
        seen = list(events)
    assert [event["type"] for event in seen] == ["ADDED", "ADDED", "BOOKMARK"]
    assert seen[-1]["object"]["metadata"]["resourceVersion"] == revision


def test_bookmark_period() -> None:
    """RF-4: bookmarks come at the period that was set."""
    with APIServer(bookmark_period=0.05) as server:
        client = Client(server.url)
        with client.watch(MAPS, allowWatchBookmarks=True) as events:
            revision = client.post("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}}).revision
            event = next(events)
            assert (event["type"], event["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", revision)
        client.close()


def test_cut_watches(embedded: APIServer, client: Client) -> None:
    """A cut watch breaks off, as when the server dies; a new one goes on."""
    revision = client.post(MAPS, config_map("a")).revision
    connection, response = open_watch(embedded)
    response.read1()
    assert embedded.cut_watches() == 1
    assert broken_off(response)
    connection.close()
    with client.watch(MAPS, resourceVersion=revision) as events:
        client.delete(f"{MAPS}/a")
        assert next(events)["type"] == "DELETED"


def test_compact(embedded: APIServer, client: Client) -> None:
    """RF-5: after a compaction an old watch gets 410."""
    revision = client.post(MAPS, config_map("a")).revision
    client.post(MAPS, config_map("b"))
    embedded.compact()
    with client.watch(MAPS, resourceVersion=revision) as events:
        assert next(events)["object"]["code"] == 410


def test_client_that_goes_away(embedded: APIServer, client: Client) -> None:
    """A watch whose client has gone is forgotten without an event."""
    with client.watch(MAPS):
        assert embedded.call(lambda: len(embedded.api.watches)) == 1
    for _ in range(200):
        if not embedded.call(lambda: len(embedded.api.watches)):
            break
        threading.Event().wait(0.01)
    assert embedded.call(lambda: len(embedded.api.watches)) == 0


def test_stop_with_watches_open() -> None:
    with APIServer() as server:
        connection, response = open_watch(server)
        server.stop()
        assert broken_off(response)
        connection.close()


def test_slow_client_is_dropped() -> None:
    """Group 7: who does not read is cut off, and everybody else goes on."""
    with APIServer(watch_buffer=10) as server:
        client = Client(server.url)
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for index in range(2000):
                client.post(MAPS, config_map(f"m{index}", {"k": "x" * 50_000}))
                if not server.call(lambda: len(server.api.watches)):
                    break
            assert server.call(lambda: len(server.api.watches)) == 0
        assert client.get(f"{MAPS}/m0").code == 200
        client.close()


def test_call_reports_errors(embedded: APIServer) -> None:
    with pytest.raises(ZeroDivisionError):
        embedded.call(lambda: 1 // 0)


def test_many_threads(embedded: APIServer) -> None:
    """Concurrent writers of one object: every revision is its own, and none is lost."""
    clients = [Client(embedded.url) for _ in range(4)]
    clients[0].post(MAPS, config_map("a", {"n": "0"}))
    won = []

    def count(client: Client) -> None:
        for _ in range(25):
            while True:
                obj = client.get(f"{MAPS}/a").body
                obj["data"]["n"] = str(int(obj["data"]["n"]) + 1)
                answer = client.put(f"{MAPS}/a", obj)
                if answer.code == 200:
                    won.append(answer.revision)
                    break
                assert answer.reason == "Conflict"

    threads = [threading.Thread(target=count, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clients[0].get(f"{MAPS}/a")["data"] == {"n": "100"}
    assert len(set(won)) == 100
    for client in clients:
        client.close()
