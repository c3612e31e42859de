"""The metrics of `Flow`: what the server's flow schemas took, and what a client's own limit made requests wait."""

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from fastcore.controller.flow import WAIT_BUCKETS
from fastcore.controller.requester import Requester


def flow_families(clients: Iterable[Requester]) -> Iterator[Metric]:
    """The families of several clients; those that share connections share a `Flow`, which counts once.

    Complexity: O(clients).
    """
    accepted = CounterMetricFamily(
        "fastcore_apf_requests_total",
        "Answers by the flow schema and priority level that took the request.",
        labels=("flow_schema", "priority_level"),
    )
    rejected = CounterMetricFamily(
        "fastcore_apf_rejected_total", "Answers 429 by priority level.", labels=("priority_level",)
    )
    waits = HistogramMetricFamily(
        "rest_client_rate_limiter_duration_seconds",
        "Client side rate limiter latency in seconds, by verb and host.",
        labels=("verb", "host"),
    )
    taken: dict[tuple[str, str], int] = {}
    refused: dict[str, int] = {}
    counts: dict[tuple[str, str], list[int]] = {}
    sums: dict[tuple[str, str], float] = {}
    for client in {id(client.flow): client for client in clients}.values():
        flow, host = client.flow, client.config.endpoint.authority
        for pair, count in list(flow.accepted.items()):
            taken[pair] = taken.get(pair, 0) + count
        for level, count in list(flow.rejected.items()):
            refused[level] = refused.get(level, 0) + count
        for verb, waited in list(flow.waits.items()):
            before = counts.get((verb, host), [0] * len(waited.counts))
            counts[verb, host] = [a + b for a, b in zip(before, waited.counts, strict=True)]
            sums[verb, host] = sums.get((verb, host), 0.0) + waited.sum
    for pair, count in sorted(taken.items()):
        accepted.add_metric(pair, count)
    for level, count in sorted(refused.items()):
        rejected.add_metric((level,), count)
    for labels, found in sorted(counts.items()):
        buckets, total = [], 0
        for bound, count in zip((*WAIT_BUCKETS, math.inf), found, strict=True):
            total += count
            buckets.append(("+Inf" if bound == math.inf else repr(bound), float(total)))
        waits.add_metric(labels, buckets, sums[labels])
    yield from (accepted, rejected, waits)
