"""pytest fixtures for controllers' tests, loaded by pytest itself wherever fastcore is installed.

`api_server` is the embedded API server, new for each test; `kube_server` and `kube_cluster` are real ones.
`redis_server` is a real redis-server, new for each test, `postgres_server` a real PostgreSQL for the session.
`no_leaks` fails a test that leaves tasks or threads behind.

`FASTCORE_REQUIRE=kube,...` turns the absence of a real part from a skip into a failure.
"""

import functools
import inspect
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from fastcore.testing.kube import CONTROLLERS, KubeServer, find_binary

if TYPE_CHECKING:
    from fastcore.testing.apiserver import APIServer
    from fastcore.testing.postgres import PostgresServer
    from fastcore.testing.redis import RedisServer


def required(part: str) -> bool:
    """Whether `FASTCORE_REQUIRE` names `part`."""
    return part in os.environ.get("FASTCORE_REQUIRE", "").split(",")


def need(part: str, *binaries: str) -> None:
    """Skip the test, or fail it if `part` is required, unless every binary can be found."""
    missing = [name for name in binaries if find_binary(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not found: set KUBEBUILDER_ASSETS or PATH (make services may install it)"
        if required(part):
            pytest.fail(f"FASTCORE_REQUIRE names {part!r}, but {reason}", pytrace=False)
        pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "api_server(**arguments): how the fixture api_server makes its APIServer")


@pytest.fixture
def api_server(request: pytest.FixtureRequest) -> "Iterator[APIServer]":
    """An embedded API server, empty and of this test alone; it starts in milliseconds.

    `@pytest.mark.api_server(tls=True)` gives arguments to it.
    """
    from fastcore.testing.apiserver import APIServer

    marker = request.node.get_closest_marker("api_server")
    with APIServer(**(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture(scope="session")
def kube_server() -> Iterator[KubeServer]:
    """A real kube-apiserver and etcd, shared by the whole session."""
    need("kube", "etcd", "kube-apiserver", "openssl")
    with KubeServer() as server:
        yield server


@pytest.fixture(scope="session")
def kube_cluster() -> Iterator[KubeServer]:
    """A real kube-apiserver with kube-controller-manager: garbage collection, namespaces, Deployments."""
    need("kube", "etcd", "kube-apiserver", "kube-controller-manager", "openssl")
    with KubeServer(controllers=CONTROLLERS) as server:
        yield server


@pytest.fixture
def redis_server() -> "Iterator[RedisServer]":
    """A real redis-server, empty and of this test alone; it starts in some 20 milliseconds."""
    need("redis", "redis-server")
    from fastcore.testing.redis import RedisServer

    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> "Iterator[PostgresServer]":
    """A real PostgreSQL, shared by the whole session; it starts in two seconds."""
    from fastcore.testing.postgres import PostgresServer, postgres_binary

    if postgres_binary("postgres") is None or postgres_binary("initdb") is None:
        need("postgres", "postgres", "initdb")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test if a task or thread that it started outlives it, and says where that one was created."""
    from fastcore.work import LeakDetector

    test = request.node.obj
    if inspect.iscoroutinefunction(test):
        # The runner cancels what a test leaves in its loop, so a look afterwards would find no task.
        @functools.wraps(test)
        async def watched(*args: Any, **kwargs: Any) -> None:
            async with LeakDetector():
                await test(*args, **kwargs)

        request.node.obj = watched
    with LeakDetector():
        yield
