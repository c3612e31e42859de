from typing import NamedTuple, final

class Head(NamedTuple):
    """Whose object it is: what `metadata` says, "" where it says nothing."""

    namespace: str
    name: str
    uid: str
    revision: str

class ListPage(NamedTuple):
    """A list as a server sends it, taken apart: `items` are the objects as they stand in it."""

    revision: str
    continue_token: str
    remaining: int
    api_version: str
    kind: str
    items: list[bytes]

class WatchEvent(NamedTuple):
    """An event of a watch, taken apart: its type, the object as it stands in it, and its resourceVersion."""

    type: str
    object: bytes
    revision: str

@final
class Rules:
    def __new__(
        cls,
        drop: tuple[tuple[str, ...], ...],
        keep: tuple[tuple[str, ...], ...] | None,
        manager: str,
        api_version: str,
        kind: str,
    ) -> Rules: ...

def head(text: bytes, /) -> Head: ...
def split_list(body: bytes, /) -> ListPage: ...
def split_event(line: bytes, /) -> WatchEvent: ...

__pyx_capi__: dict[str, object]  # what other modules cimport
