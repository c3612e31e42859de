"""Watches: from a revision or with the present state first, filtered, with bookmarks, and ended when too slow."""

from collections.abc import Callable
from typing import Any

import msgspec

from fastcore.testing.apiserver.replica import Replica
from fastcore.testing.apiserver.selectors import EVERYTHING, Selector
from fastcore.testing.apiserver.status import (
    Cause,
    StatusError,
    invalid_options,
    plain_error,
    too_large_resource_version,
)
from fastcore.testing.apiserver.storage import Collection, Event, Store
from fastcore.testing.apiserver.target import Target
from fastcore.testing.apiserver.views import View, change

_MATCH = "resourceVersionMatch"


class WatchOptions:
    """What a watch's query says.

    Attributes:
        revision: to start after; None or 0 for the present state first.
        initial: send the present state first.
        marked: end it with the annotated bookmark.
        bookmarks: send bookmarks from time to time.
        timeout: seconds, or None for the server's choice.

    Raises:
        StatusError: 422 or 500.
    """

    def __init__(self, query: dict[str, str]) -> None:
        text = query.get("resourceVersion", "")
        if text and not text.isdecimal():
            raise plain_error(
                f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
            )
        self.revision = int(text) if text else None
        asked = query.get("sendInitialEvents", "")
        match = query.get(_MATCH, "")
        causes = []
        if match and not asked:
            causes = [Cause.forbidden(_MATCH, f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided")]
        elif asked and match != "NotOlderThan":
            causes = [Cause.forbidden(_MATCH, f"sendInitialEvents requires setting {_MATCH} to NotOlderThan")]
        if causes:
            raise invalid_options("ListOptions", causes)
        self.bookmarks = is_true(query.get("allowWatchBookmarks", ""))
        self.streaming = is_true(asked)
        self.marked = self.streaming and self.bookmarks
        self.initial = self.streaming or (not asked and not self.revision)
        seconds = query.get("timeoutSeconds", "")
        self.timeout = int(seconds) if seconds.isdecimal() and int(seconds) else None


def is_true(text: str) -> bool:
    """Whether a query's flag is set."""
    return text.lower() in ("1", "true", "t")


class WatchStream:
    """One watch: collects lines until its carrier takes them.

    The carrier sets `wake`, which is called when there is something to take or the stream has ended; if `cut` is set
    then, it breaks the connection instead of closing it in order.

    Args:
        store: for the revision of bookmarks.
        target: the kind and the namespace ("" for all).
        workspace: None for all.
        view: how objects look.
        selector: which objects to show.
        options: what the client asked.
        limit: lines that may wait before the stream ends because its client is too slow.
        replica: the stale replica that serves the watch; it stands still until `catch_up`. None: an up-to-date one.
        copies: how often to send a bookmark; None: once.
    """

    def __init__(
        self,
        store: Store,
        target: Target,
        workspace: str | None,
        view: View,
        selector: Selector,
        options: WatchOptions,
        limit: int,
        replica: Replica | None = None,
        copies: "Callable[[WatchStream], int] | None" = None,
    ) -> None:
        self.target = target
        self.workspace = workspace
        self.options = options
        self.ended = False
        self.cut = False
        self.wake: Callable[[], None] | None = None
        self._store = store
        self._view = view
        self._selector = selector
        self._limit = limit
        self._lines: list[bytes] = []
        self._after = options.revision or 0
        self.replica = replica
        self._held: list[Event] = []
        self._copies = copies
        self._marked = store.revision if replica is None else replica.revision
        self._collection: Collection = store.collection(*target.resource.storage)
        try:
            self._begin()
        except StatusError as error:
            self.fail(error)
            return
        self._collection.subscribe(workspace, self._on_event)

    def _begin(self) -> None:
        options = self.options
        if not options.initial:
            if options.revision is None:
                self._after = self._store.revision
                return
            for event in self._collection.since(options.revision):
                if self._concerns(event):
                    self._on_event(event)
            # History that a client asked for does not count against its speed.
            self._lines = [b"".join(self._lines)] if self._lines else []
            return
        replica = self.replica
        if options.streaming:
            if replica is not None and (options.revision or 0) > replica.revision:
                raise too_large_resource_version(options.revision or 0, replica.revision)
            self._store.check_reached(options.revision or 0)
        if replica is None:
            records = self._collection.select(self.workspace, self.target.namespace)
        else:
            records = replica.select(self.target.resource.storage, self.workspace, self.target.namespace)
        chosen = [r for r in records if self._selector is EVERYTHING or self._selector.selects(r)]
        lines = [self._view.line("ADDED", record) for record in chosen]
        self._after = self._store.revision if replica is None else replica.revision
        if options.marked:
            lines.append(self._view.bookmark(self._after, initial_events_end=True))
        if lines:
            self._lines = [b"".join(lines)]
        if replica is not None:
            self._held = [event for event in self._collection.since(replica.revision) if self._concerns(event)]

    def fail(self, error: StatusError) -> None:
        """Send an ERROR event, and end."""
        self._lines.append(b'{"type":"ERROR","object":%s}\n' % msgspec.json.encode(error.status()))
        self.end()

    def catch_up(self) -> None:
        """The stale replica is up to date again: send what it kept back."""
        held, self._held = self._held, []
        self.replica = None
        for event in held:
            self._on_event(event)

    def _concerns(self, event: Event) -> bool:
        return self.workspace is None or event.new.key[0] == self.workspace

    def _on_event(self, event: Event) -> None:
        namespace = self.target.namespace
        if event.revision <= self._after or (namespace and event.new.key[1] != namespace):
            return
        if self.replica is not None and event.revision > self.replica.revision:
            self._held.append(event)
            if len(self._held) > self._limit:
                self.end(drop=True)
            return
        line = self._line(event)
        if line is None:
            return
        self._lines.append(line)
        if len(self._lines) > self._limit:
            self.end(drop=True)
        elif self.wake is not None:
            self.wake()

    def _line(self, event: Event) -> bytes | None:
        selector = self._selector
        if selector is EVERYTHING:
            return self._view.line(change(event), event.new)
        was = event.old is not None and selector.selects(event.old)
        if event.deleted:
            return self._view.line("DELETED", event.new) if was else None
        if selector.selects(event.new):
            return self._view.line("MODIFIED" if was else "ADDED", event.new)
        if was and event.old is not None:
            # To this client the object is gone: it sees the last state that it knew, under the new revision.
            return self._view.line("DELETED", event.old.at(event.revision))
        return None

    def take(self) -> bytes:
        """Every line that waits, and forget them; empty if there is none."""
        if not self._lines:
            return b""
        out = self._lines[0] if len(self._lines) == 1 else b"".join(self._lines)
        self._lines = []
        return out

    def bookmark(self) -> None:
        """Send a bookmark, if the client allows them and the revision has moved since the last one."""
        reached = self._store.revision if self.replica is None else self.replica.revision
        revision = max(reached, self._after)
        if self.ended or not self.options.bookmarks or revision == self._marked:
            return
        self._marked = revision
        copies = 1 if self._copies is None else self._copies(self)
        if not copies:
            return
        self._lines += [self._view.bookmark(revision)] * copies
        if self.wake is not None:
            self.wake()

    def end(self, *, drop: bool = False) -> None:
        """End the stream; `drop` throws away what waits. May be called more than once."""
        self._held = []
        if drop:
            self._lines = []
            self.cut = True
        self._collection.unsubscribe(self.workspace, self._on_event)
        self.ended = True
        if self.wake is not None:
            self.wake()

    def __repr__(self) -> str:
        target: Any = self.target
        return f"<watch of {target.resource.plural} in {self.workspace or '*'} after {self._after}>"
