"""Keeps events few: many that are alike become one, and an object that never stops causes silence (EV-1)."""

from collections import OrderedDict
from typing import NamedTuple

from fastcore.clock import NS_PER_S, Clock, monotonic_ns
from fastcore.ratelimit import KeyedTokenBucket

MAX_SIMILAR = 10
SIMILAR_WITHIN_S = 600.0
SPAM_BURST = 25
SPAM_REFILL_S = 300.0
REMEMBERED = 4096
COMBINED = "(combined from similar events): "


class EventKey(NamedTuple):
    """What makes two events the same one."""

    uid: str
    namespace: str
    name: str
    type: str
    reason: str
    message: str


class Correlator:
    """Decides what becomes of an event before it is written.

    More than 10 events that differ in nothing but their message, each within 10 minutes of the one before, go on as
    one event with the message of the latest. An object may cause 25 events at once and one more every 5 minutes.

    Args:
        clock: integer nanoseconds.

    Complexity: O(1); at most 4,096 objects, and as many kinds of event with 11 messages each.
    Thread safety: the caller's lock.
    Source: client-go, tools/record, events_cache.go.
    """

    __slots__ = ("_allowed", "_clock", "_similar")

    def __init__(self, clock: Clock = monotonic_ns) -> None:
        self._clock = clock
        self._similar: OrderedDict[EventKey, tuple[int, frozenset[str]]] = OrderedDict()
        self._allowed = KeyedTokenBucket(1 / SPAM_REFILL_S, SPAM_BURST, max_keys=REMEMBERED, clock=clock)

    def combined(self, key: EventKey) -> bool:
        """Whether this event is one of too many that are alike."""
        now = self._clock()
        alike = key._replace(message="")
        last, messages = self._similar.get(alike, (0, frozenset()))
        if now - last > SIMILAR_WITHIN_S * NS_PER_S:
            messages = frozenset()
        if len(messages) <= MAX_SIMILAR:
            messages |= {key.message}
        self._similar[alike] = now, messages
        self._similar.move_to_end(alike)
        if len(self._similar) > REMEMBERED:
            self._similar.popitem(last=False)
        return len(messages) > MAX_SIMILAR

    def allows(self, key: EventKey) -> bool:
        """Whether the object of this event has not caused too many; takes one from what it may cause."""
        return self._allowed.allow(EventKey(key.uid, key.namespace, key.name, "", "", ""))
