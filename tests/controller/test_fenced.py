"""The fence on its way to the wire: whatever a write waits for, it is asked again before the bytes go out (LE-8)."""

import asyncio
import socket

import pytest

from controller.scripted import Connection, Received, ScriptedServer, answer, config_map, failure, until
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ConflictError
from fastcore.controller.fence import Fence, FencedError
from fastcore.controller.model import CONFIG_MAP
from fastcore.testing.clock import VirtualClock

MAP = {"metadata": {"namespace": "default", "name": "a"}}


class Lease:
    """A fence that is open for a second of a clock that stands still."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.fence = Fence("lease x", clock=self.clock)
        self.fence.move(1_000_000_000)

    def end(self) -> None:
        self.clock.advance(2)


async def test_reads_pass_and_writes_do_not() -> None:
    """LE-8."""
    async with ScriptedServer([answer(200, config_map("a", 1))]) as server, Client(server.config) as client:
        lease = Lease()
        fenced = client.fenced(lease.fence.check)
        await fenced.create(CONFIG_MAP, MAP)
        lease.end()
        await fenced.get(CONFIG_MAP, "default", "a")
        for write in (
            fenced.create(CONFIG_MAP, MAP),
            fenced.update(CONFIG_MAP, MAP),
            fenced.apply(CONFIG_MAP, MAP, field_manager="x"),
            fenced.delete(CONFIG_MAP, "default", "a"),
            fenced.scoped("/clusters/blue").create(CONFIG_MAP, MAP),
        ):
            with pytest.raises(FencedError, match="nothing was sent: lease x is not held any more"):
                await write
        assert [r.method for r in server.received] == ["POST", "GET"]
        await client.create(CONFIG_MAP, MAP)  # the fence is the view's, not the connection's
        assert server.connections == 1


async def test_a_retry_that_the_server_asked_for_is_not_sent_when_the_time_is_over() -> None:
    """LE-8."""
    lease = Lease()

    async def sleep(seconds: float) -> None:
        assert seconds == 3
        lease.end()

    steps = [failure(429, "TooManyRequests", Retry_After="3")]
    async with ScriptedServer(steps) as server, Client(server.config, sleep=sleep) as client:
        with pytest.raises(FencedError):
            await client.fenced(lease.fence.check).create(CONFIG_MAP, MAP)
        assert len(server.received) == 1


async def test_a_write_that_waited_for_its_turn_is_not_sent_when_the_time_is_over() -> None:
    """LE-8."""
    lease, first = Lease(), asyncio.Event()

    async def slow(connection: Connection, request: Received) -> None:
        await first.wait()
        await answer(200, config_map("a", 1))(connection, request)

    async with ScriptedServer([slow]) as server, Client(server.config, max_connections=1) as client:
        fenced = client.fenced(lease.fence.check)
        writes = [asyncio.create_task(fenced.create(CONFIG_MAP, MAP)) for _ in range(2)]
        await until(lambda: len(server.received) == 1)
        lease.end()
        first.set()
        await writes[0]
        with pytest.raises(FencedError):
            await writes[1]
        assert len(server.received) == 1


async def test_a_write_that_waited_for_its_connection_is_not_sent_when_the_time_is_over() -> None:
    """LE-8."""
    lease, got = Lease(), bytearray()
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        config = ClientConfig(f"http://127.0.0.1:{listening.getsockname()[1]}")
        loop = asyncio.get_running_loop()
        connect = loop.create_connection

        async def late(*args: object, **options: object) -> object:
            made = await connect(*args, **options)  # type: ignore[arg-type,call-overload]
            lease.end()
            return made

        loop.create_connection = late  # type: ignore[method-assign,assignment]
        async with Client(config) as client:
            with pytest.raises(FencedError):
                await client.fenced(lease.fence.check).create(CONFIG_MAP, MAP)
        accepted, _ = listening.accept()
        with accepted:
            got += accepted.recv(100)
    assert got == b""


async def test_a_write_is_not_repeated_on_another_connection_when_the_time_is_over() -> None:
    """LE-8: a kept connection that broke is worth another try, but the fence is asked for it, too."""
    lease = Lease()

    async def leave(connection: Connection, request: Received) -> None:
        lease.end()
        connection.abort()

    steps = [answer(200, config_map("a", 1)), leave]
    async with ScriptedServer(steps) as server, Client(server.config) as client:
        fenced = client.fenced(lease.fence.check)
        await fenced.get(CONFIG_MAP, "default", "a")
        with pytest.raises(FencedError):
            await fenced.apply(CONFIG_MAP, MAP, field_manager="x")
        assert len(server.received) == 2


async def test_a_connection_is_kept_for_others_when_a_write_was_held_back() -> None:
    steps = [answer(200, config_map("a", 1)), failure(409, "Conflict")]
    async with ScriptedServer(steps) as server, Client(server.config) as client:
        lease = Lease()
        lease.end()
        with pytest.raises(FencedError):
            await client.fenced(lease.fence.check).create(CONFIG_MAP, MAP)
        await client.get(CONFIG_MAP, "default", "a")
        with pytest.raises(ConflictError):
            await client.update(CONFIG_MAP, MAP)
        assert server.connections == 1
