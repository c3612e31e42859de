# The circuit breaker for C code: docs/cimport.md.
from fastcore._ext.capi cimport (
    BreakerTicket, CircuitBreaker, breaker_admit, breaker_allow, breaker_failure, breaker_ignore, breaker_raised,
    breaker_success,
)
