"""Circuit breaker: stop calling what keeps failing, and try again later."""

from fastcore._impl import breaker
from fastcore.errors import CircuitOpenError

BreakerStats = breaker.BreakerStats
CircuitBreaker = breaker.CircuitBreaker
Permit = breaker.Permit

__all__ = ["BreakerStats", "CircuitBreaker", "CircuitOpenError", "Permit"]
