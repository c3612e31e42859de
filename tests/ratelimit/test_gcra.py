"""The arithmetic of the bucket in Redis: whole picoseconds, and the script on a real server at any time."""

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcore._gcra import LONGEST_PS, PS, SCRIPT, packed, scale

redis = pytest.importorskip("redis")

rates = st.one_of(st.sampled_from([1e-10, 1 / 3, 1.0, 3.0, 10.0, 1e6, 1e9, 1e12]), st.floats(1e-12, 1e12))
bursts = st.one_of(st.integers(0, 10**6).map(float), st.floats(0, 1e9))
amounts = st.one_of(st.integers(0, 100).map(float), st.floats(0, 1e9))

CLOCK = "redis.call('TIME')"


def at(now_us: int) -> str:
    """The script, at a time of the test's choosing."""
    assert SCRIPT.count(CLOCK) == 1
    return SCRIPT.replace(CLOCK, f"{{'{now_us // 10**6}', '{now_us % 10**6}'}}")


class Model:
    """The same bucket, in exact numbers."""

    def __init__(self) -> None:
        self.full_at = 0

    def ask(self, now_us: int, cost: int, full: int) -> tuple[bool, int]:
        ahead = min(max(self.full_at - now_us * 10**6, 0), full)
        passes = ahead + cost <= full
        if cost > 0:
            self.full_at = now_us * 10**6 + ahead + (cost if passes else 0)
        return passes, ahead + (cost if passes else 0)


@given(rate=rates, burst=bursts)
def test_a_burst_passes_as_a_whole_and_no_more(rate, burst):
    """RL1, RL15: rounding takes no token of a burst, and adds none."""
    s = scale(rate, burst)
    assert 0 <= s.full <= LONGEST_PS
    assert s.cost(burst) <= s.full
    assert s.tokens(s.full) == math.floor(burst)
    assert s.tokens(0) == 0 or s.cost(1.0) == 0
    one = s.cost(1.0)
    if 1 <= burst < 1e6 and one > 10**7:
        assert int(burst) * one <= s.full < (int(burst) + 1) * one + one


@given(rate=rates, n=amounts)
def test_costs_are_exact_to_a_picosecond(rate, n):
    """RL13, RL15: no rate and no amount is truncated to nothing, and none costs more than it should."""
    s = scale(rate, 1e-3)
    exact = Fraction(n) * s.den / s.num
    assert s.cost(n) == (max(1, math.floor(exact)) if n else 0)
    if 1e-3 / rate < 3e9:
        assert Fraction(s.den, s.num) == PS / Fraction(rate)


@given(rate=rates, burst=st.floats(1, 1e6), share=st.floats(0, 1))
def test_what_remains_can_be_taken(rate, burst, share):
    """RL12: the tokens shown are those that a request of that many would get."""
    s = scale(rate, burst)
    left = int(s.full * share)
    shown = s.tokens(left)
    assert s.cost(float(shown)) <= left or shown == 0
    if shown + 1 <= burst:
        assert s.cost(float(shown + 1)) > left


class TestScript:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
    @given(
        start=st.sampled_from([0, 10**6 - 1, 1_763_923_108_999_999, 2**52]),
        steps=st.lists(
            st.tuples(st.one_of(st.integers(-(10**7), 10**7), st.integers(0, 10**12)), rates, bursts, amounts),
            min_size=1,
            max_size=12,
        ),
    )
    def test_is_exact(self, client, start, steps):
        """RL15: the script's doubles give what whole numbers give, in late years, at slow rates, after jumps."""
        key, now, model = "model", start, Model()
        client.delete(key)
        for step, rate, burst, n in steps:
            now = max(0, now + step)
            s = scale(rate, burst)
            cost = s.cost(n)
            if cost > s.full:
                continue
            passed, us, ps = client.eval(at(now), 1, key, packed(cost, s.full))
            assert (bool(passed), us * 10**6 + ps) == model.ask(now, cost, s.full)
            kept = client.get(key)
            if kept is not None:
                whole, rest = map(int, kept.split(b":"))
                assert whole * 10**6 + rest == model.full_at

    @pytest.mark.parametrize(
        ("rate", "burst", "n", "seconds"),
        [(1, 5, 5, 5), (1, 5, 1, 1), (10, 1, 1, 1), (1e6, 10, 1, 1), (4, 10, 5, 2), (3, 10, 4, 2), (1e-10, 1, 1, None)],
    )
    def test_time_to_live(self, client, rate, burst, n, seconds):
        """RL15: the key lives for the time to full, rounded up, at least a second."""
        s = scale(float(rate), float(burst))
        client.eval(SCRIPT, 1, "k", packed(s.cost(float(n)), s.full))
        kept = client.execute_command("TTL", "k")
        century = LONGEST_PS // PS
        assert kept == seconds if seconds else century - 1 <= kept <= century
        client.delete("k")

    def test_picoseconds_carry(self, client):
        """RL15: half a microsecond and half a microsecond are one."""
        s = scale(2e6, 3.0)
        half = packed(s.cost(1.0), s.full)
        answers = [client.eval(at(10**6), 1, "k", half) for _ in range(4)]
        assert answers == [[1, 0, 500_000], [1, 1, 0], [1, 1, 500_000], [0, 1, 500_000]]
        assert client.get("k") == b"1000001:500000"

    def test_peek_writes_nothing(self, client):
        """RL12: a request of nothing leaves no key and changes none."""
        s = scale(1.0, 5.0)
        nothing = packed(0, s.full)
        assert client.eval(SCRIPT, 1, "k", nothing) == [1, 0, 0]
        assert not client.exists("k")
        client.set("k", b"99999999999999:0")
        assert client.eval(SCRIPT, 1, "k", nothing)[0] == 1
        assert client.get("k") == b"99999999999999:0"

    def test_clock_of_the_server_goes_back(self, client):
        """RL15: after a jump back by an hour the bucket is empty for its time to full, not for an hour."""
        s = scale(1.0, 5.0)
        one = packed(s.cost(1.0), s.full)
        hour = 3600 * 10**6
        assert [client.eval(at(hour), 1, "k", one)[0] for _ in range(6)] == [1] * 5 + [0]
        assert client.eval(at(0), 1, "k", one) == [0, 5_000_000, 0]
        assert client.eval(at(10**6), 1, "k", one) == [1, 5_000_000, 0]
        assert client.eval(at(6 * 10**6), 1, "k", one) == [1, 1_000_000, 0]


@pytest.fixture
def client(redis_server: Any) -> Any:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client
