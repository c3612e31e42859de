"""Many minutes of users, drift, crashes and pauses on a real API server; in the end everything is in order and quiet.

`FASTCORE_SOAK_S=60 pytest -m slow tests/e2e/test_soak.py` is a short one; `FASTCORE_SOAK_SEED` repeats a schedule.
"""

import asyncio
import os
import statistics
import sys
import time

import pytest

from e2e.soak import NAMESPACE, Chaos, Keeper, out_of_order
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION
from fastcore.controller.model import NAMESPACE as NAMESPACE_KIND
from fastcore.reference import crd
from fastcore.testing.kube import KubeServer
from fastcore.testing.plugin import need

SECONDS = float(os.environ.get("FASTCORE_SOAK_S", "600"))
SEED = int(os.environ.get("FASTCORE_SOAK_SEED", str(time.time_ns() % 1_000_000)))
CONVERGE_S = 180.0
QUIET_S = 5.0
GROWTH, GROWTH_MIB = 1.1, 4.0


@pytest.mark.slow
@pytest.mark.kube
@pytest.mark.timeout(SECONDS + 420)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, sends SIGSTOP")
async def test_soak() -> None:
    """Ends converged, quiet and with flat memory after kill -9 of everything in turn, CT-2, RF-5, WR-7."""
    need("kube", "etcd", "kube-apiserver", "kube-controller-manager", "openssl")
    server = KubeServer(controllers=("garbage-collector-controller",))
    await asyncio.to_thread(server.start)
    try:
        done, early, late = await soak(server)
    finally:
        await asyncio.to_thread(server.stop)
    assert done["create"] > 0 < done["update"]
    assert late <= early * GROWTH + GROWTH_MIB, f"{early:.1f} MiB, then {late:.1f} MiB"


async def soak(server: KubeServer) -> tuple[dict[str, int], float, float]:
    """What was done, and the controller's memory early and late in the second half; all is in order and quiet then."""
    config = await ClientConfig.load(server.kubeconfig)
    async with Client(config, timeout=5.0, retries=0) as client:
        await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
        await client.create(NAMESPACE_KIND, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        with Keeper(server.kubeconfig) as keeper:
            chaos = Chaos(server, client, keeper, SEED, time.monotonic() + SECONDS)
            await chaos.run()
            story = f"seed {SEED}, {SECONDS:.0f} s: {chaos.done}, controller starts: {keeper.starts}"
            print(story)
            await converged(server, client, keeper, story)
            await quiet(keeper, story)
            return chaos.done, *memory(chaos, keeper, story)


async def converged(server: KubeServer, client: Client, keeper: Keeper, story: str) -> None:
    await asyncio.to_thread(server.wait_ready)
    # After outages its garbage collector retries in up to 1,000 s, and a WebApp waits for what its predecessor left.
    await asyncio.to_thread(server.kill, "kube-controller-manager")
    await asyncio.to_thread(server.revive, "kube-controller-manager")
    end = time.monotonic() + CONVERGE_S
    while wrong := await out_of_order(client):
        if time.monotonic() > end:
            some = dict(list(wrong.items())[:5])
            manager = server.log("kube-controller-manager")
            pytest.fail(f"{story}\n{len(wrong)} out of order, such as {some}\n{keeper.log()}\n{manager}")
        keeper.start()
        await asyncio.sleep(1.0)


async def quiet(keeper: Keeper, story: str) -> None:
    """No write for a while; the last repairs may still trail."""
    end = time.monotonic() + CONVERGE_S
    before = await keeper.writes()
    while True:
        await asyncio.sleep(QUIET_S)
        now = await keeper.writes()
        if now == before >= 0:
            return
        assert time.monotonic() < end, f"{story}\nstill writing: {before}, then {now}\n{keeper.log()}"
        before = now


def memory(chaos: Chaos, keeper: Keeper, story: str) -> tuple[float, float]:
    """MiB of the controller that lived through the second half: in its second quarter, and in its last."""
    alive = [mib for _, start, mib in chaos.rss if start == keeper.starts and mib]
    part = len(alive) // 4
    assert part >= 3, f"{story}\nthe controller ended too late to tell"
    early, late = statistics.median(alive[part : 2 * part]), statistics.median(alive[-part:])
    print(f"memory: {early:.1f} MiB, then {late:.1f} MiB, over {len(alive)} s")
    return early, late
