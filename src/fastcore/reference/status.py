"""The status of a WebApp: from what was found to what is written."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fastcore.controller.conditions import condition, condition_of
from fastcore.controller.model import Resource

PROGRESSING, READY, FAILED = "Progressing", "Ready", "Failed"
SYNCED = "Synced"
MAX_MESSAGE = 1024


class Outcome(NamedTuple):
    """How a reconcile went.

    Args:
        reason: of the condition Synced, in CamelCase.
        message: for people.
        synced: whether both children are as the WebApp asks.
        failed: whether a person has to do something.
    """

    reason: str
    message: str
    synced: bool = False
    failed: bool = False


IN_ORDER = Outcome("InOrder", "ConfigMap and Deployment are as the spec says", synced=True)


def synced_condition(webapp: Resource) -> Mapping[str, Any]:
    """The present condition Synced; empty if there is none."""
    return condition_of(webapp, SYNCED)


def is_synced(webapp: Resource) -> bool:
    """Whether the children have been brought to the present spec: later differences are drift."""
    condition = synced_condition(webapp)
    return condition.get("status") == "True" and _generation(condition) == webapp["metadata"]["generation"]


def status_of(webapp: Resource, outcome: Outcome, deployment: Mapping[str, Any] | None, now: datetime) -> Resource:
    """The status that says `outcome`; times of conditions that stay what they are stay, too."""
    generation = webapp["metadata"]["generation"]
    wanted = webapp["spec"].get("replicas", 1)
    ready = _ready_replicas(deployment)
    if outcome.failed:
        phase, reason, message = FAILED, outcome.reason, outcome.message
    elif not outcome.synced:
        phase, reason, message = PROGRESSING, outcome.reason, outcome.message
    elif ready >= wanted and _is_rolled_out(deployment, wanted):
        phase, reason, message = READY, "ReplicasReady", f"{ready} of {wanted} replicas are ready"
    else:
        phase, reason, message = PROGRESSING, "RollingOut", f"{ready} of {wanted} replicas are ready"
    conditions = [
        condition(webapp, SYNCED, outcome.synced, outcome.reason, outcome.message[:MAX_MESSAGE], now),
        condition(webapp, "Ready", phase == READY, reason, message[:MAX_MESSAGE], now),
    ]
    return {"observedGeneration": generation, "phase": phase, "readyReplicas": ready, "conditions": conditions}


def _ready_replicas(deployment: Mapping[str, Any] | None) -> int:
    return int(((deployment or {}).get("status") or {}).get("readyReplicas") or 0)


def _is_rolled_out(deployment: Mapping[str, Any] | None, wanted: int) -> bool:
    """Whether the replicas that are ready are those of the present template."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    seen = _generation(status) >= deployment["metadata"].get("generation", 0)
    return seen and int(status.get("updatedReplicas") or 0) >= wanted


def _generation(observed: Mapping[str, Any]) -> int:
    return int(observed.get("observedGeneration") or 0)
