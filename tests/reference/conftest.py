"""The servers that the reference controller is tried on."""

from collections.abc import Awaitable, Callable

import pytest

from fastcore.controller.config import ClientConfig
from fastcore.testing.kube import KubeServer

Load = Callable[[], Awaitable[ClientConfig]]


@pytest.fixture(params=[pytest.param("kube", marks=pytest.mark.kube)])
def load(request: pytest.FixtureRequest) -> Load:
    """Gives the configuration of each server in turn; call it on the event loop."""
    server: KubeServer = request.getfixturevalue("kube_server")

    async def config() -> ClientConfig:
        return await ClientConfig.load(server.kubeconfig)

    return config
