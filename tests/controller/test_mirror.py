"""Informers that lose connections, history and whole servers still end up with exactly what the server has."""

# ruff: noqa: SIM117 - the client is made inside the server

import asyncio
from contextlib import asynccontextmanager
from random import Random
from urllib.parse import urlsplit

import pytest

from controller.scripted import FakeSleep, until
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ApiError, NotFoundError
from fastcore.controller.informer import Informer
from fastcore.controller.model import CONFIG_MAP, key_of
from fastcore.controller.workspace import Workspace, Workspaces
from fastcore.testing.apiserver import APIServer
from fastcore.testing.relay import Relay

LABEL = "test.fastcore.dev/mirror"


class Mirror:
    """A handler that keeps its own copy, and checks that what it is told makes sense."""

    def __init__(self):
        self.objects = {}

    def on_add(self, obj, initial):
        assert key_of(obj) not in self.objects
        self.objects[key_of(obj)] = obj

    def on_update(self, old, new):
        held = self.objects[key_of(new)]
        assert held["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]
        assert held["metadata"]["uid"] == new["metadata"]["uid"]
        self.objects[key_of(new)] = new

    def on_delete(self, obj):
        assert self.objects.pop(key_of(obj))["metadata"]["uid"] == obj["metadata"]["uid"]


@asynccontextmanager
async def mirroring(workspace, **options):
    informer = Informer(workspace, CONFIG_MAP, sleep=FakeSleep(), **options)
    mirror = Mirror()
    informer.add_handler(mirror)
    task = asyncio.create_task(informer.run())
    try:
        await informer.wait_synced(20)
        yield informer, mirror
    finally:
        await informer.stop()
        await task
    assert informer.stats().handler_errors == 0, "a handler was told something impossible"


async def write_at_random(client, namespace, random, informer, number):
    """Creations, changes, deletions; some answers are observed at once, some late, some never."""
    late = []
    for turn in range(number):
        name = f"mirror-{random.randrange(6)}"
        try:
            if random.random() < 0.25:
                await client.delete(CONFIG_MAP, namespace, name)
                continue
            obj = {"metadata": {"namespace": namespace, "name": name, "labels": {LABEL: "x"}}, "data": {"t": str(turn)}}
            answer = await client.apply(CONFIG_MAP, obj, field_manager="test")
        except NotFoundError:
            continue
        chance = random.random()
        if chance < 0.5:
            informer.observe(answer)
        elif chance < 0.8:
            late.append(answer)
        if late and random.random() < 0.3:
            informer.observe(late.pop(random.randrange(len(late))))
    for answer in late:
        informer.observe(answer)


async def check_converged(client, namespace, informer, mirror):
    """Wait until informer and mirror hold exactly what the server lists."""

    async def server():
        items, _ = await client.list(CONFIG_MAP, namespace, label_selector=f"{LABEL}=x")
        return {key_of(i): i["metadata"]["resourceVersion"] for i in items}

    def versions(objects):
        return {
            key_of(o): o["metadata"]["resourceVersion"] for o in objects if LABEL in o["metadata"].get("labels", {})
        }

    wanted = await server()
    await until(lambda: versions(informer.list()) == wanted == versions(mirror.objects.values()), timeout=20)
    assert await server() == wanted


async def cut_at_random(relay, random, done):
    while not done.is_set():
        await asyncio.sleep(random.uniform(0, 0.05))
        relay.cut()
        relay.refuse = random.random() < 0.2


@pytest.mark.parametrize("seed", range(3))
async def test_cuts_and_a_short_history(seed):
    """RF-1, RF-5, RF-6, RF-9: watches are cut, servers refuse, and history is so short that most cuts end in a 410."""
    random = Random(seed)
    async with APIServer(history=4, bookmark_period=0.02) as server:
        address = urlsplit(server.url)
        async with (
            Relay(address.hostname, address.port) as relay,
            Client(ClientConfig(f"http://127.0.0.1:{relay.port}")) as through,
            Client(ClientConfig(server.url)) as direct,
            mirroring(Workspace("w", through)) as (informer, mirror),
        ):
            done = asyncio.Event()
            cutting = asyncio.create_task(cut_at_random(relay, random, done))
            await write_at_random(direct, "default", random, informer, 400)
            done.set()
            await cutting
            relay.refuse = False
            await check_converged(direct, "default", informer, mirror)
            stats = informer.stats()
            assert stats.watches > 3, "nothing was cut"
            assert stats.lists > 1, "no history was lost"


async def test_a_server_that_goes_and_comes_back():
    """RF-5: connection refused for a while, then the same objects; the watch resumes without a list."""
    server = APIServer(bookmark_period=0.02)
    async with server, Client(ClientConfig(server.url)) as client:
        async with mirroring(Workspace("w", client)) as (informer, mirror):
            for turn in range(3):
                await write_at_random(client, "default", Random(turn), informer, 20)
                await check_converged(client, "default", informer, mirror)
                failures = informer.stats().failures
                await server.astop()
                await until(lambda n=failures: informer.stats().failures > n)
                await server.astart()
            await write_at_random(client, "default", Random(9), informer, 20)
            await check_converged(client, "default", informer, mirror)
            assert informer.stats().lists == 1


async def test_workspaces_of_one_server_do_not_see_each_other():
    """WR-8, RF-11: versions are one sequence of the server, objects are not."""
    async with APIServer() as server:
        async with await Workspaces.for_server(ClientConfig(server.url), ["blue", "red"]) as workspaces:
            blue, red = workspaces
            async with mirroring(blue) as (in_blue, blue_mirror), mirroring(red) as (in_red, red_mirror):
                await asyncio.gather(
                    write_at_random(blue.client, "default", Random(1), in_blue, 60),
                    write_at_random(red.client, "default", Random(2), in_red, 60),
                )
                await check_converged(blue.client, "default", in_blue, blue_mirror)
                await check_converged(red.client, "default", in_red, red_mirror)


@pytest.mark.kube
@pytest.mark.parametrize("seed", range(2))
async def test_cuts_on_a_real_server(kube_server, seed):
    """RF-5, RF-6, RF-11: the same on kube-apiserver, over TLS, with a selector."""
    random = Random(seed)
    direct_config = await ClientConfig.load(kube_server.kubeconfig)
    async with Relay("127.0.0.1", urlsplit(kube_server.url).port) as relay:
        config = ClientConfig(
            f"https://127.0.0.1:{relay.port}", token=kube_server.token, ssl_context=direct_config.ssl_context
        )
        async with (
            Client(config) as through,
            Client(direct_config) as direct,
            mirroring(Workspace("w", through, "default"), label_selector=f"{LABEL}=x") as (informer, mirror),
        ):
            done = asyncio.Event()
            cutting = asyncio.create_task(cut_at_random(relay, random, done))
            await write_at_random(direct, "default", random, informer, 150)
            done.set()
            await cutting
            relay.refuse = False
            await check_converged(direct, "default", informer, mirror)
            assert informer.stats().watches > 3
            for name in [n for _, n in mirror.objects]:
                await direct.delete(CONFIG_MAP, "default", name)
            await until(lambda: mirror.objects == {})


async def test_a_client_that_is_cut_while_it_writes_tells_the_truth():
    """A write either succeeded, or raised; an apply that raised may be repeated, and the end is what was asked."""
    async with APIServer() as server:
        address = urlsplit(server.url)
        random = Random(4)
        async with (
            Relay(address.hostname, address.port) as relay,
            Client(ClientConfig(f"http://127.0.0.1:{relay.port}")) as through,
            Client(ClientConfig(server.url)) as direct,
        ):
            done = asyncio.Event()
            cutting = asyncio.create_task(cut_at_random(relay, random, done))
            for turn in range(150):
                obj = {"metadata": {"namespace": "default", "name": "x"}, "data": {"t": str(turn)}}
                while True:
                    try:
                        answer = await through.apply(CONFIG_MAP, obj, field_manager="test")
                        break
                    except ApiError:
                        await asyncio.sleep(0)
                assert answer["data"] == {"t": str(turn)}
            done.set()
            await cutting
            assert (await direct.get(CONFIG_MAP, "default", "x"))["data"] == {"t": "149"}
