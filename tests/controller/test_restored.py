"""A server that comes back with an older history: mirrored as it is, not as it was."""

import asyncio

from controller.scripted import FakeSleep, until
from controller.test_reflector import Sink
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CONFIG_MAP
from fastcore.controller.reflector import Reflector
from fastcore.testing.apiserver import APIServer


def config_map(name):
    return {"metadata": {"namespace": "default", "name": name}}


async def test_a_server_that_lost_its_history_is_read_anew():
    """RF-1, RF-9: it would take a watch from the future, and stay silent until it is there."""
    first = APIServer()
    await first.__aenter__()
    config = ClientConfig(first.url)
    port = int(first.url.rpartition(":")[2])
    sink = Sink()
    async with Client(config) as client:
        for number in range(50):
            await client.create(CONFIG_MAP, config_map(f"lost{number}"))
        reflector = Reflector(client, CONFIG_MAP, "default", sink, sleep=FakeSleep())
        task = asyncio.create_task(reflector.run())
        await until(lambda: "lost49" in sink.objects)
        before = int(reflector.position or 0)
        await first.__aexit__(None, None, None)
        async with APIServer(port=port), Client(config) as other:
            await other.create(CONFIG_MAP, config_map("kept"))
            await until(lambda: "kept" in sink.objects)
            assert not any(name.startswith("lost") for name in sink.objects)
            assert int(reflector.position or 0) < before
            await other.create(CONFIG_MAP, config_map("new"))
            await until(lambda: "new" in sink.objects)
            task.cancel()
            await asyncio.wait([task])
