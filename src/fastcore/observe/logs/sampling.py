"""Fewer of the same: a filter that lets the first records of a message through, then every so-manieth."""

import logging
import threading

from fastcore.clock import NS_PER_S, Clock, monotonic_ns

DROPPED = "fastcore_dropped"  # attribute of a record: how many of its message were dropped before it


class _Seen:
    __slots__ = ("count", "dropped", "since")

    def __init__(self, now: int) -> None:
        self.since = now
        self.count = 0
        self.dropped = 0


class Sampler(logging.Filter):
    """Of each message, which is its logger, level and text before values are put in, lets some through per period.

    The record that comes after dropped ones says how many these were; `dropped` counts all.

    Args:
        first: records of a message that are let through in each period, >= 0.
        thereafter: of those beyond, every so-manieth is let through; 0: none.
        period: seconds, > 0.
        always: records of this level and above are never dropped.
        max_messages: that are told apart; the one that was not seen for longest is forgotten.
        clock: integer nanoseconds.

    Attributes:
        dropped: records so far.

    Raises:
        ValueError: an argument is out of range.

    Complexity: O(1) a record.
    Thread safety: may be used from any thread.

    Example:
        >>> sampler = Sampler(first=2, thereafter=0)
        >>> record = logging.makeLogRecord({"msg": "disk is slow", "levelno": logging.WARNING})
        >>> [sampler.filter(record) for _ in range(4)], sampler.dropped
        ([True, True, False, False], 2)

    Source: the idea is that of zap's sampler.
    """

    def __init__(
        self,
        first: int = 100,
        thereafter: int = 100,
        period: float = 1.0,
        *,
        always: int = logging.ERROR,
        max_messages: int = 1000,
        clock: Clock = monotonic_ns,
    ) -> None:
        super().__init__()
        for what, value, least in (
            ("first", first, 0),
            ("thereafter", thereafter, 0),
            ("max_messages", max_messages, 1),
        ):
            if value < least:
                raise ValueError(f"{what} must be at least {least}, not {value!r}")
        if not period > 0:
            raise ValueError(f"period must be above 0 s, not {period!r}")
        self.dropped = 0
        self._first = first
        self._thereafter = thereafter
        self._period_ns = round(period * NS_PER_S)
        self._always = always
        self._max_messages = max_messages
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is let through."""
        if record.levelno >= self._always:
            return True
        key = (record.name, record.levelno, self._message(record))
        now = self._clock()
        with self._lock:
            seen = self._seen.pop(key, None) or _Seen(now)
            self._seen[key] = seen  # last, as the latest
            if len(self._seen) > self._max_messages:
                del self._seen[next(iter(self._seen))]
            if now - seen.since >= self._period_ns:
                seen.since, seen.count = now, 0
            seen.count += 1
            beyond = seen.count - self._first
            if beyond > 0 and not (self._thereafter and beyond % self._thereafter == 0):
                seen.dropped += 1
                self.dropped += 1
                return False
            if seen.dropped:
                setattr(record, DROPPED, seen.dropped)
                seen.dropped = 0
        return True

    @staticmethod
    def _message(record: logging.LogRecord) -> str:
        """The text that tells messages apart: of a `FieldLogger`'s record the message, of others the format."""
        text = record.msg
        if text == "%s" and isinstance(record.args, tuple) and record.args:
            text = record.args[0]
        return text if isinstance(text, str) else type(text).__qualname__
