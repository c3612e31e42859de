"""The servers that parts of the controller are tried on: the embedded one, and a real kube-apiserver."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from fastcore.controller.config import ClientConfig
from fastcore.testing.apiserver import APIServer

Load = Callable[[], Awaitable[ClientConfig]]


@pytest.fixture(scope="session")
def bare_server() -> Iterator[APIServer]:
    """An embedded server with no controllers beside it, as a bare kube-apiserver is."""
    with APIServer(controllers=()) as server:
        yield server


@pytest.fixture(params=["embedded", pytest.param("kube", marks=pytest.mark.kube)])
def load(request: pytest.FixtureRequest) -> Load:
    """Gives the configuration of each server in turn; call it on the event loop."""
    if request.param == "embedded":
        url: str = request.getfixturevalue("bare_server").url

        async def embedded() -> ClientConfig:
            return ClientConfig(url)

        return embedded
    kubeconfig: str = request.getfixturevalue("kube_server").kubeconfig

    async def kube() -> ClientConfig:
        return await ClientConfig.load(kubeconfig)

    return kube
