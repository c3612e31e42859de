"""Which entries of a cache carry which tags, in plain Python; see `fastcore._ext.tags`."""

from collections.abc import Iterable
from typing import Any


class Tags:
    """The tags of the entries of one cache, both ways; used under its lock."""

    def __init__(self) -> None:
        self.entries: dict[str, set[Any]] = {}
        self.tags: dict[Any, tuple[str, ...]] = {}

    def attach(self, entry: Any, tags: tuple[str, ...]) -> None:
        """Tag an entry that has no tags."""
        self.tags[entry] = tags
        for tag in tags:
            self.entries.setdefault(tag, set()).add(entry)

    def remove(self, entry: Any) -> None:
        """Forget an entry."""
        for tag in self.tags.pop(entry, ()):
            entries = self.entries[tag]
            entries.discard(entry)
            if not entries:
                del self.entries[tag]

    def check(self) -> None:
        """Assert that both ways agree."""
        ways = {(tag, entry) for tag, entries in self.entries.items() for entry in entries}
        assert ways == {(tag, entry) for entry, tags in self.tags.items() for tag in tags}, "both ways differ"
        assert all(self.entries.values()), "a tag without entries"


def exact(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as a tuple of exact strings, each once."""
    if isinstance(tags, (str, bytes)):
        raise TypeError(f"tags must be an iterable of str, got {tags!r}")
    found: dict[str, None] = {}
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"tags must be str, got {type(tag).__name__}")
        found[str.__str__(tag)] = None
    return tuple(found)
