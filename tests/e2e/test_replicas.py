"""Replicas as real processes, on the embedded API server and on a real one: killed, stopped, woken and sent away."""

import asyncio
import json
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import NotFoundError
from fastcore.controller.model import CONFIG_MAP, LEASE, NAMESPACE
from fastcore.controller.rendezvous import Member, key_hash
from fastcore.controller.roster import DRAINED_ANNOTATION
from fastcore.testing.apiserver import APIServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

PROGRAM = Path(__file__).with_name("replica.py")


class Replica:
    """A process of `replica.py`."""

    def __init__(self, kubeconfig: str, namespace: str, name: str, mode: str, log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "dev", str(PROGRAM), kubeconfig, namespace, name, mode],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 30)


class Field:
    """A namespace, the replicas in it, and what can be seen of them."""

    def __init__(self, client: Client, kubeconfig: str, folder: Path) -> None:
        self.client = client
        self.namespace = f"replicas-{uuid.uuid4().hex[:8]}"
        self.replicas: dict[str, Replica] = {}
        self._kubeconfig = kubeconfig
        self._folder = folder

    def start(self, *names: str, mode: str) -> None:
        for name in names:
            log = self._folder / f"{name}.log"
            self.replicas[name] = Replica(self._kubeconfig, self.namespace, name, mode, log)

    async def create(self, prefix: str, count: int) -> None:
        async def one(number: int) -> None:
            meta = {"namespace": self.namespace, "name": f"{prefix}{number}", "labels": {"source": "yes"}}
            await self.client.create(CONFIG_MAP, {"metadata": meta, "data": {}})

        for begin in range(0, count, 10):
            await asyncio.gather(*(one(number) for number in range(begin, min(begin + 10, count))))

    async def children(self) -> dict[str, list[str]]:
        """Who has written each child."""
        found = (await self.client.list(CONFIG_MAP, self.namespace)).items
        return {
            obj["metadata"]["name"]: [entry["manager"] for entry in obj["metadata"]["managedFields"]]
            for obj in found
            if obj["metadata"]["name"].endswith("-child")
        }

    async def leader(self) -> str:
        try:
            return (await self.client.get(LEASE, self.namespace, "web"))["spec"].get("holderIdentity") or ""
        except NotFoundError:
            return ""

    async def settled(self, *names: str) -> bool:
        """Whether exactly these members have drained for the present epoch of the group."""
        try:
            roster = await self.client.get(LEASE, self.namespace, "web")
        except NotFoundError:
            return False
        leases = {x["spec"]["holderIdentity"]: x for x in (await self.client.list(LEASE, self.namespace)).items
                  if x["metadata"]["name"] != "web"}  # fmt: skip
        epoch = roster["metadata"]["resourceVersion"]
        told = {n: (x["metadata"].get("annotations") or {}).get(DRAINED_ANNOTATION) for n, x in leases.items()}
        return told == dict.fromkeys(names, epoch)

    async def until(self, condition: Callable[[], Any], seconds: float = 40.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await condition():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            logs = "\n".join(f"--- {r.name}\n{r.log.read_text()[-3000:]}" for r in self.replicas.values())
            raise AssertionError(f"not within {seconds} s\n{logs}") from None

    async def all_children(self, count: int, seconds: float = 60.0) -> dict[str, list[str]]:
        async def there() -> bool:
            return len(await self.children()) == count

        await self.until(there, seconds)
        return await self.children()


def kubeconfig_for(url: str, folder: Path) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


@pytest.fixture(params=["embedded", pytest.param("kube", marks=pytest.mark.kube)])
def kubeconfig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "kube":
        yield request.getfixturevalue("kube_server").kubeconfig
        return
    with APIServer() as server:
        yield kubeconfig_for(server.url, tmp_path)


@asynccontextmanager
async def field(kubeconfig: str, folder: Path) -> AsyncIterator[Field]:
    async with Client(await ClientConfig.load(kubeconfig)) as client:
        made = Field(client, kubeconfig, folder)
        await client.create(NAMESPACE, {"metadata": {"name": made.namespace}})
        try:
            yield made
        finally:
            for replica in made.replicas.values():
                replica.process.kill()
                replica.process.wait()


async def elected(here: Field, *names: str) -> tuple[str, str]:
    """The leader and the other of two."""
    here.start(*names, mode="leader")

    async def one() -> bool:
        return await here.leader() in names

    await here.until(one)
    leader = await here.leader()
    return leader, next(name for name in names if name != leader)


async def test_a_killed_leader_is_followed_and_nothing_is_lost_or_done_twice(kubeconfig: str, tmp_path: Path) -> None:
    """LE-3, CT-8: kill -9 in the middle of a storm; the standby's caches are warm."""
    writers = await storm(kubeconfig, tmp_path, 200)
    assert writers == [1] * 200


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_storm_of_two_thousand_survives_a_killed_leader(kubeconfig: str, tmp_path: Path) -> None:
    """LE-3."""
    writers = await storm(kubeconfig, tmp_path, 2000)
    assert writers == [1] * 2000


async def storm(kubeconfig: str, folder: Path, count: int) -> list[int]:
    """Kill the leader in the middle; how many replicas have written each child."""
    async with field(kubeconfig, folder) as here:
        leader, other = await elected(here, "r1", "r2")
        creating = asyncio.create_task(here.create("s", count))

        async def some() -> bool:
            return len(await here.children()) >= count // 4

        await here.until(some)
        here.replicas[leader].send(signal.SIGKILL)
        await creating
        children = await here.all_children(count, 300)
        assert await here.leader() == other
        assert Counter(m for managers in children.values() for m in managers).keys() == {leader, other}
        return [len(managers) for managers in children.values()]


async def test_a_leader_that_ends_in_order_hands_over_at_once(kubeconfig: str, tmp_path: Path) -> None:
    """LE-7: the Lease is free as soon as the work has ended, and taken at the next try."""
    async with field(kubeconfig, tmp_path) as here:
        leader, other = await elected(here, "r1", "r2")
        here.replicas[leader].send(signal.SIGTERM)
        assert await here.replicas[leader].ended() == 0

        async def followed() -> bool:
            return await here.leader() == other

        await here.until(followed)
        lease = await here.client.get(LEASE, here.namespace, "web")
        assert lease["spec"]["leaseTransitions"] == 1
        assert "released lease" in here.replicas[leader].log.read_text()


async def test_a_leader_that_was_stopped_writes_nothing_when_it_wakes_up(kubeconfig: str, tmp_path: Path) -> None:
    """LE-8, CT-10: SIGSTOP and SIGCONT. It has keys to reconcile, and finds that it may not."""
    async with field(kubeconfig, tmp_path) as here:
        leader, other = await elected(here, "r1", "r2")
        await here.create("before", 5)
        await here.all_children(5)
        here.replicas[leader].send(signal.SIGSTOP)
        await here.create("during", 20)  # it has work in its sockets when it wakes up

        async def followed() -> bool:
            return await here.leader() == other

        await here.until(followed)
        here.replicas[leader].send(signal.SIGCONT)
        assert await here.replicas[leader].ended() == 1
        await here.create("after", 5)
        children = await here.all_children(30)
        assert {m for name, ms in children.items() if not name.startswith("before") for m in ms} == {other}
        assert "LeaseLost" in here.replicas[leader].log.read_text()


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
async def test_replicas_share_the_keys_and_take_over_from_one_that_is_killed(
    kubeconfig: str, tmp_path: Path, count: int
) -> None:
    """LE-3: every key is done once, by the replica that it belongs to."""
    names = [f"r{i}" for i in range(count)]
    async with field(kubeconfig, tmp_path) as here:
        here.start(*names, mode="shards")
        await here.until(lambda: here.settled(*names))
        await here.create("s", 100)
        children = await here.all_children(100)
        assert all(len(managers) == 1 for managers in children.values())
        members = [Member(name) for name in names]
        for child, (manager,) in children.items():
            key = key_hash("test", here.namespace, child.removesuffix("-child"))
            assert max(members, key=lambda m: m.score(key)).identity == manager
        creating = asyncio.create_task(here.create("t", 100))

        async def some() -> bool:
            return len(await here.children()) >= 125

        await here.until(some)
        here.replicas["r0"].send(signal.SIGKILL)
        await creating
        children = await here.all_children(200)
        assert all(len(managers) == 1 for managers in children.values()), children
        await here.until(lambda: here.settled(*names[1:]))


async def test_replicas_come_and_go_in_order(kubeconfig: str, tmp_path: Path) -> None:
    """LE-7: keys change hands twice during a storm; each child is written once."""
    async with field(kubeconfig, tmp_path) as here:
        here.start("r0", mode="shards")
        await here.until(lambda: here.settled("r0"))
        creating = asyncio.create_task(here.create("s", 150))
        here.start("r1", mode="shards")
        await here.until(lambda: here.settled("r0", "r1"))
        await here.create("t", 50)
        here.replicas["r0"].send(signal.SIGTERM)
        await here.create("u", 50)
        assert await here.replicas["r0"].ended() == 0
        await creating
        await here.until(lambda: here.settled("r1"))
        children = await here.all_children(250)
        assert all(len(managers) == 1 for managers in children.values()), children
