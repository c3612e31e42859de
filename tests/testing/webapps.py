"""The world of the reference controller: WebApps, their users, and what must come of them."""

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from fastcore.controller import CONFIG_MAP, DEPLOYMENT
from fastcore.controller.manager import Manager
from fastcore.reference import WEBAPP, build, crd
from fastcore.testing.simulate import State, World, Write, create, delete, edit

NAMES = ("api", "web")
FOREIGN = {"K": "somebody's"}


def webapp(name: str, config: str = "1", replicas: int = 1) -> dict[str, Any]:
    spec = {"image": "app:1", "replicas": replicas, "config": {"K": config}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def _writes(workspaces: tuple[str, ...]) -> Callable[[Random], Iterator[Write]]:
    def writes(random: Random) -> Iterator[Write]:
        # Mostly there is something to work on; and each run has its own favourites.
        weights = [random.choice((0, 1, 1, 4)) * weight for weight in (2, 2, 1, 1, 1, 1)]
        for _ in range(random.randint(3, 20)):
            name, place = random.choice(NAMES), random.choice(workspaces)
            fresh = webapp(name, str(random.randint(0, 5)), random.randint(0, 3))
            kind = random.choice((CONFIG_MAP, DEPLOYMENT))
            foreign = {"metadata": {"name": name, "namespace": "default"}, "data": FOREIGN}
            drift = {"data": {"K": "drift", "X": "foreign"}}
            choices = (
                create(WEBAPP, fresh, workspace=place),
                edit(WEBAPP, "default", name, {"spec": fresh["spec"]}, workspace=place),
                delete(WEBAPP, "default", name, workspace=place),
                delete(kind, "default", name, workspace=place),
                edit(CONFIG_MAP, "default", name, drift, workspace=place),
                create(CONFIG_MAP, foreign, workspace=place),
            )
            yield random.choices(choices, (3, *weights[1:]))[0]

    return writes


def drifts(random: Random) -> Iterator[Write]:
    """Somebody who fights over one ConfigMap, again and again."""
    yield create(WEBAPP, webapp("web"))
    for _ in range(random.randint(4, 16)):
        yield edit(CONFIG_MAP, "default", "web", {"data": {"K": random.choice(("drift", "1")), "X": "foreign"}})


def converged(state: State, workspaces: Iterable[str] = ("",)) -> str | None:
    """None if every WebApp has its children and says so, and no child is without a WebApp."""
    for place in workspaces:
        for name in NAMES:
            found = _check(state, place, name)
            if found is not None:
                return f"{place} {name}: {found}".strip()
    return None


def _check(state: State, place: str, name: str) -> str | None:
    owner = state.get(WEBAPP, "default", name, workspace=place)
    children = {kind: state.get(kind, "default", name, workspace=place) for kind in (CONFIG_MAP, DEPLOYMENT)}
    if owner is None:
        orphans = [kind.kind for kind, child in children.items() if child and child["metadata"].get("ownerReferences")]
        return f"the {orphans[0]} is an orphan" if orphans else None
    status = owner.get("status") or {}
    if status.get("observedGeneration") != owner["metadata"]["generation"]:
        return f"generation {owner['metadata']['generation']} was not observed, but {status.get('observedGeneration')}"
    config_map, deployment = children.values()
    if config_map is not None and not config_map["metadata"].get("ownerReferences"):
        reasons = [condition["reason"] for condition in status["conditions"]]
        if config_map.get("data") != FOREIGN and config_map.get("data") != {"K": "drift", "X": "foreign"}:
            return f"a foreign ConfigMap was changed: {config_map.get('data')}"
        return None if "ForeignObject" in reasons else f"the ConfigMap is foreign, but the status says {reasons}"
    if config_map is None or deployment is None:
        return "a child is missing"
    if config_map.get("data") != owner["spec"]["config"]:
        return f"the ConfigMap has {config_map.get('data')}, not {owner['spec']['config']}"
    if deployment["spec"]["replicas"] != owner["spec"]["replicas"]:
        return f"the Deployment has {deployment['spec']['replicas']} replicas"
    return None if status["phase"] == "Ready" else f"its phase is {status['phase']}"


def world(start: Callable[[Manager], object] = build, workspaces: tuple[str, ...] | None = None, **more: Any) -> World:
    """The reference controller, or a copy of it."""
    places = workspaces or ("",)
    usual = {"writes": _writes(places), "converged": lambda state: converged(state, places)}
    return World(setup=[crd()], start=start, workspaces=workspaces, **{**usual, **more})
