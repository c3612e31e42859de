"""How one controller runs."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from fastcore.clock import own_clock
from fastcore.controller.cpus import default_concurrency
from fastcore.ratelimit import ItemBackoff, MaxOf, TokenBucket


class Limiter(Protocol):
    """Says how long a failed key waits: `fastcore.ratelimit.ItemBackoff`, `MaxOf`, or one's own."""

    def when(self, item: Any) -> float:
        """Seconds until the next try of `item`; counts the failure."""
        ...

    def forget(self, item: Any) -> None:
        """Start over with `item`."""
        ...

    def retries(self, item: Any) -> int:
        """Failures of `item` since it was last forgotten."""
        ...


def default_limiter() -> Limiter:
    """client-go's: the longer of 5 ms doubling to 1000 s a key, and 10 a second with bursts of 100 over all keys."""
    return MaxOf(ItemBackoff(0.005, 1000.0), TokenBucket(10.0, 100, clock=own_clock()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of one controller; the defaults are those of controller-runtime but for the concurrency.

    Args:
        max_concurrent_reconciles: different keys at once, >= 1; default 2 per usable processor, in 1..10.
        max_concurrent_per_workspace: of these in one workspace, >= 1, so that the others keep the rest while one is
            slow; None is all of them.
        min_interval: seconds, >= 0, from one reconcile of a key to the next that events lead to: what comes sooner
            waits, and becomes one. The first event of a quiet key is never late. 0 waits for nothing.
        limiter: delays of failed keys; None is `default_limiter()`. It has state: give each controller its own.
        reconcile_timeout: seconds after which a reconcile is cancelled, > 0; None is never (CT-6).
        recover_panic: True counts a bug in the reconciler and retries the key; False ends the manager with it (CT-5).
        needs_leader_election: wait for the manager's lead, or work on this replica's share of the keys; False works at
            once and on all keys, in every replica (CT-8).
        cache_sync_timeout: seconds that the first lists may take, > 0; then the start fails (CT-7).
        shutdown_grace: seconds that running reconciles get to end when the manager stops, >= 0 (CT-10).
        adaptive: run fewer reconciles at once while the API server answers 429, 503 or 504, or much slower than usual;
            at a server that keeps up it changes nothing.
        quarantine_after: bugs in a row after which a key is set aside until its object changes, >= 1; None never.
        quarantine_period: seconds after which it is tried once more all the same, > 0.
        breaker_threshold: reconciles of a workspace in a row whose requests all broke, after which its keys wait, >= 1;
            None never.
        slow_down: delay keys that write for ever, because somebody undoes their writes or they wake themselves.
        mute_own_events: keep events from a key that show nothing but the key's own writes (WR-9).
        flight_bytes: memory for the flight recorder, >= 0; 0 is none.
        tracer: an OpenTelemetry tracer that gets a span a reconcile; None makes no spans.
        field_manager: name under which `ctx.batch` applies; None is the controller's name.
        track_fields: the caches keep which fields that manager applied, so that `ctx.batch` can tell an apply that
            would change nothing. Costs about half of a small object's memory; without it every apply is sent.
        event_series: `ctx.events` writes events.k8s.io/v1, by a `SeriesRecorder`, instead of core/v1, by an
            `EventRecorder` (EV-2); the controller's name is at most 63 characters then.

    Raises:
        ValueError: an argument outside its range.
    """

    max_concurrent_reconciles: int = field(default_factory=default_concurrency)
    max_concurrent_per_workspace: int | None = None
    min_interval: float = 0.0
    limiter: Limiter | None = None
    reconcile_timeout: float | None = None
    recover_panic: bool = True
    needs_leader_election: bool = True
    cache_sync_timeout: float = 120.0
    shutdown_grace: float = 30.0
    adaptive: bool = True
    quarantine_after: int | None = 5
    quarantine_period: float = 3600.0
    breaker_threshold: int | None = 10
    slow_down: bool = True
    mute_own_events: bool = True
    flight_bytes: int = 1 << 20
    tracer: Any = None
    field_manager: str | None = None
    track_fields: bool = True
    event_series: bool = False

    def __post_init__(self) -> None:
        if self.max_concurrent_reconciles < 1:
            raise ValueError(f"max_concurrent_reconciles must be >= 1, not {self.max_concurrent_reconciles!r}")
        if self.reconcile_timeout is not None and not self.reconcile_timeout > 0:
            raise ValueError(f"reconcile_timeout must be > 0 seconds or None, not {self.reconcile_timeout!r}")
        if not self.min_interval >= 0:
            raise ValueError(f"min_interval must be >= 0 seconds, not {self.min_interval!r}")
        if not self.cache_sync_timeout > 0:
            raise ValueError(f"cache_sync_timeout must be > 0 seconds, not {self.cache_sync_timeout!r}")
        if not self.shutdown_grace >= 0:
            raise ValueError(f"shutdown_grace must be >= 0 seconds, not {self.shutdown_grace!r}")
        for name in ("max_concurrent_per_workspace", "quarantine_after", "breaker_threshold"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1 or None, not {value!r}")
        if not self.quarantine_period > 0:
            raise ValueError(f"quarantine_period must be > 0 seconds, not {self.quarantine_period!r}")
        if self.flight_bytes < 0:
            raise ValueError(f"flight_bytes must be >= 0, not {self.flight_bytes!r}")
