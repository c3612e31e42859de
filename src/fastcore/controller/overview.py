"""What a manager adds to its dashboard: the keys that took longest of late, and what its informers hold."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastcore.observe.dashboard import Column, Table

if TYPE_CHECKING:
    from fastcore.controller.manager import Manager

_SLOWEST = 10
_MOST_INFORMERS = 50


def tables(manager: "Manager") -> Iterator[Table]:
    """The tables, with present values."""
    yield _slowest(manager)
    informers = sorted(manager.informers(), key=lambda informer: (informer.workspace.name, informer.kind.plural))
    yield Table(
        "Informers",
        (
            Column("objects", "count"),
            Column("events", "rate"),
            Column("synced", "text"),
            Column("last heard", "seconds"),
            Column("relists", "count"),
            Column("failures", "count"),
        ),
        [
            (
                f"{informer.workspace.name} {informer.kind.plural}",
                (
                    stats.objects,
                    sum(stats.events.values()),
                    "yes" if stats.synced else "no",
                    stats.lag,
                    max(0, stats.lists - 1),
                    stats.failures,
                ),
            )
            for informer in informers[:_MOST_INFORMERS]
            for stats in (informer.stats(),)
        ],
        max(0, len(informers) - _MOST_INFORMERS),
    )


def _slowest(manager: "Manager") -> Table:
    """The longest reconciles that the flight recorders remember, one row a key."""
    found: dict[str, tuple[float, str]] = {}
    for name, controller in manager.controllers.items():
        for request, seconds, result in controller.flight.durations():
            key = f"{name} {'/'.join(part for part in request if part)}"
            if seconds > found.get(key, (-1.0, ""))[0]:
                found[key] = (seconds, result)
    longest = sorted(found.items(), key=lambda item: -item[1][0])[:_SLOWEST]
    return Table("Slowest keys of late", (Column("took", "seconds"), Column("result", "text")), longest)
