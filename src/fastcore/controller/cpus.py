"""How many reconciles at once suit the processors that this process may use."""

from fastcore.work.cpus import usable_cpus

_MAX_DEFAULT_CONCURRENCY = 10


def default_concurrency() -> int:
    """Reconciles at once when nobody says otherwise: 2 per usable processor, in 1..10."""
    return max(1, min(_MAX_DEFAULT_CONCURRENCY, 2 * usable_cpus()))
