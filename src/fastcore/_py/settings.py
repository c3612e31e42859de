"""The settings of a circuit breaker: checked, each by name, value and limit, and put into a Circuit."""

import math
from datetime import timedelta
from operator import index
from typing import Any

from fastcore._py.amounts import as_float
from fastcore._py.circuit import Circuit, to_ns
from fastcore._py.gate import Matchers
from fastcore._py.window import Window


def positive(name: str, value: float) -> float:
    number = as_float(value)
    if not number > 0.0:
        raise ValueError(f"{name} must be > 0 seconds, not {value!r}")
    return number


def share(name: str, value: float) -> float:
    number = as_float(value)
    if not 0.0 < number <= 1.0:
        raise ValueError(f"{name} must be > 0 and <= 1, not {value!r}")
    return number


def at_least_one(name: str, value: int) -> int:
    number = index(value)
    if number < 1:
        raise ValueError(f"{name} must be >= 1, not {value!r}")
    return number


def matchers(name: str, given: Any) -> Matchers:
    """Exception types, and predicates of an exception, from what was given for `name`."""
    types, predicates = [], []
    for item in given if isinstance(given, (tuple, list, set, frozenset)) else (given,):
        if isinstance(item, type) and issubclass(item, BaseException):
            types.append(item)
        elif callable(item) and not isinstance(item, type):
            predicates.append(item)
        else:
            raise TypeError(f"{name} takes exception types and predicates, not {item!r}")
    return tuple(types), tuple(predicates)


def set_times(
    c: Circuit,
    open_for: float,
    half_open_timeout: float | None,
    open_growth: float,
    open_max: float | None,
    jitter: float,
) -> None:
    """How long the breaker stays open and waits for trial calls."""
    seconds = positive("open_for", open_for)
    c.open_ns = c.trial_ns = to_ns(seconds)
    c.period = seconds
    if half_open_timeout is not None:
        c.trial_ns = to_ns(positive("half_open_timeout", half_open_timeout))
    c.growth = as_float(open_growth)
    if not 1.0 <= c.growth < math.inf:
        raise ValueError(f"open_growth must be >= 1 and finite, not {open_growth!r}")
    c.open_max = seconds * 10.0 if open_max is None else as_float(open_max)
    if not c.open_max >= seconds:
        raise ValueError(f"open_max must be >= open_for ({seconds!r} s), not {open_max!r}")
    c.jitter = as_float(jitter)
    if not 0.0 <= c.jitter <= 1.0:
        raise ValueError(f"jitter must be >= 0 and <= 1, not {jitter!r}")


def set_rules(
    c: Circuit,
    failure_threshold: int | None,
    window: float | timedelta | None,
    failure_rate: float | None,
    min_calls: int | None,
    slow_call: float | None,
    slow_rate: float | None,
    buckets: int,
) -> None:
    """What opens the breaker."""
    buckets = at_least_one("buckets", buckets)
    if slow_call is not None:
        c.slow_ns = to_ns(positive("slow_call", slow_call))
    if slow_rate is not None:
        if slow_call is None:
            raise ValueError(f"slow_rate={slow_rate!r} needs slow_call, the seconds beyond which a call is slow")
        c.slow_rate = share("slow_rate", slow_rate)
    if failure_rate is not None:
        c.failure_rate = share("failure_rate", failure_rate)
    elif window is not None and slow_rate is None:
        c.failure_rate = 0.5
    if window is None and (failure_rate is not None or slow_rate is not None):
        window = 100
    c.min_calls = 10 if min_calls is None else at_least_one("min_calls", min_calls)
    if isinstance(window, timedelta):
        window = window.total_seconds()
    if isinstance(window, float):
        if not 1.0 <= window < 1e9:
            raise ValueError(f"a time window must be >= 1 second and finite, not {window!r}")
        c.window = Window(buckets + 1, to_ns(window / buckets))
    elif window is not None:
        c.window = Window(at_least_one("window", window))
        c.min_calls = min(c.min_calls, c.window.size)
    if failure_threshold is not None:
        c.failure_threshold = at_least_one("failure_threshold", failure_threshold)
    elif c.window.size == 0:
        c.failure_threshold = 10
