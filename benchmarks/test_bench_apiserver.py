"""The embedded API server without its sockets: what one request costs, and what one event costs for each watch."""

import itertools
import json
from typing import Any

import pytest
from benchmarks.conftest import per_call

from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.message import Request, Response
from fastcore.testing.apiserver.watch import WatchStream

MAPS = "/api/v1/namespaces/default/configmaps"
CALLS = 100
WATCHES = 20


@pytest.fixture
def api() -> API:
    return API()


def config_map(name: str, value: str = "x") -> bytes:
    """About 1.1 KB, as in the reference job."""
    data = {f"key-{index}": value * 80 for index in range(10)}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "a"}}, "data": data}
    return json.dumps(obj).encode()


def send(api: API, method: str, path: str, body: bytes = b"", form: str = "json", query: str = "") -> None:
    headers = {"content-type": f"application/{form}", "user-agent": "bench"}
    answer = api.handle(Request(method, path, query, headers, body))
    assert isinstance(answer, Response)
    assert answer.code < 300, answer.body


@pytest.mark.subject("API server: create", "fastcore")
def test_create(benchmark: Any, api: API) -> None:
    numbers = itertools.count()

    def create() -> None:
        for _ in range(CALLS):
            send(api, "POST", MAPS, config_map(f"m{next(numbers)}"))

    per_call(benchmark, create, CALLS, rounds=20)


@pytest.mark.subject("API server: apply", "fastcore")
def test_apply(benchmark: Any, api: API) -> None:
    values = itertools.cycle("ab")

    def apply() -> None:
        value = next(values)
        for number in range(CALLS):
            body = config_map(f"m{number}", value)
            send(api, "PATCH", f"{MAPS}/m{number}", body, "apply-patch+yaml", "fieldManager=bench")

    per_call(benchmark, apply, CALLS, rounds=20)


@pytest.mark.subject("API server: get", "fastcore")
def test_get(benchmark: Any, api: API) -> None:
    send(api, "POST", MAPS, config_map("a"))

    def get() -> None:
        for _ in range(CALLS):
            send(api, "GET", f"{MAPS}/a")

    per_call(benchmark, get, CALLS)


@pytest.mark.subject("API server: watch event", "fastcore")
def test_watch_events(benchmark: Any, api: API) -> None:
    send(api, "POST", MAPS, config_map("a"))
    streams = []
    for _ in range(WATCHES):
        stream = api.handle(Request("GET", MAPS, "watch=1"))
        assert isinstance(stream, WatchStream)
        streams.append(stream)
    numbers = itertools.count()

    def update() -> None:
        for _ in range(CALLS):
            body = json.dumps({"data": {"n": str(next(numbers))}}).encode()
            send(api, "PATCH", f"{MAPS}/a", body, "merge-patch+json")
        for stream in streams:
            assert stream.take()

    per_call(benchmark, update, CALLS * WATCHES, rounds=20)
