"""The server's limits as the client keeps to them: sizes before sending, flow schemas counted, its own bucket."""

import asyncio
from contextlib import aclosing

import pytest

from controller.scripted import FakeSleep, ScriptedServer, answer, failure
from fastcore.controller.client import JSON_PATCH, Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import TooLargeError, TooManyRequestsError
from fastcore.controller.flow import OTHER, Flow
from fastcore.controller.flow_metrics import flow_families
from fastcore.controller.limits import MAX_ANNOTATIONS, MAX_BODY, check_annotations, check_patch
from fastcore.controller.model import CONFIG_MAP, NAMESPACE
from fastcore.ratelimit import TokenBucket

OK = answer(200, {})
FLOW = {"X_Kubernetes_PF_FlowSchema_UID": "schema", "X_Kubernetes_PF_PriorityLevel_UID": "level"}


async def test_a_body_that_the_server_would_refuse_is_not_sent():
    """LI-5: bodies of at most 3 MiB."""
    async with ScriptedServer([OK]) as server, Client(server.config) as client:
        await client.request("POST", "/x", body=b"x" * MAX_BODY)
        with pytest.raises(TooLargeError, match="POST /x has 3145729 bytes, more than the 3145728") as caught:
            await client.request("POST", "/x", body=b"x" * (MAX_BODY + 1))
    assert caught.value.status == 413
    assert len(server.received) == 1


def test_annotations_and_patches_have_limits():
    """LI-5: annotations of 256 KiB in total, JSON patches of 10,000 operations."""
    fits = {"metadata": {"name": "x", "annotations": {"é": "x" * (MAX_ANNOTATIONS - 2)}}}
    check_annotations("ConfigMap", fits)
    check_annotations("ConfigMap", {"metadata": {"annotations": {"a": 1}}})
    fits["metadata"]["annotations"]["é"] += "y"
    with pytest.raises(TooLargeError, match="annotations of ConfigMap 'x' have 262145 bytes, more than the 262144"):
        check_annotations("ConfigMap", fits)
    check_patch("ConfigMap", "x", 10_000)
    with pytest.raises(TooLargeError, match="10001 operations, more than the 10000"):
        check_patch("ConfigMap", "x", 10_001)


async def test_the_verbs_check_what_they_send():
    """LI-5: nothing too large leaves the client."""
    async with ScriptedServer([OK]) as server, Client(server.config) as client:
        large = {"metadata": {"namespace": "x", "name": "y", "annotations": {"a": "x" * MAX_ANNOTATIONS}}}
        with pytest.raises(TooLargeError):
            await client.apply(CONFIG_MAP, large, field_manager="me")
        with pytest.raises(TooLargeError):
            await client.patch(CONFIG_MAP, "x", "y", [{"op": "test"}] * 10_001, patch_type=JSON_PATCH)
    assert server.received == []


async def test_a_413_of_the_server_is_the_same_error():
    """LI-5: limits that only the server knows."""
    async with ScriptedServer([failure(413, "RequestEntityTooLarge")]) as server, Client(server.config) as client:
        with pytest.raises(TooLargeError):
            await client.request("POST", "/x", body=b"x")


async def test_flow_schemas_and_rejections_are_counted():
    """LI-2: the headers name the schema and priority level; a 429 counts for its level, and Retry-After is kept to."""
    sleep = FakeSleep()
    steps = [failure(429, Retry_After="32", **FLOW), answer(200, {}, **FLOW), failure(429)]
    async with ScriptedServer(steps) as server, Client(server.config, sleep=sleep, timeout=60) as client:
        await client.scoped("/a").request("GET", "/x")
        with pytest.raises(TooManyRequestsError):
            await client.request("GET", "/x")
        assert client.flow.accepted == {("schema", "level"): 1}
        assert client.flow.rejected == {"level": 1, "": 1}
        families = {family.name: family for family in flow_families([client])}
        assert [s.value for s in families["fastcore_apf_requests"].samples] == [1]
        assert [s.value for s in families["fastcore_apf_rejected"].samples] == [1, 1]
    assert sleep.waits == [32]


def test_the_counters_of_flow_schemas_are_bounded():
    flow = Flow()
    for n in range(200):
        headers = {"x-kubernetes-pf-flowschema-uid": "s", "x-kubernetes-pf-prioritylevel-uid": str(n)}
        flow.answered(200, headers)
        flow.answered(429, headers)
    assert len(flow.accepted) == len(flow.rejected) == 101
    assert (flow.accepted[OTHER, OTHER], flow.rejected[OTHER]) == (100, 100)


async def test_the_clients_own_limit_is_visible(clock):
    """LI-4: the time spent waiting for the client's bucket is counted, and clients that share connections share it."""
    sleep = FakeSleep()
    bucket = TokenBucket(10, 2, clock=clock)
    async with ScriptedServer([OK]) as server, Client(server.config, sleep=sleep, limiter=bucket) as client:
        for _ in range(2):
            await client.request("GET", "/x")
        await client.scoped("/a").request("GET", "/x")
        await client.request("GET", "/x")
        waits = client.flow.waits["GET"]
        families = {family.name: family for family in flow_families([client, client.scoped("/b")])}
        samples = families["rest_client_rate_limiter_duration_seconds"].samples
        assert [s.value for s in samples if s.name.endswith("_count")] == [4]
    assert sleep.waits == pytest.approx([0.1, 0.2])
    assert (sum(waits.counts), waits.sum) == (4, pytest.approx(0.3))


async def test_a_cancelled_wait_gives_its_token_back(clock):
    """LI-4: nobody pays for a request that was not sent."""
    bucket = TokenBucket(1, 1, clock=clock)
    async with Client(ClientConfig("http://127.0.0.1:9"), limiter=bucket) as client:
        bucket.allow()
        task = asyncio.create_task(client.request("GET", "/x"))
        await asyncio.sleep(0)
        before = bucket.tokens
        task.cancel()
        await asyncio.wait([task])
    assert bucket.tokens == before + 1 == 0


@pytest.mark.kube
async def test_a_real_server_names_its_flow_schemas(kube_server):
    """LI-2, LI-3: requests and a running watch's beginning count for a priority level."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        await client.get(NAMESPACE, None, "default")
        async with aclosing(client.watch("/api/v1/namespaces")) as lines:
            await anext(lines)
        assert sum(client.flow.accepted.values()) == 2
        (pair,) = client.flow.accepted
        assert all(len(uid) == 36 for uid in pair)
        assert not client.flow.rejected
