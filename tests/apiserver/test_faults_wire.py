"""Faults as a client on the wire meets them."""

import asyncio
import threading
import time
from http.client import HTTPException
from urllib.parse import urlsplit

import aiohttp
import pytest

from apiserver.conftest import MAPS, config_map
from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer


def test_refused(embedded: APIServer, client: Client) -> None:
    """LI-1: the header Retry-After goes with 429."""
    embedded.faults.error(429, retry_after=2, count=1)
    answer = client.get(MAPS)
    assert (answer.code, answer.headers["retry-after"]) == (429, "2")
    assert client.get(MAPS).code == 200


@pytest.mark.parametrize(("answer", "done"), [(False, []), (True, ["a"])])
def test_reset(embedded: APIServer, client: Client, answer: bool, done: list[str]) -> None:
    """Group 11: the connection is reset before the write, or after it and before the answer."""
    embedded.faults.reset(answer=answer, verbs=("create",), count=1)
    with pytest.raises(ConnectionResetError):
        client.post(MAPS, config_map("a"))
    other = Client(embedded.url)
    assert other.get(MAPS).names == done
    other.close()


def test_reset_of_a_watch(embedded: APIServer, client: Client) -> None:
    """Group 11: a watch whose opening is reset is not left behind."""
    embedded.faults.reset(answer=True, verbs=("watch",), count=1)
    with pytest.raises(ConnectionResetError), client.watch(MAPS):
        pass
    assert embedded.call(lambda: len(embedded.api.watches)) == 0


@pytest.mark.parametrize(("answer", "seen"), [(False, ["a"]), (True, [])])
async def test_latency(embedded: APIServer, answer: bool, seen: list[str]) -> None:
    """Group 11: a late request sees what was written meanwhile; a late answer does not. Others are not held up."""
    fault = embedded.faults.latency(1, answer=answer, verbs=("list",))

    async def read() -> list[str]:
        async with session.get(MAPS) as response:
            return [item["metadata"]["name"] for item in (await response.json())["items"]]

    async with aiohttp.ClientSession(embedded.url, timeout=aiohttp.ClientTimeout(20)) as session:
        late = asyncio.create_task(read())
        while not fault.hits:
            await asyncio.sleep(0)
        async with session.post(MAPS, json=config_map("a")) as response:
            assert response.status == 201
        assert await late == seen


def test_lag(embedded: APIServer, client: Client) -> None:
    """Group 11: events come late, all of them and in order."""
    embedded.faults.lag(0.2)
    start = client.get(MAPS).revision
    with client.watch(MAPS, resourceVersion=start) as events:
        begin = time.monotonic()
        for name in "abc":
            client.post(MAPS, config_map(name))
        assert [next(events)["object"]["metadata"]["name"] for _ in range(3)] == ["a", "b", "c"]
        assert time.monotonic() - begin >= 0.2


def test_stop_does_not_wait(embedded: APIServer) -> None:
    """Group 11: a server with a request that is an hour late stops all the same."""
    fault = embedded.faults.latency(3600)
    address = urlsplit(embedded.url)

    def ask() -> None:
        with pytest.raises((OSError, HTTPException)):
            Client(f"http://{address.netloc}").get("/readyz")

    thread = threading.Thread(target=ask)
    thread.start()
    while not fault.hits:
        time.sleep(0.001)
    embedded.stop()
    thread.join(10)
    assert not thread.is_alive()
