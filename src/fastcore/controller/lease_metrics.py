"""Who leads and who shares, as metrics: controller-runtime's names where it has them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from fastcore.controller.manager import Manager


def leases(managers: "Iterable[Manager]") -> Iterator[Metric]:
    """The families of leader election and sharding, with a series for each Lease and group that is in use."""
    master = GaugeMetricFamily(
        "leader_election_master_status", "1 while this process leads, 0 while it stands by.", labels=("name",)
    )
    slowpath = CounterMetricFamily(
        "leader_election_slowpath_total", "Renewals of the lead that had to read the Lease first.", labels=("name",)
    )
    members = GaugeMetricFamily("fastcore_shard_members", "Replicas that share the keys.", labels=("group",))
    settled = GaugeMetricFamily(
        "fastcore_shard_settled",
        "1 when this replica has all of its keys, 0 while keys change hands.",
        labels=("group",),
    )
    handovers = CounterMetricFamily(
        "fastcore_shard_handovers_total", "Changes of the group after which keys were taken over.", labels=("group",)
    )
    for manager in managers:
        elector, member = manager.availability.elector, manager.availability.member
        if elector is not None:
            master.add_metric((elector.name,), float(elector.leading))
            slowpath.add_metric((elector.name,), elector.slowpath)
        if member is not None:
            members.add_metric((member.group,), 0 if member.roster is None else len(member.roster.members))
            settled.add_metric((member.group,), float(member.settled))
            handovers.add_metric((member.group,), member.handovers)
    yield from (master, slowpath, members, settled, handovers)
