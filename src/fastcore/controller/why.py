"""Why an object is, or is not, reconciled: everything that is known of one key, put together when somebody asks."""

from typing import TYPE_CHECKING, Any

from fastcore.clock import NS_PER_S
from fastcore.controller.context import Scope, cause_names
from fastcore.controller.handlers import Shown
from fastcore.controller.history import Story
from fastcore.controller.model import SECRET, Request, parse_revision, revision
from fastcore.controller.own_events import changes
from fastcore.controller.predicates import Predicate

if TYPE_CHECKING:
    from fastcore.controller.controller import Controller

_MOST_PATHS = 20


def why(controller: "Controller", request: Request) -> dict[str, Any]:
    """All that `controller` knows of `request`, ready for JSON; no values of objects, only paths.

    Complexity: O(size of the two versions that are compared) + O(dropped events, at most 64).
    Thread safety: belongs to the event loop.
    """
    now = controller.clock()
    scope = controller.scope(request.workspace)
    story = controller.history.known(request)
    found: dict[str, Any] = {
        "controller": controller.name,
        "key": str(request),
        "queue": _queue(controller, request, now),
        "ours": controller.owns is None or controller.owns(request),
        "object": None if scope is None else _object(controller, scope, request),
        "history": None if story is None else _history(story, now),
        "causes": _causes(controller, story, request, now),
        "dropped": _dropped(controller, request, now),
        "guards": _guards(controller, request, now),
        "workers": {"busy": controller.counters.active_workers, "limit": controller.pace.limit},
        "caches": {} if scope is None else _caches(scope),
    }
    found["verdict"] = _verdict(controller, request, scope, found)
    return found


def as_text(found: dict[str, Any]) -> str:
    """A report for people."""
    lines = [f"{found['key']} in controller {found['controller']}", f"  {found['verdict']}", ""]
    if not found["ours"]:
        lines[-1:] = ["shard: another replica's", ""]
    for title in ("object", "queue", "guards", "history", "causes", "dropped", "workers", "caches"):
        part = found[title]
        if isinstance(part, dict):
            lines.append(f"{title}:")
            lines += [f"  {name}: {_plain(value)}" for name, value in part.items() if value not in (None, [], {})]
        elif part:
            lines.append(f"{title}:")
            lines += [f"  - {_plain(entry)}" for entry in part]
        else:
            lines.append(f"{title}: none")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items() if inner not in (None, [], {}))
    if isinstance(value, list):
        return "; ".join(map(_plain, value))
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _queue(controller: "Controller", request: Request, now: int) -> dict[str, Any]:
    state = controller.queue.state(request)
    turn = controller.running(request)
    return {
        "state": "absent" if state is None else state.state,
        "priority": None if state is None else state.priority,
        "seconds_in_state": None if state is None else state.since,
        "next_try_in": None if state is None else state.due,
        "queued_again": bool(state and state.again) or bool(turn and turn.held),
        "ready_keys": len(controller.queue),
        "failures_in_a_row": controller.queue.retries(request),
        "writes_under_way_or_done": None if turn is None else turn.written,
    }


def _object(controller: "Controller", scope: Scope, request: Request) -> dict[str, Any] | None:
    informer = scope.informers[controller.kind]
    obj = informer.get(request.namespace, request.name)
    if obj is None:
        return None
    meta, seen = obj["metadata"], parse_revision(informer.stats().revision)
    ours = revision(obj)
    return {
        "uid": meta.get("uid"),
        "resourceVersion": meta.get("resourceVersion"),
        "generation": meta.get("generation"),
        "deleting_since": meta.get("deletionTimestamp"),
        "own_write_ahead_of_the_watch": ours is not None and seen is not None and ours > seen,
    }


def _history(story: Story, now: int) -> dict[str, Any]:
    return {
        "reconciles": story.reconciles,
        "last_began": _ago(story.started_ns, now),
        "last_ended": _ago(story.ended_ns, now),
        "last_result": story.result,
        "last_error": story.error,
        "last_error_seconds_ago": _ago(story.error_ns, now),
        "own_events_kept_away": story.suppressed,
    }


def _causes(controller: "Controller", story: Story | None, request: Request, now: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if story is not None:
        found += (
            {"what": f"{cause.kind} {cause.event}", "from": cause.old, "to": cause.new, "ago": _ago(cause.at_ns, now)}
            for cause in reversed(story.causes)
        )
    shown = controller.history.shown(request)
    if found and shown is not None:
        found[0]["changed"] = _paths(shown)
    waiting = controller.pending_causes(request)
    if waiting:
        found.insert(0, {"what": "waiting for the next reconcile", "causes": list(cause_names(*waiting))})
    return found


def _dropped(controller: "Controller", request: Request, now: int) -> list[dict[str, Any]]:
    """The last events of objects that concern the key, and who dropped them."""
    found = []
    for at_ns, handler, shown in reversed(controller.history.drops()):
        obj = shown.new if shown.new is not None else shown.old
        if obj is None or handler.workspace != request.workspace or request not in handler.requests(obj):
            continue
        old, new = shown.versions()
        namespace, name = shown.key()
        found.append(
            {
                "what": f"{shown.kind.kind} {shown.event}",
                "object": f"{namespace}/{name}" if namespace else name,
                "from": old,
                "to": new,
                "by": repr(handler.predicate.refuser(lambda part, shown=shown: _passes(part, shown))),  # type: ignore[misc]
                "changed": _paths(shown),
                "ago": _ago(at_ns, now),
            }
        )
    return found


def _passes(predicate: Predicate, shown: Shown) -> bool:
    if shown.old is None:
        return shown.new is not None and predicate.created(shown.new)
    return predicate.deleted(shown.old) if shown.new is None else predicate.updated(shown.old, shown.new)


def _paths(shown: Shown) -> list[str]:
    """What changed, by path; a Secret's keys are its own affair."""
    if shown.old is None or shown.new is None:
        return []
    steps = [change.path for change in changes(shown.old, shown.new)]
    if shown.kind == SECRET:
        steps = list(dict.fromkeys(path[:1] if path[0] in ("data", "stringData") else path for path in steps))
    where = [".".join(_step(step) for step in path) for path in steps]
    return [*where[:_MOST_PATHS], *(["..."] if len(where) > _MOST_PATHS else [])]


def _step(step: Any) -> str:
    if isinstance(step, tuple):
        return "[" + ",".join(f"{k}={v}" for k, v in zip(step[::2], step[1::2], strict=True)) + "]"
    return f"[{step}]" if isinstance(step, int) else str(step)


def _guards(controller: "Controller", request: Request, now: int) -> dict[str, Any]:
    guards = controller.guards
    parked = guards.quarantine.get(request)
    return {
        "quarantine": None if parked is None else f"for another {(parked.until_ns - now) / NS_PER_S:.1f} s",
        "slowed_down": guards.detector.describe(request),
        "breaker": guards.breakers.states().get(request.workspace),
        "stands_aside": controller.tenancy.stands_aside(request) or None,
    }


def _caches(scope: Scope) -> dict[str, Any]:
    return {
        kind.kind: {
            "synced": stats.synced,
            "revision": stats.revision,
            "lag": round(stats.lag, 3),
            "objects": stats.objects,
            "failures": stats.failures,
        }
        for kind, informer in scope.informers.items()
        for stats in (informer.stats(),)
    }


def _verdict(controller: "Controller", request: Request, scope: Scope | None, found: dict[str, Any]) -> str:
    """The first thing that stands in the way, in a sentence."""
    queue, guards = found["queue"], found["guards"]
    if scope is None:
        return f"workspace {request.workspace!r} is none of this manager's: nothing happens to this key"
    if not found["ours"]:
        return "belongs to another replica's shard: ask that one"
    late = [kind for kind, cache in found["caches"].items() if not cache["synced"]]
    if late:
        return f"waits for the first list of {', '.join(late)}"
    if queue["state"] == "processing":
        return f"is being reconciled since {queue['seconds_in_state']:.3f} s"
    if guards["quarantine"]:
        return f"set aside after bugs in a row, until it changes or {guards['quarantine']}: {_error(found)}"
    if guards["slowed_down"]:
        return f"slowed down: {guards['slowed_down']}"
    if guards["stands_aside"]:
        most = controller.options.max_concurrent_per_workspace
        return f"waits for one of the {most} reconciles of its workspace to end"
    if queue["state"] == "delayed":
        due = queue["next_try_in"]
        if guards["breaker"] != "closed" and guards["breaker"] is not None:
            return f"waits {due:.3f} s, since the API server of its workspace fails (breaker {guards['breaker']})"
        if queue["failures_in_a_row"]:
            return f"next try in {due:.3f} s, after {queue['failures_in_a_row']} failures in a row: {_error(found)}"
        asked = "its last reconcile asked for"
        interval = controller.options.min_interval
        return f"comes back in {due:.3f} s, as {asked}{f' or min_interval={interval:g} wants' if interval else ''}"
    if queue["state"] == "ready":
        workers = found["workers"]
        return (
            f"ready since {queue['seconds_in_state']:.3f} s; {workers['busy']} of {workers['limit']} workers are busy"
        )
    if found["object"] is None:
        return "there is no such object in the cache, and nothing to do"
    last = found["history"]
    if last is None or last["last_result"] is None:
        return "nothing to do: no event has led to it since this process began, or it has been forgotten"
    if last["last_result"] == "terminal error":
        return f"its last reconcile ended with a terminal error and waits for a change: {_error(found)}"
    return f"nothing to do: its last reconcile ended with {last['last_result']} {last['last_ended']:.1f} s ago"


def _error(found: dict[str, Any]) -> str:
    history = found["history"]
    return (history and history["last_error"]) or "its error is forgotten"


def _ago(at_ns: int, now: int) -> float | None:
    return (now - at_ns) / NS_PER_S if at_ns else None
