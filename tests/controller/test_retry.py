"""Conflict retries: on live state, bounded, with the advised waits."""

import random
import uuid

import pytest

from controller.scripted import FakeSleep
from fastcore.controller.client import Client
from fastcore.controller.errors import Cause, ConflictError, NotFoundError
from fastcore.controller.model import CONFIG_MAP
from fastcore.controller.retry import DEFAULT_BACKOFF, DEFAULT_RETRY, Retries, retry_on_conflict
from servers import Load

STALE = ConflictError("stale", status=409, reason="Conflict")


class Attempts:
    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.made = 0

    async def __call__(self):
        self.made += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.mark.parametrize(
    ("retries", "low", "high"),
    [
        (DEFAULT_RETRY, [0.01] * 4, [0.011] * 4),
        (DEFAULT_BACKOFF, [0.01, 0.05, 0.25], [0.011, 0.055, 0.275]),
    ],
)
async def test_the_advised_tries_and_waits(retries, low, high):
    """WR-1: 5 tries 10 ms x1 jitter 0.1, or 4 tries 10 ms x5."""
    attempts, sleep = Attempts(*[STALE] * 9), FakeSleep()
    with pytest.raises(ConflictError):
        await retry_on_conflict(attempts, retries=retries, sleep=sleep, random=random.Random(1))
    assert attempts.made == retries.tries
    assert all(a <= wait <= b for a, wait, b in zip(low, sleep.waits, high, strict=True))
    assert len(set(sleep.waits)) > 1, "jitter"


async def test_what_is_not_stale_is_not_tried_again():
    """WR-1, WR-2: a field of another manager stays that manager's."""
    fields = ConflictError("x", causes=(Cause("FieldManagerConflict", 'conflict with "a"', ".spec"),))
    for outcome in (fields, NotFoundError("gone")):
        attempts = Attempts(outcome)
        with pytest.raises(type(outcome)):
            await retry_on_conflict(attempts, sleep=FakeSleep())
        assert attempts.made == 1
    assert await retry_on_conflict(Attempts(STALE, 7), sleep=FakeSleep()) == 7
    with pytest.raises(ValueError, match="tries must be >= 1, not 0"):
        await retry_on_conflict(Attempts(), retries=Retries(0, 0, 0, 0))


async def test_an_edit_is_made_on_live_state(load: Load) -> None:
    """WR-1, WR-3: what others write between the read and the write is kept; what changes nothing is not written."""
    async with Client(await load(), sleep=FakeSleep()) as client:
        name = f"edit-{uuid.uuid4().hex[:8]}"
        made = await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": name}, "data": {"n": "0"}})
        seen = []
        original = client.update

        async def overtaken(kind, obj, **options):
            if len(seen) < 3:
                await client.patch(CONFIG_MAP, "default", name, {"data": {f"other-{len(seen)}": "1"}})
            return await original(kind, obj, **options)

        client.update = overtaken

        def change(obj):
            seen.append(dict(obj["data"]))
            obj["data"]["n"] = "1"

        after = await client.edit(CONFIG_MAP, "default", name, change, uid=made["metadata"]["uid"])
        assert after["data"] == {"n": "1", "other-1": "1", "other-2": "1"}
        assert [len(data) for data in seen] == [1, 2, 3]
        before = dict(client.stats)
        assert await client.edit(CONFIG_MAP, "default", name, lambda obj: {**obj}) == after
        writes = [key for key, count in client.stats.items() if before.get(key) != count and key[1] != "GET"]
        assert writes == []
        with pytest.raises(NotFoundError, match="another one has taken its name"):
            await client.edit(CONFIG_MAP, "default", name, change, uid="another")
        await client.delete(CONFIG_MAP, "default", name)
