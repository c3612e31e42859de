"""Verbs, deadlines and retries, against scripted answers and a real API server."""

# ruff: noqa: SIM117 - the client is made inside the server

import asyncio
import base64
import gc
import gzip
import json
import subprocess
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from controller.scripted import (
    FakeSleep,
    ScriptedServer,
    answer,
    config_map,
    failure,
    listing,
    reset,
    silence,
    stream,
    until,
)
from controller.widgets import serve_widgets
from fastcore.controller.client import JSON_PATCH, STRATEGIC_PATCH, Client
from fastcore.controller.config import ClientConfig, ConfigError
from fastcore.controller.errors import (
    AlreadyExistsError,
    ApiError,
    BadRequestError,
    Cause,
    ConflictError,
    ConnectionFailed,
    DecodeError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    RequestTimeout,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
)
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, NAMESPACE

OK = answer(200, {"kind": "ConfigMap"})


# --- Requests as the server sees them


async def test_every_verb_asks_what_it_should():
    async with ScriptedServer([OK]) as server, Client(server.config, prefix="/clusters/blue/") as client:
        obj = {"metadata": {"namespace": "x", "name": "y"}}
        await client.get(CONFIG_MAP, "x", "y")
        await client.create(CONFIG_MAP, obj, field_manager="me", dry_run=True)
        await client.update(CONFIG_MAP, obj)
        await client.update_status(DEPLOYMENT, obj)
        await client.patch(CONFIG_MAP, "x", "y", {"a": 1}, field_manager="me")
        await client.patch(CONFIG_MAP, "x", "y", [{"op": "test"}], patch_type=JSON_PATCH)
        await client.patch_status(DEPLOYMENT, "x", "y", {"a": 1})
        await client.apply(CONFIG_MAP, obj, field_manager="me")
        await client.apply(CONFIG_MAP, obj, field_manager="me", force=False, dry_run=True)
        await client.apply_status(DEPLOYMENT, obj, field_manager="me")
        await client.delete(CONFIG_MAP, "x", "y", preconditions={"uid": "u"}, propagation="Foreground")
    core, apps = "/clusters/blue/api/v1/namespaces/x/configmaps", "/clusters/blue/apis/apps/v1/namespaces/x/deployments"
    assert [(r.method, r.path, r.query, r.headers.get("content-type")) for r in server.received] == [
        ("GET", f"{core}/y", {}, None),
        ("POST", core, {"fieldManager": "me", "dryRun": "All"}, "application/json"),
        ("PUT", f"{core}/y", {}, "application/json"),
        ("PUT", f"{apps}/y/status", {}, "application/json"),
        ("PATCH", f"{core}/y", {"fieldManager": "me"}, "application/merge-patch+json"),
        ("PATCH", f"{core}/y", {}, "application/json-patch+json"),
        ("PATCH", f"{apps}/y/status", {}, "application/merge-patch+json"),
        ("PATCH", f"{core}/y", {"fieldManager": "me", "force": "true"}, "application/apply-patch+yaml"),
        ("PATCH", f"{core}/y", {"fieldManager": "me", "dryRun": "All"}, "application/apply-patch+yaml"),
        ("PATCH", f"{apps}/y/status", {"fieldManager": "me", "force": "true"}, "application/apply-patch+yaml"),
        ("DELETE", f"{core}/y", {}, "application/json"),
    ]
    assert server.received[1].json == {"apiVersion": "v1", "kind": "ConfigMap", **obj}
    assert server.received[6].json == {"status": {"a": 1}}
    assert server.received[10].json["preconditions"] == {"uid": "u"}
    assert server.received[10].json["propagationPolicy"] == "Foreground"
    assert obj == {"metadata": {"namespace": "x", "name": "y"}}, "the caller's object is not changed"
    assert server.received[0].headers["user-agent"].startswith("fastcore/")
    assert server.connections == 1, "one connection serves requests that follow each other"


async def test_a_cluster_scoped_object_has_no_namespace_in_its_path():
    async with ScriptedServer([OK]) as server, Client(server.config) as client:
        await client.apply(NAMESPACE, {"metadata": {"name": "y"}}, field_manager="me")
    assert server.lines == ["PATCH /api/v1/namespaces/y"]


async def test_apply_refuses_an_object_that_was_read():
    """WR-2: metadata.managedFields must be absent."""
    async with ScriptedServer([OK]) as server, Client(server.config) as client:
        with pytest.raises(ValueError, match="must not carry managedFields: ConfigMap 'y'"):
            await client.apply(
                CONFIG_MAP, {"metadata": {"namespace": "x", "name": "y", "managedFields": []}}, field_manager="me"
            )
    assert server.received == []


async def test_raw_bytes_go_both_ways():
    async with ScriptedServer([answer(200, b"\x00raw")]) as server, Client(server.config) as client:
        got = await client.request("POST", "/x", params={"a": True, "b": False, "c": None, "d": 1}, body=b"abc")
    assert got == b"\x00raw"
    assert server.received[0].body == b"abc"
    assert server.received[0].query == {"a": "true", "d": "1"}


async def test_a_compressed_answer_is_understood_although_not_asked_for():
    body = answer(200, gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
    async with ScriptedServer([body]) as server, Client(server.config) as client:
        assert await client.get(CONFIG_MAP, "x", "y") == {"a": 1}
    assert server.received[0].headers["accept-encoding"] == "identity"


async def test_clients_of_one_server_share_its_connections():
    async with ScriptedServer([OK]) as server, Client(server.config) as client:
        blue, red = client.scoped("/clusters/blue"), client.scoped("/clusters/red")
        await blue.get(CONFIG_MAP, "x", "y")
        await blue.close()
        await red.get(CONFIG_MAP, "x", "y")
        assert blue.stats is red.stats is client.stats
    assert server.connections == 1
    assert [r.path.split("/")[2] for r in server.received] == ["blue", "red"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout must be > 0 seconds, not 0"),
        ({"retries": -1}, "retries must be >= 0, not -1"),
        ({"max_connections": 0}, "max_connections must be >= 1, not 0"),
    ],
)
async def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Client(ClientConfig("http://127.0.0.1:1"), **options)


# --- Errors


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (400, "BadRequest", BadRequestError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (409, "Conflict", ConflictError),
        (409, "AlreadyExists", AlreadyExistsError),
        (410, "Expired", GoneError),
        (418, "Teapot", ApiError),
        (422, "Invalid", InvalidError),
        (429, "TooManyRequests", TooManyRequestsError),
        (500, "InternalError", ServerError),
        (504, "Timeout", ServerError),
    ],
)
async def test_each_status_has_its_error(status, reason, error):
    """WR-6: AlreadyExists and Conflict are both 409 and differ by reason. LI-1: no Retry-After, no retry."""
    causes = [{"reason": "FieldValueInvalid", "message": "bad", "field": "spec.x"}]
    async with (
        ScriptedServer([failure(status, reason, "because", causes=causes)]) as server,
        Client(server.config) as client,
    ):
        with pytest.raises(error) as caught:
            await client.get(CONFIG_MAP, "x", "y")
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.reason, caught.value.message) == (status, reason, "because")
    assert caught.value.causes == (Cause("FieldValueInvalid", "bad", "spec.x"),)
    assert str(caught.value) == f"{status} {reason}: because"
    assert len(server.received) == 1


@pytest.mark.parametrize("body", [b"<html>proxy says no</html>", b'{"kind": "Pod", "message": 1}', b"", b"\xff\xfe"])
async def test_an_error_that_is_no_status_keeps_its_text(body):
    async with ScriptedServer([answer(502, body)]) as server, Client(server.config) as client:
        with pytest.raises(ServerError) as caught:
            await client.get(CONFIG_MAP, "x", "y")
    assert caught.value.message == (body.decode(errors="replace") or "HTTP status 502")


async def test_a_status_with_fields_of_wrong_types_is_survived():
    body = {"kind": "Status", "reason": 7, "message": [], "details": {"causes": {"a": 1}, "retryAfterSeconds": "x"}}
    async with ScriptedServer([answer(404, body)]) as server, Client(server.config) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.get(CONFIG_MAP, "x", "y")
    assert (caught.value.reason, caught.value.causes, caught.value.retry_after) == ("", (), None)


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"text"', b"\xff"])
async def test_an_answer_that_is_no_object_is_a_decode_error(body):
    async with ScriptedServer([answer(200, body)]) as server, Client(server.config) as client:
        with pytest.raises(DecodeError, match="no JSON object"):
            await client.get(CONFIG_MAP, "x", "y")
        with pytest.raises(DecodeError, match="no list"):
            await client.list(CONFIG_MAP)


async def test_a_redirect_is_not_followed():
    """Credentials go to the configured server and nowhere else."""
    async with ScriptedServer([answer(302, b"", Location="http://127.0.0.1:1/")]) as server:
        async with Client(server.config) as client:
            with pytest.raises(ApiError) as caught:
                await client.get(CONFIG_MAP, "x", "y")
    assert caught.value.status == 302


# --- Retries and deadlines (LI-1)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_retry_after_is_respected(status):
    """LI-1: 429 and 5xx with Retry-After are retried, waiting that long."""
    sleep = FakeSleep()
    async with ScriptedServer([failure(status, Retry_After="3"), failure(status, Retry_After="4"), OK]) as server:
        async with Client(server.config, sleep=sleep) as client:
            await client.create(CONFIG_MAP, {"metadata": {"namespace": "x", "name": "y"}})
            stats = dict(client.stats)
    assert sleep.waits == [3, 4]
    host = f"127.0.0.1:{server.port}"
    assert stats == {(str(status), "POST", host): 2, ("200", "POST", host): 1}


async def test_retry_after_may_be_a_date():
    """LI-1: Retry-After has two forms."""
    sleep = FakeSleep()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True)
    async with ScriptedServer([failure(429, Retry_After=date), failure(429, Retry_After=past), OK]) as server:
        async with Client(server.config, sleep=sleep) as client:
            await client.get(CONFIG_MAP, "x", "y")
    assert 10 < sleep.waits[0] <= 20
    assert sleep.waits[1] == 0


async def test_a_malformed_retry_after_counts_as_none():
    """LI-1: without the header nothing is retried."""
    async with ScriptedServer([failure(429, Retry_After="soon")]) as server, Client(server.config) as client:
        with pytest.raises(TooManyRequestsError):
            await client.get(CONFIG_MAP, "x", "y")
    assert len(server.received) == 1


async def test_ten_retries_and_no_more():
    """LI-1: up to 10 times."""
    sleep = FakeSleep()
    async with ScriptedServer([failure(429, Retry_After="1")]) as server:
        async with Client(server.config, sleep=sleep) as client:
            with pytest.raises(TooManyRequestsError) as caught:
                await client.get(CONFIG_MAP, "x", "y")
    assert len(server.received) == 11
    assert caught.value.retry_after == 1


async def test_a_wait_beyond_the_deadline_is_not_begun():
    """LI-1: a retry has to fit into the deadline, else the server's answer is the error."""
    sleep = FakeSleep()
    async with ScriptedServer([failure(503, message="busy", Retry_After="60")]) as server:
        async with Client(server.config, sleep=sleep) as client:
            with pytest.raises(ServerError, match="busy"):
                await client.get(CONFIG_MAP, "x", "y")
    assert sleep.waits == []


async def test_slow_headers_meet_the_deadline():
    async with ScriptedServer([silence]) as server, Client(server.config, timeout=0.05) as client:
        with pytest.raises(RequestTimeout, match=r"GET /api/v1/namespaces/x/configmaps/y took longer than 0.05 s"):
            await client.get(CONFIG_MAP, "x", "y")
        with pytest.raises(RequestTimeout):
            async with aclosing(client.watch("/x")) as lines:
                await anext(lines)


async def test_a_slow_body_meets_the_deadline():
    async def half(connection, _):
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await connection.reader.read()

    async with ScriptedServer([half]) as server, Client(server.config) as client:
        with pytest.raises(RequestTimeout):
            await client.request("GET", "/x", timeout=0.05)


async def test_a_cut_body_is_a_connection_failure():
    async def half(connection, _):
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        connection.abort()

    async with ScriptedServer([half]) as server, Client(server.config) as client:
        with pytest.raises(ConnectionFailed):
            await client.get(CONFIG_MAP, "x", "y")
        assert client.stats[("<error>", "GET", f"127.0.0.1:{server.port}")] == 1


async def test_refused():
    async with ScriptedServer([OK]) as server:
        pass
    async with Client(server.config) as client:
        with pytest.raises(ConnectionFailed, match=r"GET to 127\.0\.0\.1:"):
            await client.get(CONFIG_MAP, "x", "y")


async def test_a_kept_connection_that_broke_is_replaced_where_that_is_safe():
    """An apply is as good twice as once; a create might have been done, so its failure is the caller's to judge."""
    obj = {"metadata": {"namespace": "x", "name": "y"}}
    async with ScriptedServer([OK, reset, OK, reset, OK]) as server, Client(server.config) as client:
        await client.get(CONFIG_MAP, "x", "y")
        await client.apply(CONFIG_MAP, obj, field_manager="me")
        with pytest.raises(ConnectionFailed):
            await client.create(CONFIG_MAP, obj)
        await client.get(CONFIG_MAP, "x", "y")
    assert [r.method for r in server.received] == ["GET", "PATCH", "PATCH", "POST", "GET"]


async def test_max_connections_bounds_requests_but_not_watches():
    release = asyncio.Event()

    async def held(connection, request):
        await release.wait()
        await OK(connection, request)

    async with ScriptedServer([stream(end="hold"), stream(end="hold"), held]) as server:
        async with Client(server.config, max_connections=2) as client:

            async def watch():
                async with aclosing(client.watch("/w")) as lines:
                    async for _ in lines:
                        pass

            watches = [asyncio.create_task(watch()) for _ in range(2)]
            await until(lambda: len(server.received) == 2)
            gets = [asyncio.create_task(client.get(CONFIG_MAP, "x", "y")) for _ in range(5)]
            await until(lambda: server.in_flight == 4)
            release.set()
            await asyncio.gather(*gets)
            for task in watches:
                task.cancel()
            await asyncio.wait(watches)
    assert server.most_in_flight == 4, "two watches and two requests"


async def test_a_cancelled_request_gives_its_place_back():
    async with ScriptedServer([silence, OK]) as server, Client(server.config, max_connections=1) as client:
        task = asyncio.create_task(client.get(CONFIG_MAP, "x", "y"))
        await until(lambda: len(server.received) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.get(CONFIG_MAP, "x", "y")


async def test_a_closed_client_says_so():
    async with ScriptedServer([OK]) as server:
        client = Client(server.config)
        await client.get(CONFIG_MAP, "x", "y")
        await client.close()
        await client.close()
        with pytest.raises(ConnectionFailed, match="the client is closed"):
            await client.get(CONFIG_MAP, "x", "y")


async def test_a_401_renews_the_credentials_once():
    tokens = iter(["Bearer one", "Bearer two", "Bearer three"])

    async def source(_refused):
        return next(tokens), None

    async with ScriptedServer([failure(401), OK, failure(401), failure(401)]) as server:
        async with Client(ClientConfig(server.url, source=source)) as client:
            await client.get(CONFIG_MAP, "x", "y")
            with pytest.raises(UnauthorizedError):
                await client.get(CONFIG_MAP, "x", "y")
    assert [r.headers["authorization"] for r in server.received] == [
        "Bearer one",
        "Bearer two",
        "Bearer two",
        "Bearer three",
    ]


async def test_a_watch_renews_refused_credentials_too():
    tokens = iter(["Bearer one", "Bearer two"])

    async def source(_refused):
        return next(tokens), None

    async with ScriptedServer([failure(401), stream(b"x\n"), failure(401)]) as server:
        async with Client(ClientConfig(server.url, source=source)) as client:
            async with aclosing(client.watch("/w")) as lines:
                assert [line async for line in lines] == [b"x"]
            with pytest.raises(ConfigError, match="there are no new ones"):
                async with aclosing(client.watch("/w")) as lines:
                    await anext(lines)


# --- Lists


async def test_a_list_is_read_page_by_page_and_has_the_first_pages_revision():
    """RF-10: pages of 500; the list's revision is that of the first page; later pages carry only the token."""
    pages = [listing([{"metadata": {"name": "a"}}], "5", "t1"), listing([{"metadata": {"name": "b"}}], "9")]
    async with ScriptedServer(pages) as server, Client(server.config) as client:
        items, revision = await client.list(CONFIG_MAP, "x", label_selector="a=b,c!=d", resource_version="0")
    assert revision == "5"
    assert items == [
        {"metadata": {"name": "a"}, "apiVersion": "v1", "kind": "ConfigMap"},
        {"metadata": {"name": "b"}, "apiVersion": "v1", "kind": "ConfigMap"},
    ]
    assert [r.query for r in server.received] == [
        {"labelSelector": "a=b,c!=d", "resourceVersion": "0", "limit": "500"},
        {"labelSelector": "a=b,c!=d", "limit": "500", "continue": "t1"},
    ]


async def test_an_expired_token_leads_to_one_full_list():
    """RF-10: a continue token may expire (410) mid-list; the full list stands alone."""
    steps = [listing([config_map("a", 1)], "5", "t1"), failure(410, "Expired"), listing([config_map("b", 7)], "8")]
    async with ScriptedServer(steps) as server, Client(server.config) as client:
        items, revision = await client.list(CONFIG_MAP)
    assert ([i["metadata"]["name"] for i in items], revision) == (["b"], "8")
    assert server.received[2].query == {}


async def test_null_items_are_an_empty_list():
    async with ScriptedServer([answer(200, {"metadata": {}, "items": None})]) as server:
        async with Client(server.config) as client:
            assert await client.list(CONFIG_MAP) == ([], "")


# --- Watches


async def lines_of(*pieces, end="close", **options):
    async with ScriptedServer([stream(*pieces, end=end)]) as server, Client(server.config) as client:
        async with aclosing(client.watch("/w", {"a": "b"}, **options)) as lines:
            got = [line async for line in lines]
    assert server.received[0].query == {"a": "b", "watch": "1"}
    return got


async def test_lines_arrive_whole_however_they_are_cut():
    assert await lines_of(b"one\ntw", b"o", b"\n", b"\n\nthr", b"ee\nfour\n") == [b"one", b"two", b"three", b"four"]


async def test_an_incomplete_last_line_is_dropped():
    assert await lines_of(b"one\ntwo") == [b"one"]


async def test_a_line_may_be_longer_than_any_buffer():
    """LI-5: objects reach 1.5 MB."""
    long = b"x" * 3_000_000
    assert await lines_of(long[:1_000_000], long[1_000_000:], b"\nend\n") == [long, b"end"]


async def test_a_broken_watch_is_a_connection_failure():
    with pytest.raises(ConnectionFailed, match="the watch broke"):
        await lines_of(b"one\n", end="cut")


async def test_a_silent_watch_is_given_up():
    """RF-7: the client must detect silence."""
    with pytest.raises(RequestTimeout, match=r"the watch was silent for 0\.05 s"):
        await lines_of(b"one\n", end="hold", idle_timeout=0.05)


async def test_a_refused_watch_has_the_servers_error():
    async with ScriptedServer([failure(429, "TooManyRequests", Retry_After="7")]) as server:
        async with Client(server.config) as client:
            with pytest.raises(TooManyRequestsError) as caught:
                async with aclosing(client.watch("/w")) as lines:
                    await anext(lines)
    assert caught.value.retry_after == 7
    assert len(server.received) == 1, "nothing is retried: the caller knows where to resume"


async def test_leaving_a_watch_closes_its_connection():
    ended = asyncio.Event()

    async def watched(connection, request):
        await stream(b"one\n", end="hold")(connection, request)
        ended.set()

    async with ScriptedServer([watched]) as server, Client(server.config) as client:
        async with aclosing(client.watch("/w")) as lines:
            assert await anext(lines) == b"one"
        async with asyncio.timeout(5):
            await ended.wait()


# --- The real server


@pytest.mark.kube
async def test_a_real_server_agrees(kube_server):
    """WR-1, WR-2, WR-3, WR-4, WR-6: what the verbs rely on, on kube-apiserver."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        wanted = {"metadata": {"namespace": "default", "name": "client"}, "data": {"a": "1", "b": "2"}}
        first = await client.apply(CONFIG_MAP, wanted, field_manager="me")
        again = await client.apply(CONFIG_MAP, wanted, field_manager="me")
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        less = {**wanted, "data": {"a": "1"}}
        assert (await client.apply(CONFIG_MAP, less, field_manager="me"))["data"] == {"a": "1"}
        with pytest.raises(ConflictError) as conflict:
            await client.apply(CONFIG_MAP, {**wanted, "data": {"a": "9"}}, field_manager="other", force=False)
        assert [c.reason for c in conflict.value.causes] == ["FieldManagerConflict"]
        with pytest.raises(ConflictError):
            await client.update(CONFIG_MAP, first)
        with pytest.raises(AlreadyExistsError):
            await client.create(CONFIG_MAP, wanted)
        with pytest.raises(ConflictError):
            await client.delete(CONFIG_MAP, "default", "client", preconditions={"uid": "another"})
        with pytest.raises(InvalidError) as invalid:
            await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "Not Valid"}})
        assert [c.field for c in invalid.value.causes] == ["metadata.name"]
        patched = await client.patch(CONFIG_MAP, "default", "client", {"data": {"c": "3"}}, patch_type=STRATEGIC_PATCH)
        assert patched["data"] == {"a": "1", "c": "3"}
        assert (await client.delete(CONFIG_MAP, "default", "client"))["status"] == "Success"
        with pytest.raises(NotFoundError) as missing:
            await client.get(CONFIG_MAP, "default", "client")
        assert (missing.value.kind, missing.value.name) == ("configmaps", "client")


@pytest.mark.kube
async def test_a_real_list_in_pages(kube_server):
    """RF-10: the pages of a list show one revision."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        names = [f"page-{n}" for n in range(7)]
        for name in names:
            await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": name, "labels": {"t": "p"}}})
        items, revision = await client.list(CONFIG_MAP, "default", label_selector="t=p", limit=2)
        assert sorted(i["metadata"]["name"] for i in items) == names
        assert {i["kind"] for i in items} == {"ConfigMap"}
        whole, later = await client.list(CONFIG_MAP, "default", label_selector="t=p", limit=0)
        assert whole == items
        assert int(later) >= int(revision) > 0


@pytest.mark.kube
async def test_a_real_token_that_expired(kube_server):
    """RF-10: etcd forgets the revision of a list between two pages; the list is complete all the same."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        widget = await serve_widgets(client, "client.test")
        names = [f"token-{n}" for n in range(5)]
        for name in names:
            await client.create(widget, {"metadata": {"namespace": "default", "name": name}})
        request = client.request
        await compact(kube_server)

        async def late(method, path, *, params, **options):
            token = params.get("continue")
            if token:  # as if the page before it had been read before the compaction, which the server may have cached
                old = json.loads(base64.urlsafe_b64decode(token + "=="))
                token = base64.urlsafe_b64encode(json.dumps({**old, "rv": 2}).encode()).decode().rstrip("=")
            return await request(method, path, params={**params, "continue": token}, **options)

        client.request = late
        items, revision = await client.list(widget, "default", limit=2)
        assert sorted(i["metadata"]["name"] for i in items) == names
        assert client.stats[("410", "GET", client.config.server.removeprefix("https://"))] == 1
        assert max(int(i["metadata"]["resourceVersion"]) for i in items) <= int(revision)


async def compact(kube_server):
    """Make etcd forget every revision before the present one, through its JSON gateway."""
    command = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(kube_server.pids["etcd"])], check=True, capture_output=True, text=True
    ).stdout
    url = next(word for word in command.split() if word.startswith("--listen-client-urls=")).partition("=")[2]
    async with Client(ClientConfig(url)) as etcd:
        answer = await etcd.request("POST", "/v3/kv/range", body=b'{"key": "AA=="}')
        revision = json.loads(answer)["header"]["revision"]
        await etcd.request("POST", "/v3/kv/compaction", body=json.dumps({"revision": revision}).encode())


@pytest.mark.kube
async def test_nothing_is_left_open_on_a_real_server(kube_server):
    """Watches that are left and requests that are cancelled close their TLS connections at once."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        async with aclosing(client.watch("/api/v1/namespaces", {"resourceVersion": "0"})) as lines:
            await anext(lines)
        requests = [asyncio.create_task(client.list(NAMESPACE)) for _ in range(10)]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        for task in requests:
            task.cancel()
        await asyncio.wait(requests)
    await asyncio.sleep(0)
    transports = [
        o for o in gc.get_objects() if isinstance(o, asyncio.Transport) and "_SSLProtocol" in type(o).__name__
    ]
    sockets = [t.get_extra_info("socket") for t in transports]  # None once the transport has been closed for good
    assert [s for s in sockets if s is not None and s.fileno() >= 0] == []


async def test_passwords_in_urls_reach_neither_errors_nor_metrics():
    """Secrets never reach logs or metrics: not that of a proxy, nor one in the server's URL."""

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = ClientConfig("https://bob:hidden-1@192.0.2.1:6443", proxy=f"http://eve:hidden-2@127.0.0.1:{port}")
    async with Client(config) as client:
        with pytest.raises(ConnectionFailed, match=r"GET to 192\.0\.2\.1:6443 failed: .*407") as caught:
            await client.request("GET", "/version")
        assert "hidden" not in f"{caught.value} {client.stats} {config!r}"
    server.close()
    await server.wait_closed()
