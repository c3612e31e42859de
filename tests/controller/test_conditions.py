"""Conditions and statuses: times that move when something does, and no write that says nothing new."""

import uuid
from datetime import UTC, datetime

from fastcore.controller.client import Client
from fastcore.controller.conditions import condition, condition_of, with_conditions, write_status
from fastcore.controller.model import DEPLOYMENT
from servers import Load

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def obj(*conditions, generation=3):
    return {"metadata": {"name": "x", "generation": generation}, "status": {"conditions": list(conditions)}}


def test_a_condition_s_time_is_that_of_its_status():
    first = condition(obj(), "Ready", False, "Waiting", "no replica", NOW)
    assert first == {
        "type": "Ready",
        "status": "False",
        "reason": "Waiting",
        "message": "no replica",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 3,
    }
    same = condition(obj(first, generation=4), "Ready", False, "Failing", "it crashes", LATER)
    assert (same["lastTransitionTime"], same["reason"], same["observedGeneration"]) == (
        "2026-01-01T00:00:00Z",
        "Failing",
        4,
    )
    turned = condition(obj(first), "Ready", None, "Unknown", "m" * 40_000, LATER)
    assert (turned["lastTransitionTime"], turned["status"]) == ("2026-01-02T00:00:00Z", "Unknown")
    assert len(turned["message"]) == 32_768
    assert "observedGeneration" not in condition({"metadata": {}}, "Ready", True, "R", "m", NOW)


def test_conditions_take_the_place_of_those_of_their_type():
    one, two = {"type": "One", "status": "True"}, {"type": "Two", "status": "True"}
    new = {"type": "One", "status": "False"}
    assert with_conditions(obj(one, two), [new, {"type": "Three"}]) == [new, two, {"type": "Three"}]
    assert condition_of(obj(one, two), "Two") is two
    assert condition_of({"metadata": {}, "status": None}, "Two") == {}


async def test_a_status_is_written_once(load: Load) -> None:
    """WR-3, WR-4: no write when equal; another object of the name does not get it."""
    async with Client(await load()) as client:
        where = f"status-{uuid.uuid4().hex[:8]}"
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        made = await client.create(DEPLOYMENT, {
            "metadata": {"namespace": "default", "name": where},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
        })  # fmt: skip
        status = {"observedGeneration": 1, "replicas": 1}
        after = await write_status(client, DEPLOYMENT, made, status, field_manager="me")
        assert after["status"] == status
        before = dict(client.stats)
        assert await write_status(client, DEPLOYMENT, after, status, field_manager="me") is after
        assert client.stats == before
        await client.delete(DEPLOYMENT, "default", where)
