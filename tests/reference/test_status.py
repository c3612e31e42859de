"""The status: phases, conditions, and times that only move when something does."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fastcore.reference.status import IN_ORDER, Outcome, is_synced, status_of, synced_condition

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
BROKEN = Outcome("InvalidSpec", "two ports are named 'a'", failed=True)
WAITING = Outcome("WaitingForDeletion", "the ConfigMap has to go first")


def webapp(status: Any = None, generation: int = 3, replicas: int = 2) -> dict[str, Any]:
    result = {"metadata": {"name": "web", "generation": generation}, "spec": {"image": "x", "replicas": replicas}}
    return {**result, "status": status} if status is not None else result


def deployment(ready: int = 0, updated: int = 0, generation: int = 1, observed: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"generation": generation},
        "status": {"observedGeneration": observed, "readyReplicas": ready, "updatedReplicas": updated},
    }


def by_type(status: dict[str, Any]) -> dict[str, Any]:
    return {condition["type"]: condition for condition in status["conditions"]}


@pytest.mark.parametrize(
    ("outcome", "child", "replicas", "phase"),
    [
        (IN_ORDER, deployment(2, 2), 2, "Ready"),
        (IN_ORDER, deployment(0, 0), 0, "Ready"),
        (IN_ORDER, deployment(1, 2), 2, "Progressing"),
        (IN_ORDER, deployment(2, 1), 2, "Progressing"),  # ready, but of the old template
        (IN_ORDER, deployment(2, 2, generation=2), 2, "Progressing"),  # the Deployment's controller has not looked yet
        (IN_ORDER, {"metadata": {"generation": 1}}, 0, "Progressing"),
        (WAITING, deployment(2, 2), 2, "Progressing"),
        (BROKEN, deployment(2, 2), 2, "Failed"),
        (BROKEN, None, 2, "Failed"),
    ],
)
def test_phases(outcome: Outcome, child: Any, replicas: int, phase: str) -> None:
    status = status_of(webapp(replicas=replicas), outcome, child, NOW)
    assert status["phase"] == phase
    assert status["observedGeneration"] == 3
    assert by_type(status)["Ready"]["status"] == ("True" if phase == "Ready" else "False")
    assert by_type(status)["Synced"]["status"] == ("True" if outcome.synced else "False")
    assert by_type(status)["Synced"]["observedGeneration"] == 3
    assert by_type(status)["Synced"]["reason"] == outcome.reason


def test_times_change_only_with_the_status_of_a_condition() -> None:
    first = status_of(webapp(), IN_ORDER, deployment(), NOW)
    same = status_of(webapp(first), IN_ORDER, deployment(), LATER)
    assert same == first
    rolled = by_type(status_of(webapp(first, generation=4), IN_ORDER, deployment(2, 2), LATER))
    assert rolled["Synced"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert rolled["Ready"]["lastTransitionTime"] == "2026-01-02T00:00:00Z"


def test_long_messages_are_cut() -> None:
    status = status_of(webapp(), Outcome("Rejected", "x" * 5000, failed=True), None, NOW)
    assert len(by_type(status)["Synced"]["message"]) == 1024


def test_synced_is_for_one_generation() -> None:
    assert synced_condition(webapp()) == {}
    assert not is_synced(webapp())
    status = status_of(webapp(), IN_ORDER, None, NOW)
    assert is_synced(webapp(status))
    assert not is_synced(webapp(status, generation=4))
    assert not is_synced(webapp(status_of(webapp(), BROKEN, None, NOW)))
