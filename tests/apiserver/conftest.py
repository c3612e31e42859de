"""The embedded server without sockets, and with."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from apiserver.http_client import JSON, Answer, Client
from fastcore.testing.apiserver import APIServer
from fastcore.testing.apiserver.api import API, Settings
from fastcore.testing.apiserver.controllers import BUILT_IN_CONTROLLERS, Controllers
from fastcore.testing.apiserver.message import Request, Response
from fastcore.testing.apiserver.watch import WatchStream


class Local(Client):
    """The client of the conformance suite, straight into an API: no sockets, no threads, and time stands still."""

    def __init__(self, controllers: tuple[str, ...] = BUILT_IN_CONTROLLERS, **settings: Any) -> None:
        super().__init__("http://local")
        self.now = 1_700_000_000.0
        self.api = API(Settings(now=lambda: self.now, seed=1, **settings))
        self.controllers = Controllers(self.api, controllers)

    def settle(self) -> None:
        """Let the built-in controllers do all that they have to do."""
        while self.controllers.step():
            pass

    def _request(
        self, method: str, path: str, body: Any, content_type: str, accept: str, query: dict[str, Any]
    ) -> Response | WatchStream:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": content_type, "accept": accept, "user-agent": "local"}
        text = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}
        request = Request(method, self.base + path, urlencode(text, quote_via=quote), headers, data)
        return self.api.handle(request, self.api.faults.judge(request))

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON, **query: Any
    ) -> Answer:
        response = self._request(method, path, body, content_type, accept, query)
        assert isinstance(response, Response)
        return Answer(response.code, response.body, {name.lower(): value for name, value in response.headers})

    def stream(self, path: str, accept: str = JSON, **query: Any) -> WatchStream:
        """A watch, whose lines wait for `lines`."""
        stream = self._request("GET", path, None, JSON, accept, {"watch": True, **query})
        assert isinstance(stream, WatchStream), stream
        return stream


def lines(stream: WatchStream) -> list[dict[str, Any]]:
    """The events that wait."""
    return [json.loads(line) for line in stream.take().splitlines()]


def brief(stream: WatchStream) -> list[tuple[str, str]]:
    """The events that wait, as (type, name)."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in lines(stream)]


@pytest.fixture
def local() -> Local:
    return Local()


@pytest.fixture
def embedded() -> Iterator[APIServer]:
    """A server of the test's own, in a thread."""
    with APIServer() as server:
        yield server


@pytest.fixture
def client(embedded: APIServer) -> Iterator[Client]:
    client = Client(embedded.url)
    yield client
    client.close()


MAPS = "/api/v1/namespaces/default/configmaps"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FOOS = "/apis/t.dev/v1/namespaces/default/foos"


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"k": "v"}}


def foo(name: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "t.dev/v1", "kind": "Foo", "metadata": {"name": name, **metadata}, "spec": spec or {}}


def foo_crd(color: str = "red") -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"color": {"type": "string", "default": color}}},
        },
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "foos", "kind": "Foo"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.t.dev"},
        "spec": {"group": "t.dev", "scope": "Namespaced", "names": names, "versions": [version]},
    }
