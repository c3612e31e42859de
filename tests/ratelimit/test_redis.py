"""RedisTokenBucket on a real redis-server: one budget for threads, tasks and processes."""

import asyncio
import math
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from fastcore.errors import RateLimitError, WaitCancelled, WaitTimeout
from fastcore.testing.kube import free_port
from fastcore.testing.plugin import need
from fastcore.testing.redis import RedisServer

redis = pytest.importorskip("redis")

from fastcore.ratelimit import RedisTokenBucket  # noqa: E402

SLOW = 1e-9  # tokens a second: nothing comes back while a test runs
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


class TestBudget:
    def test_quota(self, server):
        """RL12, RL15: the table of a GCRA limiter, period 1 s, limit 5."""
        with RedisTokenBucket(server.url, "k", 1, 5) as bucket:
            assert shown(bucket.request(6)) == (True, 5, 0, None)
            assert [shown(bucket.request()) for _ in range(6)] == [
                (False, 4, 1, 0), (False, 3, 2, 0), (False, 2, 3, 0), (False, 1, 4, 0), (False, 0, 5, 0),
                (True, 0, 5, 1),
            ]  # fmt: skip
            assert shown(bucket.peek(0)) == (False, 0, 5, 0)
            assert shown(bucket.peek(3)) == (True, 0, 5, 3)
            assert shown(bucket.request(6)) == (True, 0, 5, None)

    def test_edges(self, server, client):
        """RL2, RL5: what is known beforehand is answered without a call."""
        with RedisTokenBucket(server.url, "k", 10, 2) as bucket:
            calls = client.info("commandstats").get("cmdstat_evalsha")
            assert (bucket.allow(0), bucket.allow(2.5)) == (True, False)
            bucket.rate = math.inf
            assert (bucket.allow(1e9), bucket.request(1e9).remaining, bucket.peek().limited) == (True, math.inf, False)
            assert client.info("commandstats").get("cmdstat_evalsha") == calls
        with RedisTokenBucket(server.url, "none", 10, 0) as bucket:
            assert (bucket.allow(), bucket.allow(0)) == (False, True)

    def test_one_call_and_one_key(self, server, client):
        """RL15: each request is one script call; all the state is one value that goes by itself."""
        with RedisTokenBucket(client, "{tenant}:k", 10, 15) as bucket:
            assert bucket.allow(1)
            client.config_resetstat()
            for _ in range(20):
                bucket.allow()
            stats = client.info("commandstats")
        assert (
            stats["cmdstat_evalsha"]["calls"] == stats["cmdstat_time"]["calls"] == stats["cmdstat_get"]["calls"] == 20
        )
        assert {name for name in stats if "eval" in name} == {"cmdstat_evalsha"}
        assert client.keys() == [b"{tenant}:k"]
        assert client.ttl("{tenant}:k") == 2

    def test_refills_by_the_servers_clock(self, server):
        """RL1, RL15: tokens come back as time passes there."""
        with RedisTokenBucket(server.url, "k", 100, 5) as bucket:
            assert bucket.allow(5)
            assert not bucket.allow(5)
            bucket.wait(5, timeout=30)
            assert bucket.peek(5).limited

    def test_change_of_settings(self, server):
        """RL11: what was taken counts in time; a smaller bucket is at most empty."""
        with RedisTokenBucket(server.url, "k", 1, 100) as bucket:
            assert bucket.allow(50)
            bucket.rate = 0.5
            assert (bucket.rate, shown(bucket.peek())) == (0.5, (False, 75, 50, 0))
            bucket.burst = 10
            assert (bucket.burst, shown(bucket.peek())) == (10, (True, 0, 20, 2))
            with RedisTokenBucket(server.url, "k", 1, 100) as other:
                assert shown(other.peek()) == (False, 50, 50, 0)
            assert not bucket.allow()
            with RedisTokenBucket(server.url, "k", 1, 100) as other:
                assert shown(other.peek()) == (False, 80, 20, 0)

    def test_tiny_rate(self, server):
        """RL4: the second event is refused, and its wait is a number."""
        with RedisTokenBucket(server.url, "k", 1e-10, 1) as bucket:
            assert bucket.allow()
            assert bucket.request().retry_after == pytest.approx(100 * 31_557_600)

    def test_script_flush(self, server, client):
        """RL15: a server that forgot the script gets it again, in the same request."""
        with RedisTokenBucket(server.url, "k", SLOW, 3) as bucket:
            assert bucket.allow()
            client.script_flush()
            assert (bucket.allow(), bucket.allow(), bucket.allow()) == (True, True, False)
            assert (bucket.errors, bucket.degraded) == (0, False)

    def test_processes_share_exactly(self, server):
        """RL10, RL15: processes that ask at once get the burst and not one more; a clock that is off has no say."""
        program = """if True:
            import sys, time
            from fastcore.ratelimit import RedisTokenBucket
            skew = int(sys.argv[2])
            for name in ("time", "monotonic", "time_ns", "monotonic_ns"):
                off = skew * 10**9 if name.endswith("ns") else skew
                setattr(time, name, lambda real=getattr(time, name), off=off: real() + off)
            with RedisTokenBucket(sys.argv[1], "shared", 1e-9, 500, on_error="closed", timeout=20) as bucket:
                print(sum(bucket.allow() for _ in range(400)), bucket.errors)
        """
        children = [
            subprocess.Popen([sys.executable, "-c", program, server.url, skew], stdout=subprocess.PIPE, text=True)
            for skew in ("0", "86400")
        ]
        got = [list(map(int, child.communicate(timeout=60)[0].split())) for child in children]
        assert sum(allowed for allowed, _ in got) == 500
        assert [errors for _, errors in got] == [0, 0]
        assert all(allowed >= 100 for allowed, _ in got)

    def test_threads_share_one_bucket(self, server):
        """RL10: threads on one object take exactly the burst."""
        with RedisTokenBucket(server.url, "k", SLOW, 60, timeout=20) as bucket:
            taken: list[int] = []
            threads = [
                threading.Thread(target=lambda: taken.append(sum(bucket.allow() for _ in range(30)))) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sum(taken) == 60

    def test_cluster(self):
        """RL15: one key a call, so a cluster routes it, whatever its name."""
        need("redis", "redis-server")
        with RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
            with redis.Redis.from_url(server.url) as admin:
                admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                while admin.cluster("info")["cluster_state"] != "ok":
                    time.sleep(0.01)
            with redis.RedisCluster.from_url(server.url) as client:
                for key in ("plain", "{tag}:k", "a{}b"):
                    bucket = RedisTokenBucket(client, key, SLOW, 2, on_error="closed")
                    assert [bucket.allow() for _ in range(3)] == [True, True, False]


class TestWait:
    def test_until_the_tokens_are_there(self, server):
        """RL5, RL8: too much and too late raise at once and take nothing."""
        with RedisTokenBucket(server.url, "k", 1, 5) as bucket:
            bucket.wait(4)
            with pytest.raises(RateLimitError, match=r"^6 tokens can never be had at burst 5\.0$"):
                bucket.wait(6)
            with pytest.raises(WaitTimeout, match=r"^3 tokens take longer than the timeout of 0\.5 s$"):
                bucket.wait(3, timeout=0.5)
            assert bucket.peek().remaining == 1

    def test_stop(self, server):
        """RL8: an event ends the wait."""
        stop = threading.Event()
        with RedisTokenBucket(server.url, "k", SLOW, 1) as bucket:
            bucket.wait(stop=stop)
            threading.Timer(0.05, stop.set).start()
            with pytest.raises(WaitCancelled, match="stopped while waiting for 1 tokens of 'k'"):
                bucket.wait(stop=stop)

    async def test_task(self, server):
        """RL8: as `wait`, on the event loop; a cancelled task has taken nothing."""
        async with RedisTokenBucket(server.url, "k", 50, 5) as bucket:
            await bucket.wait_async(5)
            await bucket.wait_async(5, timeout=30)
        async with RedisTokenBucket(server.url, "other", SLOW, 1) as bucket:
            await bucket.wait_async()
            task = asyncio.create_task(bucket.wait_async())
            await asyncio.sleep(0.05)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


class TestClients:
    async def test_asynchronous(self, server):
        """RL12, RL15: the asynchronous form decides as the blocking one, on the same key."""
        async with redis.asyncio.Redis.from_url(server.url) as client:
            bucket = RedisTokenBucket(client, "k", SLOW, 4)
            assert await bucket.allow_async(2)
            assert (await bucket.request_async()).remaining == 1
            assert (await bucket.peek_async(2)).limited
            assert (await bucket.allow_async(0), await bucket.allow_async(5)) == (True, False)
            bucket.rate = math.inf
            assert await bucket.allow_async(5)
            assert (await bucket.peek_async()).remaining == math.inf
            bucket.rate = SLOW
            await bucket.aclose()
            assert await client.ping()
            with pytest.raises(TypeError, match="asynchronous client: use the methods named"):
                bucket.peek()

    async def test_blocking_client_in_a_coroutine(self, client):
        """A blocking client would block the event loop."""
        bucket = RedisTokenBucket(client, "k", 1, 4)
        with pytest.raises(TypeError, match="blocking client: use the methods not named"):
            await bucket.peek_async()
        bucket.close()
        assert client.ping()

    def test_several_event_loops(self, server):
        """RL15: a bucket from a URL serves threads and event loops, one after the other and side by side."""
        bucket = RedisTokenBucket(server.url, "k", SLOW, 9, timeout=20)

        async def main() -> int:
            taken = sum([await bucket.allow_async() for _ in range(4)])
            await bucket.aclose()
            return taken

        taken = [asyncio.run(main())]
        threads = [threading.Thread(target=lambda: taken.append(asyncio.run(main()))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(taken) == 9
        assert not bucket.allow()
        bucket.close()

    async def test_cancelled_in_flight(self, server, client):
        """RL8: a cancelled request leaves no answer behind for the next one."""
        async with RedisTokenBucket(server.url, "k", SLOW, 100, timeout=20) as bucket:
            assert (await bucket.request_async(10)).remaining == 90
            client.client_pause(200, all=True)
            task = asyncio.create_task(bucket.request_async(20))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            after = (await bucket.request_async(1)).remaining
            assert after in (89, 69)  # whether the server saw the cancelled one
            assert (await bucket.request_async(1)).remaining == after - 1
            assert (bucket.errors, bucket.degraded) == (0, False)


class TestMisuse:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"rate": 0}, r"rate must be > 0 and <= 1e\+12 tokens/s \(math.inf for no limit\), not 0\.0"),
            ({"rate": math.nan}, "rate must be .*, not nan"),
            ({"rate": 2e12}, "rate must be .*, not 2000000000000.0"),
            ({"burst": -1}, r"burst must be a finite number of tokens >= 0, not -1\.0"),
            ({"burst": math.inf}, "burst must be .*, not inf"),
            ({"on_error": "shrug"}, "on_error must be one of open, closed, local, not 'shrug'"),
            ({"replicas": 0}, "replicas must be >= 1, not 0"),
            ({"timeout": 0}, "timeout must be > 0 s and finite, not 0"),
            ({"pause": math.inf}, "pause must be > 0 s and finite, not inf"),
            ({"client": "http://127.0.0.1"}, "the URL is not one of Redis"),
        ],
    )
    def test_construction(self, change, message):
        """RL13: what no bucket can have is refused by name and value."""
        with pytest.raises(ValueError, match=message):
            RedisTokenBucket(**{"client": DEAD, "key": "k", "rate": 1, "burst": 1, **change})

    def test_amounts(self):
        """RL1: fewer than no tokens are refused before anything is asked."""
        bucket = RedisTokenBucket(DEAD, "k", 1, 1)
        for call in (bucket.allow, bucket.request, bucket.peek, bucket.wait):
            with pytest.raises(ValueError, match=r"n must be >= 0 tokens, not -1\.0"):
                call(-1)
        with pytest.raises(ValueError, match="rate must be"):
            bucket.rate = -1
        assert (bucket.rate, bucket.errors) == (1, 0)
        bucket.close()

    def test_without_redis_py(self, monkeypatch):
        """The error names the extra."""
        monkeypatch.setitem(sys.modules, "redis", None)
        with pytest.raises(ImportError, match=r"pip install 'fastcore-k8s\[redis\]'"):
            RedisTokenBucket(DEAD, "k", 1, 1)

    def test_import_loads_nothing(self):
        """`import fastcore` and its limiters load neither redis-py nor what talks to it."""
        program = "import sys, fastcore.ratelimit; sys.exit(bool({'redis', 'fastcore._gcra'} & set(sys.modules)))"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
