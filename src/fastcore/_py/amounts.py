"""What callers of a limiter pass, checked once at the boundary: rates, bursts, tokens, times and time limits."""

import math
from operator import index

from fastcore._py.credit import CREDITS, INT64_MAX, INT64_MIN


def as_float(number: float) -> float:
    """Convert as C does: any real number, but no text."""
    return math.ldexp(number, 0)


def checked_rate(rate: float) -> float:
    """`rate` as a float, if it is one a bucket can have."""
    value = as_float(rate)
    if not value >= 0.0:
        raise ValueError(f"rate must be >= 0 tokens/s (math.inf for no limit), not {rate!r}")
    return value


def checked_full(burst: float) -> float:
    """`burst` in credit, if it is one a bucket can have."""
    value = as_float(burst)
    if not (value >= 0.0 and value * CREDITS < math.inf):
        raise ValueError(f"burst must be a finite number of tokens >= 0, not {burst!r}")
    return value * CREDITS


def checked_cost(n: float) -> float:
    """`n` tokens in credit."""
    value = as_float(n)
    if not value >= 0.0:
        raise ValueError(f"n must be >= 0 tokens, not {value!r}")
    return value * CREDITS


def checked_time(t: int) -> int:
    """`t` if it is an integer of 64 bits."""
    value = index(t)
    if not INT64_MIN <= value <= INT64_MAX:
        raise OverflowError(f"a time must fit in 64 bits of nanoseconds, not {t!r}")
    return value


def duration_ns(seconds: float | None) -> int:
    """Nanoseconds of `seconds`, None meaning no limit; negative when the time has passed."""
    if seconds is None:
        return INT64_MAX
    value = as_float(seconds)
    if math.isnan(value):
        raise ValueError(f"a time limit must be a number of seconds, not {seconds!r}")
    value *= 1e9
    if value >= 2.0**63:
        return INT64_MAX
    return -1 if value < 0.0 else int(value)
