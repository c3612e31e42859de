"""Levels of loggers that change at run time: of all, of one, for a while, or for what one request does.

Nothing here replaces the standard library's loggers; whatever logs through them heeds all of it.
"""

import difflib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol

from fastcore.clock import NS_PER_S, Clock, monotonic_ns

log = logging.getLogger("fastcore.observe")

MAX_OVERRIDES = 100
MAX_SECONDS = 86_400.0
_OFF = 1 << 30  # above every level

_REQUEST: ContextVar[int] = ContextVar("fastcore_request_level", default=_OFF)
_is_enabled = logging.Logger.isEnabledFor


class _Logger(logging.Logger):
    """A logger that also heeds the level of the request in whose context it is called."""

    def isEnabledFor(self, level: int) -> bool:
        return _is_enabled(self, level) or (
            level >= _REQUEST.get() and not self.disabled and self.manager.disable < level
        )


class _RootLogger(_Logger, logging.RootLogger):
    """The same for the root."""


def _heed_requests() -> None:
    """Give every logger, present and future, the class that heeds requests; those with a class of their own keep it."""
    if logging.getLoggerClass() is logging.Logger:
        logging.setLoggerClass(_Logger)
    for known in list(logging.root.manager.loggerDict.values()):
        if type(known) is logging.Logger:
            known.__class__ = _Logger
    if type(logging.root) is logging.RootLogger:
        logging.root.__class__ = _RootLogger


@contextmanager
def request_level(level: int | str) -> Iterator[None]:
    """What is logged inside, also by tasks begun there, is let through from `level` up, whatever the loggers' levels.

    It can only add. Middleware would call it for requests that somebody wants to follow; whom it trusts to ask for
    that is its own affair.

    Example:
        >>> import logging
        >>> with request_level("debug"):
        ...     logging.getLogger("shop").isEnabledFor(logging.DEBUG)
        True
        >>> logging.getLogger("shop").isEnabledFor(logging.DEBUG)
        False
    """
    number = parse_level(level)
    _heed_requests()
    token = _REQUEST.set(number)
    try:
        yield
    finally:
        _REQUEST.reset(token)


def parse_level(level: int | str) -> int:
    """The number of a level, given by name in any case or by number.

    Raises:
        ValueError: there is no such level.

    Example:
        >>> parse_level("Warning"), parse_level("15")
        (30, 15)
    """
    names = logging.getLevelNamesMapping()
    number = names.get(level.upper()) if isinstance(level, str) else level
    if number is None and isinstance(level, str) and level.isascii() and level.isdecimal() and len(level) < 4:
        number = int(level)
    if number is None or isinstance(number, bool) or not 1 <= number <= logging.CRITICAL:
        known = ", ".join(name.lower() for name, of in names.items() if of and name not in ("WARN", "FATAL"))
        raise ValueError(f"a level is {known}, or a number from 1 to {logging.CRITICAL}, not {level!r}")
    return number


class LoggerLevel(NamedTuple):
    """What counts for a logger.

    Args:
        name: "" for the root.
        level: set for itself, in lower case; "" if it has its parent's.
        effective: what counts.
        until: seconds until the level before comes back; None if it will not.
    """

    name: str
    level: str
    effective: str
    until: float | None


class Timer(Protocol):
    """What `threading.Timer` offers."""

    daemon: bool

    def start(self) -> None:
        """Begin."""

    def cancel(self) -> None:
        """Do not call."""


class _Override:
    __slots__ = ("before", "level", "timer", "until_ns")

    def __init__(self, before: int, level: int) -> None:
        self.before = before
        self.level = level
        self.timer: Timer | None = None
        self.until_ns = 0


class Levels:
    """Changes levels of loggers, and puts them back.

    A change counts for the next call, in every thread. The level before the first change comes back when the time is
    over, at `reset` and at `close`, unless somebody else has set another one meanwhile.

    Args:
        clock: integer nanoseconds.
        timer: makes what calls a function after so many seconds; default: a daemon thread for each change with an end.

    Complexity: O(1); `shown` O(loggers).
    Thread safety: may be used from any thread.

    Example:
        >>> import logging
        >>> levels, shop = Levels(), logging.getLogger("shop")
        >>> levels.set("debug", "shop", seconds=600)
        >>> shop.isEnabledFor(logging.DEBUG)
        True
        >>> levels.reset("shop")
        >>> shop.isEnabledFor(logging.DEBUG)
        False
    """

    def __init__(
        self, *, clock: Clock = monotonic_ns, timer: Callable[[float, Callable[[], None]], Timer] = threading.Timer
    ) -> None:
        self._clock = clock
        self._timer = timer
        self._lock = threading.Lock()
        self._overrides: dict[str, _Override] = {}

    def set(self, level: int | str, logger: str = "", *, seconds: float | None = None) -> None:
        """Change the level of a logger that exists.

        Args:
            level: by name or number.
            logger: its name; "" is the root, which counts for all that have no level of their own.
            seconds: until the level before comes back, 0 < seconds <= 86,400; None: until `reset`.

        Raises:
            ValueError: no such level or logger, `seconds` out of range, or more than 100 loggers are changed.
        """
        number = parse_level(level)
        found = _known(logger)
        if seconds is not None and not 0 < seconds <= MAX_SECONDS:
            raise ValueError(f"seconds must be above 0 and at most {MAX_SECONDS:.0f}, not {seconds!r}")
        with self._lock:
            override = self._overrides.get(logger)
            if override is None:
                if len(self._overrides) >= MAX_OVERRIDES:
                    raise ValueError(f"the levels of {MAX_OVERRIDES} loggers are changed already: reset some")
                override = self._overrides[logger] = _Override(found.level, number)
            elif override.timer is not None:
                override.timer.cancel()
            override.level, override.timer, override.until_ns = number, None, 0
            found.setLevel(number)
            if seconds is not None:
                override.until_ns = self._clock() + round(seconds * NS_PER_S)
                override.timer = timer = self._timer(seconds, lambda: self._expire(logger, timer))
                timer.daemon = True
                timer.start()
        log.info(
            "level of %s is %s%s", logger or "all loggers", _name(number),
            "" if seconds is None else f" for {seconds:g} s",
        )  # fmt: skip

    def reset(self, logger: str = "") -> None:
        """Put back the level from before the first change; nothing, if there was none."""
        with self._lock:
            self._revert(logger)

    def close(self) -> None:
        """Put everything back."""
        with self._lock:
            for logger in list(self._overrides):
                self._revert(logger)

    def shown(self) -> list[LoggerLevel]:
        """The root, and every logger with a level of its own, by name."""
        with self._lock:
            until = {name: override.until_ns for name, override in self._overrides.items() if override.until_ns}
        now = self._clock()
        loggers = {"": logging.root, **dict(logging.root.manager.loggerDict)}
        return [
            LoggerLevel(
                name,
                _name(found.level) if found.level else "",
                _name(found.getEffectiveLevel()),
                max(0.0, (until[name] - now) / NS_PER_S) if name in until else None,
            )
            for name, found in sorted(loggers.items())
            if isinstance(found, logging.Logger) and (found.level or not name)
        ]

    def _expire(self, logger: str, timer: Timer) -> None:
        with self._lock:
            override = self._overrides.get(logger)
            if override is None or override.timer is not timer:
                return  # another change came just then
            self._revert(logger)
        log.info("level of %s is as before", logger or "all loggers")

    def _revert(self, logger: str) -> None:
        override = self._overrides.pop(logger, None)
        if override is None:
            return
        if override.timer is not None:
            override.timer.cancel()
        found = logging.getLogger(logger)
        if found.level == override.level:
            found.setLevel(override.before)


def _known(logger: str) -> logging.Logger:
    """A logger that is there: asking the library for another would make it, and keep it for ever."""
    if not logger:
        return logging.root
    found = logging.root.manager.loggerDict.get(logger)
    if not isinstance(found, logging.Logger):
        names = [name for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)]
        near = difflib.get_close_matches(logger, names, 3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"there is no logger {logger[:100]!r}{hint}")
    return found


def _name(level: int) -> str:
    return logging.getLevelName(level).lower()
