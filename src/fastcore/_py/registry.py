"""Circuit breakers by name in plain Python, a bounded number of them."""

from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, NamedTuple, final
from weakref import WeakValueDictionary

from fastcore._py.breaker import CircuitBreaker
from fastcore._py.gate import BreakerStats, Listener
from fastcore._py.settings import at_least_one


class RegistryStats(NamedTuple):
    """How full a BreakerRegistry is, and counters since its start."""

    breakers: int
    max_breakers: int
    created: int
    dropped: int
    overflowed: int


@final
class BreakerRegistry:
    """Circuit breakers by name, made when first asked for, and a bounded number of them.

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

    def __init__(
        self, factory: Callable[..., CircuitBreaker] | None = None, *, max_breakers: int = 1000, **defaults: Any
    ) -> None:
        if hasattr(self, "_breakers"):
            raise TypeError("a BreakerRegistry is initialised once")
        self._max = at_least_one("max_breakers", max_breakers)
        self._factory = CircuitBreaker if factory is None else factory
        self._defaults = defaults
        self._lock = RLock()
        self._dropped: WeakValueDictionary[str, CircuitBreaker] = WeakValueDictionary()  # those that others still hold
        self._options: dict[str, dict[str, Any]] = {}
        self._listeners: list[Listener] = []
        self._uses = self._created = self._drops = self._overflowed = 0
        self._overflow = self._build("(overflow)", {})
        self._overflow.metrics_only()
        self._breakers: dict[str, CircuitBreaker] = {}

    @property
    def overflow(self) -> CircuitBreaker:
        """The one breaker of all names that have no place."""
        return self._overflow

    def _build(self, name: str, options: dict[str, Any]) -> CircuitBreaker:
        made = self._factory(name, **{**self._defaults, **options})
        if not isinstance(made, CircuitBreaker) or made.name != name:
            raise TypeError(f"the factory must return a CircuitBreaker named {name!r}, not {made!r}")
        made._shared = self._listeners
        return made

    def get(self, name: str, /) -> CircuitBreaker:
        """The breaker of this name, made if there is none."""
        _check_name(name)
        if name == self._overflow.name:
            return self._overflow
        fresh = None
        while True:
            with self._lock:
                found = self._breakers.get(name)
                if found is not None:
                    found._use(self._next_stamp())
                    return found
                held = self._dropped.get(name)
                victim = self._least_used() if len(self._breakers) >= self._max else None
                if len(self._breakers) >= self._max and victim is None:
                    self._overflowed += held is None
                    return self._overflow if held is None else held
                found = fresh if held is None else held
                if found is not None:
                    self._created += held is None
                    if victim is not None:
                        self._dropped[victim.name] = self._breakers.pop(victim.name)
                        self._drops += 1
                    self._breakers[name] = found
                    found._use(self._next_stamp())
                    return found
                options = self._options.get(name, {})
            # The factory runs without the lock; what it makes is weighed against what happened meanwhile.
            fresh = self._build(name, options)

    def _next_stamp(self) -> int:
        self._uses += 1
        return self._uses

    def _least_used(self) -> CircuitBreaker | None:
        """The breaker to drop, None if none is idle."""
        stamp = self._next_stamp()
        used = [(breaker._last_use(stamp), breaker) for breaker in self._breakers.values()]
        return min((u for u in used if u[1]._idle()), key=lambda u: u[0], default=(0, None))[1]

    def configure(self, name: str, /, **options: Any) -> None:
        """Options for the breaker of this name, on top of the defaults; a trial breaker is made to check them.

        Raises ValueError if the name has a breaker already, or if `max_breakers` names have options.
        """
        _check_name(name)
        self._build(name, options)
        with self._lock:
            if name in self._breakers:
                raise ValueError(f"the breaker {name!r} is made already: configure it before it is asked for")
            if len(self._options) >= self._max and name not in self._options:
                raise ValueError(f"no more names can have options than max_breakers ({self._max})")
            self._options[name] = options

    def discard(self, name: str, /) -> bool:
        """Forget the breaker of this name in whatever state; whether there was one."""
        _check_name(name)
        with self._lock:
            breaker = self._breakers.pop(name, None)
            held = self._dropped.pop(name, None)
        return breaker is not None or held is not None

    def on_transition(self, listener: Listener, /) -> Listener:
        """Call `listener(name, from, to, reason)` for every breaker here, now and later; returns it."""
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {listener!r}")
        self._listeners.append(listener)
        return listener

    def snapshot(self) -> dict[str, BreakerStats]:
        """The BreakerStats of every breaker by name, and of `overflow`."""
        return {breaker.name: breaker.stats() for breaker in [*self, self._overflow]}

    def stats(self) -> RegistryStats:
        """A RegistryStats: how full it is, and counters since the start."""
        with self._lock:
            return RegistryStats(len(self._breakers), self._max, self._created, self._drops, self._overflowed)

    def __iter__(self) -> Iterator[CircuitBreaker]:
        """The breakers at this moment."""
        with self._lock:
            return iter(list(self._breakers.values()))

    def __contains__(self, name: str) -> bool:
        _check_name(name)
        return name in self._breakers

    def __len__(self) -> int:
        return len(self._breakers)

    def __repr__(self) -> str:
        return f"BreakerRegistry({len(self)} of at most {self._max} breakers)"


def _check_name(name: str) -> None:
    if type(name) is not str:
        raise TypeError(f"Argument 'name' has incorrect type (expected str, got {type(name).__name__})")
