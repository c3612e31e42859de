"""RedisTokenBucket while its server is dead, restarted, slow, frozen or not ours: what it answers, logs and costs."""

import asyncio
import logging
import math
from typing import Any

import pytest

from fastcore.errors import WaitTimeout
from fastcore.testing.clock import VirtualClock
from fastcore.testing.plugin import need
from fastcore.testing.redis import RedisServer

redis = pytest.importorskip("redis")

from fastcore.ratelimit import RedisTokenBucket  # noqa: E402

DEAD = "redis://127.0.0.1:1/0"


def shown(quota: Any) -> tuple[bool, float, float, float | None]:
    """A quota in whole seconds: the server's clock runs on between two calls."""
    later = None if quota.retry_after is None else math.ceil(quota.retry_after)
    return quota.limited, quota.remaining, math.ceil(quota.reset_after), later


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    return redis_server


@pytest.fixture
def client(server: RedisServer) -> Any:
    with redis.Redis.from_url(server.url) as client:
        yield client


class TestFailure:
    def make(self, where: Any, clock: VirtualClock, **options: Any) -> Any:
        return RedisTokenBucket(where, "k", 10, 20, clock=clock, timeout=options.pop("timeout", 0.1), **options)

    def test_open(self, clock):
        """RL15: fail-open allows what the burst allows."""
        with self.make(DEAD, clock) as bucket:
            assert [bucket.allow() for _ in range(30)] == [True] * 30
            assert (bucket.allow(21), bucket.errors, bucket.degraded) == (False, 1, True)
            assert shown(bucket.request(20)) == (False, 20, 0, 0)
            assert shown(bucket.request(21)) == (True, 0, 1, None)

    def test_closed(self, clock):
        """RL15: fail-closed refuses, and says when Redis will be asked again."""
        with self.make(DEAD, clock, on_error="closed", pause=3) as bucket:
            assert (bucket.allow(), bucket.allow(0)) == (False, True)
            assert shown(bucket.request()) == (True, 0, 3, 3)
            assert (bucket.peek(21).retry_after, bucket.peek(0).limited) == (None, False)
            with pytest.raises(WaitTimeout):
                bucket.wait(timeout=0.5)

    def test_local(self, clock):
        """RL15: this process falls back on its share of rate and burst."""
        with self.make(DEAD, clock, on_error="local", replicas=4, pause=30) as bucket:
            assert [bucket.allow() for _ in range(7)] == [True] * 5 + [False] * 2
            assert shown(bucket.peek()) == (True, 0, 2, 1)
            assert bucket.peek(6).retry_after == 30
            clock.advance(0.4)
            assert [bucket.allow() for _ in range(2)] == [True, False]
            bucket.rate, bucket.burst = 40, 2
            clock.advance(1)
            assert [bucket.allow() for _ in range(2)] == [True, False]
            assert bucket.errors == 1

    def test_a_dead_server_costs_one_attempt_a_pause(self, clock):
        """RL15: nobody asks during the pause, and the pause grows while the server stays away."""
        with self.make(DEAD, clock, pause=1) as bucket:
            errors = []
            for _ in range(40):
                bucket.allow()
                errors.append(bucket.errors)
                clock.advance(0.5)
            assert errors[:2] == [1, 1]
            assert errors[3] == 2
            assert 4 <= errors[-1] <= 6

    def test_killed_and_restarted(self, server, clock):
        """RL15: the server is asked again after the pause, and counts from a full bucket."""
        with self.make(server.url, clock, on_error="closed") as bucket:
            assert bucket.allow(20)
            server.kill()
            assert not bucket.allow()
            server.start()
            assert not bucket.allow()
            clock.advance(1.5)
            assert bucket.allow(20)
            assert (bucket.errors, bucket.degraded) == (1, False)

    async def test_killed_and_restarted_async(self, server, clock):
        """RL15: so does the asynchronous form."""
        async with self.make(server.url, clock, on_error="closed") as bucket:
            assert await bucket.allow_async(20)
            server.kill()
            assert not await bucket.allow_async()
            server.start()
            assert not await bucket.allow_async()
            clock.advance(1.5)
            assert await bucket.allow_async(20)
            assert (bucket.errors, bucket.degraded) == (1, False)

    def test_cut_connection(self, server, client, clock):
        """RL15: a connection that died in the pool is no failure of the server."""
        with self.make(server.url, clock, on_error="closed", timeout=20) as bucket:
            for _ in range(3):
                assert bucket.allow()
                client.client_kill_filter(_type="normal", skipme=True)
            assert (bucket.errors, bucket.degraded) == (0, False)

    async def test_cut_connection_async(self, server, client, clock):
        """RL15: nor is it for the asynchronous form."""
        async with self.make(server.url, clock, on_error="closed", timeout=20) as bucket:
            for _ in range(3):
                assert await bucket.allow_async()
                client.client_kill_filter(_type="normal", skipme=True)
            assert (bucket.errors, bucket.degraded) == (0, False)

    def test_slow_server(self, server, client, clock):
        """RL15: a server that takes too long is left alone."""
        with self.make(server.url, clock, on_error="closed", timeout=0.05) as bucket:
            assert bucket.allow()
            client.client_pause(10_000, all=False)  # writes, which a script is
            assert [bucket.allow() for _ in range(10)] == [False] * 10
            assert bucket.errors == 1
            client.client_unpause()
            clock.advance(1.5)
            assert bucket.allow()

    async def test_frozen_server_does_not_block_the_event_loop(self, server, clock):
        """RL15: while one task waits for Redis, the others run."""
        async with self.make(server.url, clock, on_error="local", timeout=0.2) as bucket:
            assert await bucket.allow_async()
            server.freeze()
            turns = 0
            task = asyncio.create_task(bucket.allow_async())
            while not task.done():
                turns += 1
                await asyncio.sleep(0.001)
            server.thaw()
            assert task.result()
            assert turns > 2
            assert (bucket.errors, bucket.degraded) == (1, True)

    def test_key_of_somebody_else(self, client, clock, caplog):
        """RL15: a key that holds something else is an error like any other, and is left as it is."""
        bucket = self.make(client, clock, on_error="closed")
        client.set("k", b"not ours")
        assert not bucket.allow()
        assert "not a bucket of fastcore" in caplog.text
        client.delete("k")
        client.lpush("k", b"a list")
        clock.advance(1.5)
        assert not bucket.allow()
        assert (bucket.errors, client.lrange("k", 0, 1)) == (2, [b"a list"])

    def test_interrupted_in_flight(self, clock):
        """RL15: an error that is not of Redis is the caller's; if it ends a trial, the next request is one."""
        errors = [redis.exceptions.TimeoutError(), KeyboardInterrupt(), KeyboardInterrupt()]

        class Interrupted:
            def evalsha(self, *_: Any) -> Any:
                raise errors.pop(0)

        bucket = self.make(Interrupted(), clock, on_error="closed")
        assert not bucket.allow()
        clock.advance(1.5)
        caught = []
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt) as info:
                bucket.allow()
            caught.append(info)  # and its frames
        assert (bucket.errors, bucket.degraded, errors) == (1, True, [])

    async def test_connection_that_dies_as_it_is_used(self, clock):
        """RL15: a request whose connection died under it is sent once more, and not a third time."""

        class Dying:
            def __init__(self, *answers: Any) -> None:
                self.answers = list(answers)

            def evalsha(self, *_: Any) -> Any:
                answer = self.answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer

        class DyingAsync(Dying):
            async def execute_command(self) -> None:
                raise AssertionError

            async def evalsha(self, *arguments: Any) -> Any:
                return super().evalsha(*arguments)

        cut = redis.exceptions.ConnectionError("cut")
        once, twice = Dying(cut, [1, 0, 0]), Dying(cut, cut, [1, 0, 0])
        assert self.make(once, clock, on_error="closed").allow()
        assert not self.make(twice, clock, on_error="closed").allow()
        assert (once.answers, twice.answers) == ([], [[1, 0, 0]])
        assert await self.make(DyingAsync(cut, [1, 0, 0]), clock, on_error="closed").allow_async()
        assert not await self.make(DyingAsync(cut, cut, [1, 0, 0]), clock, on_error="closed").allow_async()

    async def test_patient_client(self, server, clock):
        """RL15: an asynchronous client without a timeout of its own is waited for no longer than the bucket's."""
        async with redis.asyncio.Redis.from_url(server.url, socket_timeout=None) as client:
            bucket = self.make(client, clock, on_error="closed", timeout=0.05)
            assert await bucket.allow_async()
            server.freeze()
            try:
                async with asyncio.timeout(20):
                    assert not await bucket.allow_async()
            finally:
                server.thaw()
            clock.advance(1.5)
            assert await bucket.allow_async()
            assert bucket.errors == 1

    def test_logged_once_a_change(self, server, clock, caplog):
        """RL15: one line when Redis fails and one when it is back, however many calls there are; few if it flaps."""
        caplog.set_level(logging.INFO, "fastcore.ratelimit")
        with self.make(server.url, clock, on_error="closed") as bucket:
            server.kill()
            for _ in range(8):
                bucket.allow()
                clock.advance(0.4)
            server.start()
            clock.advance(20)
            assert bucket.allow()
            lines = [(r.levelname, r.message) for r in caplog.records]
            assert [level for level, _ in lines] == ["WARNING", "INFO"]
            assert lines[0][1].startswith("rate limit 'k': Redis fails, on_error=closed decides: ConnectionError: ")
            assert lines[1][1] == "rate limit 'k': Redis answers again"
            client = redis.Redis.from_url(server.url)
            for _ in range(20):
                client.set("k", b"flapping")
                assert not bucket.allow()
                client.delete("k")
                clock.advance(1.2)
                assert bucket.allow()
            client.close()
            assert len(caplog.records) <= 2 + 6 + 4

    def test_no_secrets(self, clock, caplog):
        """RL15: a password in the URL shows nowhere, whether it is right, wrong or misspelt."""
        need("redis", "redis-server")
        with RedisServer("--requirepass", "s3cret") as server:
            right = server.url.replace("redis://", "redis://:s3cret@")
            wrong = server.url.replace("redis://", "redis://user:s3cretive@")
            with self.make(right, clock) as good, self.make(wrong, clock) as bad:
                assert good.allow(20)
                assert (good.errors, bad.allow(), bad.errors) == (0, True, 1)
                assert repr(bad) == "RedisTokenBucket('k', rate=10.0, burst=20.0, on_error='open')"
            with pytest.raises(ValueError, match="the URL is not one of Redis") as caught:
                self.make("redis://:s3#cret@127.0.0.1:6379", clock)
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__
            assert "AuthenticationError" in caplog.text
            assert "s3" not in caplog.text + str(caught.value)
