"""The exception tree of the primitives, and nothing else.

Each type also inherits the builtin that a caller would expect, so code that does not know fastcore handles it.
"""


class FastcoreError(Exception):
    """Root of every error that fastcore raises on purpose."""


class ReentrancyError(FastcoreError, RuntimeError):
    """A callback called back into the object that is calling it, where that cannot work."""


class NotFound(FastcoreError, KeyError):
    """There is no such thing. A loader raises it to say so; a loading cache, for a key of which it was told so."""


class RateLimitError(FastcoreError, ValueError):
    """The request can never succeed: more tokens than the bucket holds, or the wait exceeds the deadline."""


class WaitTimeout(FastcoreError, TimeoutError):
    """The wait would have lasted longer than the caller allows; nothing was consumed."""


class WaitCancelled(FastcoreError):
    """The event that a waiting thread was given to `stop` by was set; what the wait had taken went back."""


class CircuitOpenError(FastcoreError):
    """A circuit breaker refused the call without running it.

    Attributes:
        name: the breaker's name.
        remaining: seconds until the breaker lets a trial call through (0.0 while half open).
        reason: "open", "half_open_full" or "forced_open".

    The error that opened the breaker is this error's `__cause__`.
    """

    def __init__(self, name: str, remaining: float, reason: str = "open") -> None:
        self.name = name
        self.remaining = remaining
        self.reason = reason
        super().__init__(name, remaining, reason)

    def __str__(self) -> str:
        if self.reason == "half_open_full":
            return f"circuit breaker {self.name!r} is half open and its trial calls are all in flight"
        if self.reason == "forced_open":
            return f"circuit breaker {self.name!r} is forced open; call reset() to close it"
        return f"circuit breaker {self.name!r} is open for another {self.remaining:.3f} s"


class PoolError(FastcoreError, RuntimeError):
    """An object pool was misused: released twice, or used after release."""


class PatchError(FastcoreError, ValueError):
    """A JSON patch or merge patch is malformed or does not fit the document; the document is unchanged."""


class PatchTestFailed(PatchError):
    """The `test` operation of a JSON patch found another value."""


class PatchConflict(PatchError):
    """A three-way patch would overwrite what others have changed since the last one."""


class ObjectError(FastcoreError, ValueError):
    """An object store was given what is no Kubernetes object, or no JSON; the store is unchanged."""


class ShutDown(FastcoreError):
    """The queue is shut down and holds no more keys."""
