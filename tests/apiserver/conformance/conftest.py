"""The servers that the suite runs on: the embedded one and a real kube-apiserver. Every test must pass on both."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apiserver.http_client import Client
from apiserver.objects import DEMO_EXTRA, DEMO_SCHEMA, DEMO_SUBRESOURCES, GROUP, create_crd
from fastcore.testing.apiserver import APIServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["embedded", pytest.param("real", marks=pytest.mark.kube)])
def server(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of each server."""
    if request.param == "real":
        real = request.getfixturevalue("kube_server")
        client = Client(real.url, real.token, real.ca)
        yield client
        client.close()
    else:
        with APIServer(controllers=()) as embedded:
            client = Client(embedded.url)
            yield client
            client.close()


@pytest.fixture
def namespace(server: Client) -> str:
    """A namespace of the test's own."""
    name = f"conformance-{next(_numbers)}"
    server.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def maps(namespace: str) -> str:
    """Path of the ConfigMaps of the test's namespace."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def deployments(namespace: str) -> str:
    """Path of the Deployments of the test's namespace."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


@pytest.fixture(scope="session")
def custom_kind(server: Client) -> None:
    """The kind `Demo`, with every trait that the suite needs."""
    create_crd(server, "demos", "Demo", DEMO_SCHEMA, subresources=DEMO_SUBRESOURCES, extra=DEMO_EXTRA)


@pytest.fixture
def demos(custom_kind: None, namespace: str) -> str:
    """Path of the Demos of the test's namespace."""
    return f"/apis/{GROUP}/v1/namespaces/{namespace}/demos"


@pytest.fixture
def crd(server: Client) -> Callable[..., str]:
    """Make a CRD of the test's own; returns its plural name."""

    def make(schema: dict[str, Any], **options: Any) -> str:
        plural = f"things{next(_numbers)}"
        create_crd(server, plural, plural.capitalize(), schema, **options)
        return plural

    return make
