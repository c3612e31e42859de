"""Circuit breaker: stop calling what keeps failing, and try again later."""

from fastcore._impl import breaker, registry
from fastcore.errors import CircuitOpenError

BreakerRegistry = registry.BreakerRegistry
BreakerStats = breaker.BreakerStats
CircuitBreaker = breaker.CircuitBreaker
Permit = breaker.Permit
RegistryStats = registry.RegistryStats

__all__ = ["BreakerRegistry", "BreakerStats", "CircuitBreaker", "CircuitOpenError", "Permit", "RegistryStats"]
