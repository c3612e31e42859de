"""What is remembered of keys so that somebody may ask why later: a few facts of many, two versions of a few."""

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple

from fastcore.controller.model import Request

if TYPE_CHECKING:
    from fastcore.controller.handlers import Shown, WatchHandler

MOST_KEYS = 1024
MOST_VERSIONS = 64
_CAUSES = 4


class Cause(NamedTuple):
    """An event that led to a key: its kind, what happened, and the versions before and after."""

    at_ns: int
    kind: str
    event: str
    old: str | None
    new: str | None


class Story:
    """What is known of one key."""

    __slots__ = (
        "causes",
        "ended_ns",
        "error",
        "error_ns",
        "failures",
        "reconciles",
        "result",
        "started_ns",
        "suppressed",
    )

    def __init__(self) -> None:
        self.causes: deque[Cause] = deque(maxlen=_CAUSES)
        self.reconciles = self.failures = self.suppressed = 0
        self.started_ns = self.ended_ns = self.error_ns = 0
        self.result: str | None = None
        self.error: str | None = None

    def end(self, now_ns: int, result: str, error: str) -> None:
        """Note how a reconcile ended."""
        self.ended_ns = now_ns
        self.result = result
        if error:
            self.error, self.error_ns = error, now_ns
            self.failures += 1
        elif result != "cancelled":
            self.failures = 0


class History:
    """The keys and the dropped events that were seen last, so many as there is room for.

    It refers to the versions that it remembers, and compares them only when somebody asks.

    Complexity: O(1) a note; 1,024 keys, and two versions of 64 keys and of 64 dropped events.
    Thread safety: belongs to the event loop.
    """

    def __init__(self) -> None:
        self._stories: OrderedDict[Request, Story] = OrderedDict()
        self._shown: OrderedDict[Request, Shown] = OrderedDict()
        self._dropped: OrderedDict[tuple[int, str, str], tuple[int, WatchHandler, Shown]] = OrderedDict()

    def story(self, request: Request) -> Story:
        """The story of `request`, begun if there is none."""
        stories = self._stories
        story = stories.get(request)
        if story is not None:
            stories.move_to_end(request)
            return story
        story = stories[request] = Story()
        if len(stories) > MOST_KEYS:
            stories.popitem(last=False)
        return story

    def known(self, request: Request) -> Story | None:
        """The story of `request`, or None."""
        return self._stories.get(request)

    def shown(self, request: Request) -> "Shown | None":
        """The last event of `request` with its versions, if they are still known."""
        return self._shown.get(request)

    def passed(self, request: Request, now_ns: int, shown: "Shown", versions: tuple[str | None, str | None]) -> None:
        """Note an event that led to `request`, and the resourceVersions before and after."""
        self.story(request).causes.append(Cause(now_ns, shown.kind.kind, shown.event, *versions))
        self._shown[request] = shown
        self._shown.move_to_end(request)
        if len(self._shown) > MOST_VERSIONS:
            self._shown.popitem(last=False)

    def dropped(self, now_ns: int, handler: "WatchHandler", shown: "Shown") -> None:
        """Note an event that a predicate dropped."""
        key = (id(handler), *shown.key())
        self._dropped[key] = (now_ns, handler, shown)
        self._dropped.move_to_end(key)
        if len(self._dropped) > MOST_VERSIONS:
            self._dropped.popitem(last=False)

    def drops(self) -> "list[tuple[int, WatchHandler, Shown]]":
        """The dropped events, oldest first."""
        return list(self._dropped.values())

    def forget(self, workspace: str) -> None:
        """Drop what is known of a workspace that was removed."""
        for requests in (self._stories, self._shown):
            for request in [request for request in requests if request.workspace == workspace]:
                del requests[request]
        for key in [key for key, (_, handler, _) in self._dropped.items() if handler.workspace == workspace]:
            del self._dropped[key]
