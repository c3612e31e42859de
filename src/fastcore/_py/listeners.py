"""Who is told that entries have gone from a cache, in plain Python; see `fastcore._ext.listeners`.

`Section` is the lock of a cache. `on_eviction` runs while it is held, so other threads wait; the thread that runs it
would pass, the lock being re-entrant, and gets ReentrancyError.
"""

import logging
from collections.abc import Callable
from threading import RLock
from types import TracebackType
from typing import Any

from fastcore.errors import ReentrancyError

Gone = list[tuple[Any, Any, str]]  # key, value and cause of what an operation removed
AUTOMATIC = ("size", "expired", "collected")


class Section:
    """A re-entrant lock that refuses the thread which runs `on_eviction`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.telling = False
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()
        if self.telling:
            self._lock.release()
            raise ReentrancyError(f"on_eviction of this {self.name} called it; use on_removal for that")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._lock.release()


class Listeners:
    """The listeners of one cache."""

    def __init__(self, on_removal: Callable[..., object] | None, on_eviction: Callable[..., object] | None) -> None:
        for name, listener in (("on_removal", on_removal), ("on_eviction", on_eviction)):
            if listener is not None and not callable(listener):
                raise TypeError(f"{name} must be callable, got {listener!r}")
        self.on_removal = on_removal
        self.on_eviction = on_eviction
        self.errors: list[Exception] = []

    def announce(self, section: Section, gone: Gone) -> None:
        """Call `on_eviction`, the last thing in the section."""
        if self.on_eviction is None:
            return
        section.telling = True
        try:
            for key, value, cause in gone:
                if cause in AUTOMATIC:
                    try:
                        self.on_eviction(key, value, cause)
                    except Exception as error:
                        self.errors.append(error)
        finally:
            section.telling = False

    def notify(self, gone: Gone) -> None:
        """Call `on_removal`, and log what listeners raised; without the lock."""
        errors, self.errors = self.errors, []
        for error in errors:
            report("on_eviction", error)
        if self.on_removal is not None:
            for key, value, cause in gone:
                try:
                    self.on_removal(key, value, cause)
                except Exception as error:
                    report("on_removal", error)


def report(name: str, error: Exception) -> None:
    """Log what a listener raised."""
    logging.getLogger("fastcore.cache").error("%s raised %r", name, error, exc_info=error)
