"""The metrics that controller-runtime does not have: what slows reconciles down, and where their time goes."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from fastcore.controller.controller import Controller

_CONTROLLER = ("controller",)
_MOST_BREAKERS = 100


def guard_metrics(controllers: "Iterable[Controller]") -> Iterator[Metric]:
    """The families of `controllers`.

    A breaker has a series only while it is not closed, and a hundred at most have one: a workspace that is well, or
    gone, has none.
    """
    controllers = list(controllers)
    own = counter("fastcore_controller_own_events_total", "Events of own writes that led to no reconcile.")
    recorded = CounterMetricFamily(
        "fastcore_controller_recorded_events_total",
        "Events that the controller reported, by what became of them.",
        labels=("controller", "outcome"),
    )
    cuts = counter("fastcore_controller_concurrency_cuts_total", "Cuts of the concurrency by an overloaded API server.")
    parked = counter("fastcore_controller_quarantines_total", "Keys set aside after bugs in a row.")
    fights = counter("fastcore_controller_field_fights_total", "Keys whose writes somebody undid again and again.")
    loops = counter("fastcore_controller_hot_loops_total", "Keys that woke themselves by their writes again and again.")
    limit = gauge("fastcore_controller_concurrency_limit", "Reconciles that may run at once now.")
    aside = gauge("fastcore_controller_quarantined_keys", "Keys that are set aside now.")
    slowed = gauge("fastcore_controller_slowed_keys", "Keys that are slowed down now.")
    full = gauge("fastcore_controller_keys_aside", "Keys that wait for another reconcile of their workspace to end.")
    for controller in controllers:
        name, guards = (controller.name,), controller.guards
        own.add_metric(name, controller.counters.own_events)
        events = controller.counters.events
        for outcome, count in (
            ("written", events.written),
            ("dropped", events.dropped),
            ("failed", events.failed),
            ("suppressed", events.suppressed),
        ):
            recorded.add_metric((*name, outcome), count)
        cuts.add_metric(name, controller.pace.cuts)
        parked.add_metric(name, guards.quarantine.total)
        fights.add_metric(name, guards.detector.fights)
        loops.add_metric(name, guards.detector.loops)
        limit.add_metric(name, controller.pace.limit)
        aside.add_metric(name, len(guards.quarantine))
        slowed.add_metric(name, len(guards.detector.slowed()))
        full.add_metric(name, len(controller.tenancy))
    yield from (own, recorded, cuts, parked, fights, loops, limit, aside, slowed, full)
    cost = CounterMetricFamily(
        "fastcore_reconcile_cost_seconds_total",
        "Seconds of reconciles by stage; `user` is the rest: own code, and its wait for the event loop.",
        labels=("controller", "stage"),
    )
    broken = GaugeMetricFamily(
        "fastcore_workspace_breaker_open",
        "1 while the breaker of a workspace is open, 0.5 while it is half open.",
        labels=("controller", "workspace"),
    )
    for controller in controllers:
        waited = controller.queue.stats().queue_duration.sum
        for stage, seconds in controller.ledger.seconds(waited).items():
            cost.add_metric((controller.name, stage), seconds)
        states = sorted((name, state) for name, state in controller.guards.breakers.states().items())
        for workspace, state in [found for found in states if found[1] != "closed"][:_MOST_BREAKERS]:
            broken.add_metric((controller.name, workspace), 0.5 if state == "half_open" else 1.0)
    yield from (cost, broken)


def counter(name: str, text: str) -> CounterMetricFamily:
    """A counter a controller."""
    return CounterMetricFamily(name, text, labels=_CONTROLLER)


def gauge(name: str, text: str) -> GaugeMetricFamily:
    """A gauge a controller."""
    return GaugeMetricFamily(name, text, labels=_CONTROLLER)
