"""The arithmetic of a token bucket: no clock, no lock.

A level is kept as *credit*: tokens times 1e9. A rate of r tokens a second is r credits a nanosecond, so whole rates
stay exact up to 2**53 credits.
"""

import math

CREDITS = 1_000_000_000
INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)


def accrued(credit: float, last: int, t: int, rate: float, full: float) -> float:
    """Credit at `t` of a bucket that held `credit` at `last`; a `t` before `last` gains and loses nothing."""
    if t > last:
        credit += float(t - last) * rate
    return credit if credit < full else full


def covers(credit: float, cost: float, rate: float) -> bool:
    """Whether `credit` pays for `cost`, forgiving what rounding can have taken.

    Forgiven is less than one nanosecond of accrual, as x/time/rate does, and less than a millionth of a token, so that
    rates above 1e9/s stay limits. The forgiven part stays owed: it does not add up.
    """
    short = cost - credit
    return short <= 0.0 or (short < rate and short < 1000.0)


def tokens_of(credit: float, rate: float) -> float:
    """Credit as tokens; a forgiven rounding error shows as 0."""
    if credit < 0.0 and covers(credit, 0.0, rate):
        return 0.0
    return credit / CREDITS


def wait_ns(credit: float, cost: float, rate: float) -> int:
    """Nanoseconds until the bucket has earned what `cost` lacks; INT64_MAX when it never will."""
    if covers(credit, cost, rate):
        return 0
    if rate <= 0.0:
        return INT64_MAX
    wait = (cost - credit) / rate
    return INT64_MAX if not math.isfinite(wait) else min(round(wait), INT64_MAX)


def later(t: int, wait: int) -> int:
    """`t + wait` for `wait >= 0`, stopping at the end of time."""
    return min(t + wait, INT64_MAX)
