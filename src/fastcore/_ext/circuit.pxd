# The state machine of a circuit breaker. No Python, no clock, no lock. Every rule on transitions is in this file:
#
#   from        what happens                                                  to          reason
#   closed      a failure, the `failure_threshold`-th in a row                open        failures
#   closed      a failure or slow call, and in the window of >= `min_calls`   open        failure_rate
#               calls the share of failures (slow calls) is >= the rate                   slow_rate
#   open        a call, once the open time is over                            half_open   open_time_over
#   half_open   `successes_needed` trial calls have succeeded                 closed      recovered
#   half_open   a trial call failed                                           open        trial_failed
#   half_open   a trial call was slow, and there is a slow rate               open        trial_slow
#   half_open   a call, and a trial call has been out for `trial_ns`          open        trial_lost
#   any         force_open(): open until reset()                              open        forced
#   any         disable(): closed and not counting until reset()              closed      disabled
#   any         metrics_only(): closed and counting until reset()             closed      metrics_only
#   any         reset()                                                       closed      reset
#
# In metrics-only mode a rule that is met opens nothing: it is told as a transition from closed to closed, with the rule
# as the reason, once an outage (until the rule is no longer met) and once in `open_ns`, as long as the breaker would
# have kept still.
#
# Theory. Each transition starts a new *generation*. A call gets a ticket with the generation that admitted it, and its
# outcome counts only in that one: calls that began before the breaker opened neither close nor reopen it, they are
# late. In half-open a ticket also holds one of a few leases, which any end of the call gives back. A call ends as
# success, failure or excluded (it says nothing about the callee: cancelled, or refused further in).
#
# Open time: `open_ns` exactly when the closed breaker opens. Each trial that fails multiplies it by `growth`, up to
# `open_max`, and then varies it by the share `jitter`, so that replicas do not come back in step. Closing resets it.
from libc.stdint cimport INT64_MAX, INT64_MIN, UINT64_MAX, int64_t, uint64_t

from fastcore._ext.leases cimport Leases, first_deadline, give_back, grant
from fastcore._ext.window cimport Window, clear, record

cdef enum:
    CLOSED
    OPEN
    HALF_OPEN
    FORCED  # open for those who ask
    DISABLED  # closed for those who ask, and so is the next
    METRICS_ONLY

cdef enum:
    SUCCESS
    FAILURE
    EXCLUDED

cdef enum:
    ADMITTED
    REFUSED_OPEN
    REFUSED_FULL
    REFUSED_FORCED

cdef enum:
    NO_REASON
    FAILURES
    FAILURE_RATE
    SLOW_RATE
    OPEN_TIME_OVER
    RECOVERED
    TRIAL_FAILED
    TRIAL_SLOW
    TRIAL_LOST
    BY_FORCE
    BY_DISABLING
    BY_WATCHING
    BY_RESET

cdef enum:
    VISIBLE_STATES = 3  # the first three; a mode looks like one of them

cdef struct Ticket:
    uint64_t generation  # 0: of none; UINT64_MAX: not to be counted
    int64_t lease
    int64_t start

cdef struct Circuit:
    # Settings.
    Py_ssize_t failure_threshold  # 0: no such rule
    Py_ssize_t successes_needed
    Py_ssize_t min_calls
    double failure_rate  # 0: no such rule
    double slow_rate  # 0: no such rule
    int64_t slow_ns  # 0: no call is slow
    int64_t open_ns
    int64_t trial_ns
    double growth
    double open_max  # seconds
    double jitter
    # State.
    int state
    uint64_t generation
    int64_t until  # when the open time is over
    double period  # the open time in seconds, before jitter
    double draw  # a random number in [0, 1) for the next jitter
    bint would_be_open  # in metrics-only mode: the rule that was told is still met
    Py_ssize_t consecutive
    Py_ssize_t trials_succeeded
    Window window
    Leases leases
    # Counters.
    long long calls
    long long successes
    long long failures
    long long excluded
    long long slow
    long long rejected
    long long late
    long long lost
    long long would_open
    long long transitions[3][3]


cdef inline int64_t to_ns(double seconds) noexcept nogil:
    """Seconds >= 0 as nanoseconds, stopping at 292 years."""
    return INT64_MAX if seconds >= 9.2e9 else <int64_t>(seconds * 1e9 + 0.5)


cdef inline int64_t after(int64_t now, int64_t ns) noexcept nogil:
    return INT64_MAX if now > INT64_MAX - ns else now + ns


cdef inline int visible(int state) noexcept nogil:
    """What those who ask are told."""
    if state == FORCED:
        return OPEN
    return state if state < VISIBLE_STATES else CLOSED


cdef inline int news_of(int before, int after, int reason) noexcept nogil:
    """A transition in one number."""
    return before + 4 * after + 16 * reason


cdef inline long long in_flight(const Circuit *c) noexcept nogil:
    """Calls that were admitted and have not reported; one that was given up as lost is counted when it does."""
    return c.calls + c.lost - c.successes - c.failures - c.excluded - c.late


cdef inline int move(Circuit *c, int state, int reason) noexcept nogil:
    """Start a generation in `state`; the news, 0 if nobody can tell."""
    cdef int before = visible(c.state)
    cdef int after = visible(state)
    cdef int news = 0
    if before != after:
        news = news_of(before, after, reason)
        c.transitions[before][after] += 1
    c.state = state
    c.would_be_open = False
    c.generation += 1
    c.consecutive = 0
    c.trials_succeeded = 0
    c.leases.count = 0
    clear(&c.window)
    return news


cdef inline int open_again(Circuit *c, int64_t now, int reason) noexcept nogil:
    """Half-open to open, for longer than the last time."""
    c.period = min(c.period * c.growth, c.open_max)
    c.until = after(now, to_ns(c.period * (1.0 + c.jitter * (2.0 * c.draw - 1.0))))
    return move(c, OPEN, reason)


cdef inline int close(Circuit *c, int reason) noexcept nogil:
    """Any state to closed."""
    c.period = c.open_ns / 1e9
    return move(c, CLOSED, reason)


cdef inline int enter(Circuit *c, int64_t now, Ticket *ticket, int *news) noexcept nogil:
    """Admit a call and fill its ticket, or say why not."""
    news[0] = 0
    ticket.lease = 0
    if c.state == OPEN and now >= c.until:
        news[0] = move(c, HALF_OPEN, OPEN_TIME_OVER)
    if c.state == HALF_OPEN and c.leases.count > 0 and first_deadline(&c.leases) <= now:
        c.failures += 1
        c.lost += 1
        news[0] = open_again(c, now, TRIAL_LOST)
    if c.state == HALF_OPEN:
        ticket.lease = grant(&c.leases, after(now, c.trial_ns))
    if c.state == DISABLED:
        ticket.generation = UINT64_MAX
        return ADMITTED
    if c.state == CLOSED or c.state == METRICS_ONLY or ticket.lease != 0:
        c.calls += 1
        ticket.generation = c.generation
        ticket.start = now
        return ADMITTED
    c.rejected += 1
    if c.state == OPEN:
        return REFUSED_OPEN
    return REFUSED_FULL if c.state == HALF_OPEN else REFUSED_FORCED


cdef inline int tripped(const Circuit *c) noexcept nogil:
    """The rule of the closed state that the failure or slow call just counted fulfils."""
    if c.failure_threshold > 0 and c.consecutive >= c.failure_threshold:
        return FAILURES
    cdef double calls = <double>c.window.sums.calls
    if c.window.size > 0 and calls >= c.min_calls:
        # Shares, not products: 7 / 100 is exactly the 0.07 that somebody wrote, 0.07 * 100 is more than 7.
        if c.failure_rate > 0.0 and <double>c.window.sums.failures / calls >= c.failure_rate:
            return FAILURE_RATE
        if c.slow_rate > 0.0 and <double>c.window.sums.slow / calls >= c.slow_rate:
            return SLOW_RATE
    return NO_REASON


cdef inline int watch(Circuit *c, int64_t now, bint bad) noexcept nogil:
    """In metrics-only mode, after each call: the news that the breaker would have opened."""
    cdef int reason = tripped(c)
    if reason == NO_REASON:
        c.would_be_open = False
    elif bad and not c.would_be_open and now >= c.until:
        c.would_be_open = True
        c.would_open += 1
        c.until = after(now, c.open_ns)
        return news_of(CLOSED, CLOSED, reason)
    return 0


cdef inline int start_mode(Circuit *c, int state, int reason) noexcept nogil:
    """Any state to one that only `close` ends."""
    c.until = INT64_MIN
    return move(c, state, reason)


cdef inline bint count(Circuit *c, const Ticket *ticket, int64_t now, int outcome, int *news) noexcept nogil:
    """Count how a call ended; whether it counted."""
    news[0] = 0
    if ticket.generation == UINT64_MAX:
        return False
    if ticket.generation != c.generation:
        c.late += 1
        return False
    if outcome == EXCLUDED:
        c.excluded += 1
        give_back(&c.leases, ticket.lease)
        return True
    cdef bint failed = outcome == FAILURE
    cdef bint slow = c.slow_ns > 0 and now - ticket.start > c.slow_ns
    cdef int reason = NO_REASON
    c.slow += slow
    c.failures += failed
    c.successes += not failed
    if c.state == CLOSED or c.state == METRICS_ONLY:
        c.consecutive = c.consecutive + 1 if failed else 0
        if c.window.size > 0:
            record(&c.window, now, failed, slow)
        if c.state == METRICS_ONLY:
            news[0] = watch(c, now, failed or slow)
            return True
        if failed or slow:
            reason = tripped(c)
        if reason != NO_REASON:
            c.until = after(now, c.open_ns)
            news[0] = move(c, OPEN, reason)
        return True
    give_back(&c.leases, ticket.lease)
    if failed:
        news[0] = open_again(c, now, TRIAL_FAILED)
    elif slow and c.slow_rate > 0.0:
        news[0] = open_again(c, now, TRIAL_SLOW)
    else:
        c.trials_succeeded += 1
        if c.trials_succeeded >= c.successes_needed:
            news[0] = close(c, RECOVERED)
    return True
