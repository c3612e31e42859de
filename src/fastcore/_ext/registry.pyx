# cython: freethreading_compatible=True
"""Circuit breakers by name, a bounded number of them.

The dict is guarded by the section. Whatever else changes is guarded by the lock as well, which is re-entrant because a
finaliser may run between any two lines. User code is the factory; it runs under neither.
"""

from collections import namedtuple
from threading import RLock
from weakref import WeakValueDictionary

cimport cython
from libc.stdint cimport uint64_t

from fastcore._ext.breaker cimport CircuitBreaker
from fastcore._ext.settings cimport at_least_one

RegistryStats = namedtuple("RegistryStats", "breakers max_breakers created dropped overflowed")
RegistryStats.__doc__ = "How full a BreakerRegistry is, and counters since its start."


@cython.final
cdef class BreakerRegistry:
    """BreakerRegistry(factory=None, *, max_breakers=1000, **defaults)
--

    Circuit breakers by name, made when first asked for, and a bounded number of them.

    Ask by name for every call: `registry.get(host).call(...)`. There is one breaker of a name at any time. When
    `max_breakers` is reached, the least recently used one that is closed and has no call in flight is dropped; one that
    is open, half open, or in a mode of its own never is. If somebody still holds a dropped one, `get` returns that one
    again.

    If none can be dropped, `get` returns `overflow`: one breaker for all names that have no place, in metrics-only
    mode, so that it counts but refuses nothing: no service shall be refused because a thousand others are down.
    `overflow.reset()` makes it guard them together, `overflow.force_open()` refuses them.

    Args:
        factory: called as `factory(name, **options)`, returns a CircuitBreaker of that name; default CircuitBreaker.
        max_breakers: how many are kept, >= 1, without `overflow`.
        defaults: options of every breaker; those given to `configure` go before.

    Raises:
        ValueError, TypeError: `max_breakers` is out of range, or the defaults make no breaker.

    Complexity: get is O(1) for a name that is there; O(max_breakers) for a new one when the registry is full.
    Thread safety: every method is atomic; the factory runs without a lock, and perhaps twice for a name, of which only
        one result is ever handed out.

    Example:
        >>> from fastcore.breaker import BreakerRegistry
        >>> registry = BreakerRegistry(failure_threshold=5, max_breakers=100)
        >>> registry.configure("billing", open_for=5.0)
        >>> registry.get("billing").call(len, "abc")
        3
        >>> registry.get("billing") is registry.get("billing")
        True
        >>> {name: stats.calls for name, stats in registry.snapshot().items()}
        {'billing': 1, '(overflow)': 0}
    """
    cdef readonly CircuitBreaker overflow
    cdef object _factory
    cdef dict _defaults
    cdef Py_ssize_t _max
    cdef object _lock
    cdef dict _breakers
    cdef object _dropped  # the breakers that others still hold
    cdef dict _options
    cdef list _listeners
    cdef uint64_t _uses
    cdef long long _created
    cdef long long _drops
    cdef long long _overflowed

    def __init__(self, factory=None, *, max_breakers=1000, **defaults):
        if self._breakers is not None:
            raise TypeError("a BreakerRegistry is initialised once")
        self._max = at_least_one("max_breakers", max_breakers)
        self._factory = CircuitBreaker if factory is None else factory
        self._defaults = defaults
        self._lock = RLock()
        self._dropped = WeakValueDictionary()
        self._options = {}
        self._listeners = []
        self.overflow = self.build("(overflow)", {})
        self.overflow.metrics_only()
        self._breakers = {}

    cdef CircuitBreaker build(self, str name, dict options):
        made = self._factory(name, **{**self._defaults, **options})
        if not isinstance(made, CircuitBreaker) or (<CircuitBreaker>made).name != name:
            raise TypeError(f"the factory must return a CircuitBreaker named {name!r}, not {made!r}")
        (<CircuitBreaker>made).shared = self._listeners
        return <CircuitBreaker>made

    def get(self, str name not None, /):
        """The breaker of this name, made if there is none."""
        cdef CircuitBreaker found
        cdef uint64_t stamp = 0
        with cython.critical_section(self):
            found = self._breakers.get(name)
            if found is not None:
                self._uses += 1
                stamp = self._uses
        if found is None:
            return self.find_or_make(name)
        found.use(stamp)
        return found

    cdef uint64_t next_stamp(self) noexcept:
        with cython.critical_section(self):
            self._uses += 1
            return self._uses

    cdef CircuitBreaker find_or_make(self, str name):
        cdef CircuitBreaker found, held, victim, fresh = None
        cdef dict options = {}
        cdef bint full
        if name == self.overflow.name:
            return self.overflow
        while True:
            with self._lock:
                found = self._breakers.get(name)
                held = self._dropped.get(name)
                full = found is None and len(self._breakers) >= self._max
                victim = self.least_used() if full else None
                if full and victim is None:
                    self._overflowed += held is None
                    return self.overflow if held is None else held
                if found is None:
                    found = fresh if held is None else held
                    if found is not None:
                        self._created += held is None
                        self.put(found, victim)
                if found is not None:
                    found.use(self.next_stamp())
                    return found
                options = self._options.get(name, {})
            # The factory runs without the lock; what it makes is weighed against what happened meanwhile.
            fresh = self.build(name, options)

    cdef CircuitBreaker least_used(self):
        """The breaker to drop, None if none is idle. Under the lock, so the dict does not change."""
        cdef CircuitBreaker breaker, least = None
        cdef uint64_t stamp = self.next_stamp()
        cdef uint64_t used, oldest = 0
        cdef bint idle = False
        for breaker in self._breakers.values():
            used = breaker.last_use(stamp, &idle)
            if idle and (least is None or used < oldest):
                least, oldest = breaker, used
        return least

    cdef int put(self, CircuitBreaker breaker, CircuitBreaker victim) except -1:
        """Add a breaker, in the place of another unless that is None."""
        if victim is not None:
            self._dropped[victim.name] = victim
            self._drops += 1
        with cython.critical_section(self):
            if victim is not None:
                del self._breakers[victim.name]
            self._breakers[breaker.name] = breaker
        return 0

    def configure(self, str name not None, /, **options):
        """Options for the breaker of this name, on top of the defaults; a trial breaker is made to check them.

        Raises ValueError if the name has a breaker already, or if `max_breakers` names have options.
        """
        self.build(name, options)
        with self._lock:
            if name in self._breakers:
                raise ValueError(f"the breaker {name!r} is made already: configure it before it is asked for")
            if len(self._options) >= self._max and name not in self._options:
                raise ValueError(f"no more names can have options than max_breakers ({self._max})")
            self._options[name] = options

    def discard(self, str name not None, /):
        """Forget the breaker of this name in whatever state; whether there was one."""
        breaker = held = None
        with self._lock:
            with cython.critical_section(self):
                breaker = self._breakers.pop(name, None)
            held = self._dropped.pop(name, None)
        return breaker is not None or held is not None

    def on_transition(self, listener, /):
        """Call `listener(name, from, to, reason)` for every breaker here, now and later; returns it."""
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {listener!r}")
        self._listeners.append(listener)
        return listener

    cdef list all(self):
        with cython.critical_section(self):
            return list(self._breakers.values())

    def snapshot(self):
        """The BreakerStats of every breaker by name, and of `overflow`."""
        return {breaker.name: breaker.stats() for breaker in [*self.all(), self.overflow]}

    def stats(self):
        """A RegistryStats: how full it is, and counters since the start."""
        with self._lock:
            return RegistryStats(len(self._breakers), self._max, self._created, self._drops, self._overflowed)

    def __iter__(self):
        """The breakers at this moment."""
        return iter(self.all())

    def __contains__(self, str name not None):
        with cython.critical_section(self):
            return name in self._breakers

    def __len__(self):
        with cython.critical_section(self):
            return len(self._breakers)

    def __repr__(self):
        return f"BreakerRegistry({len(self)} of at most {self._max} breakers)"
