"""One collection on a server, or a part of it, as a reflector asks for it: listed, streamed, watched, probed."""

from collections.abc import AsyncGenerator, Callable

from fastcore.controller import features
from fastcore.controller.client import Client
from fastcore.controller.errors import ApiError
from fastcore.controller.frames import Item, read_item, tells_shard
from fastcore.controller.model import Kind
from fastcore.controller.shard_selector import ShardSelector

_TIMEOUT_S = 60.0
_STREAMS, _SHARDS = "streamed lists", "sharded lists"
_NOT_KNOWN = (400, 405, 406, 415, 422, 501)  # how servers refuse a parameter that they do not know

Params = dict[str, str | int | bool | None]


class Collection:
    """The objects of one kind that selectors leave, and the requests for them. Nothing is retried.

    Args:
        client: reaches the server.
        kind: the kind.
        namespace: where; None is everywhere.
        label_selector: restricts the collection on the server.
        field_selector: likewise.
        shard: restricts it to a part; here, where the server cannot.
        page_size: objects a page of a list (RF-10).
        only: which objects count of those that the server sends; None is all.

    Thread safety: use from one event loop.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind,
        namespace: str | None,
        *,
        label_selector: str | None,
        field_selector: str | None,
        shard: ShardSelector | None,
        page_size: int,
        only: Callable[[Item], bool] | None = None,
    ) -> None:
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._selectors: Params = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._shard = shard
        self._sharded: bool | None = None  # whether the server keeps to the shard; None: nobody has asked
        self._page_size = page_size
        self._only = only

    @property
    def streams(self) -> bool:
        """Whether to ask for a stream instead of a list."""
        return features.offers(self._client.config, _STREAMS, self._kind)

    def no_streams(self) -> None:
        """Remember that this server has no streamed lists."""
        features.lacks(self._client.config, _STREAMS, self._kind)

    async def prepare(self) -> None:
        """Find out who keeps to the shard: the server, or `holds`. One small list, at the first call with a shard."""
        if self._shard is None or self._sharded is not None:
            return
        if features.offers(self._client.config, _SHARDS, self._kind):
            try:
                answer = await self._get({"shardSelector": str(self._shard), "resourceVersion": "0", "limit": 1})
            except ApiError as error:
                if not refused(error):
                    raise
                answer = b""
            if tells_shard(answer):
                self._sharded = True
                return
            features.lacks(self._client.config, _SHARDS, self._kind)
        self._sharded = False

    async def list(self, start: str) -> tuple[list[Item], str]:
        """Every object of the collection, and the revision.

        Args:
            start: "" for the newest state, "0" for any, else a resourceVersion that it must not be older than.
        """
        raws, revision = await self._client.list_raw(
            self._kind,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            shard_selector=str(self._shard) if self._sharded else None,
            resource_version=start,
            limit=self._page_size if start in ("", "0") else 0,
            timeout=_TIMEOUT_S,
            retries=0,
        )
        return [item for item in map(read_item, raws) if self.holds(item)], revision

    def stream(
        self, start: str, timeout: int, *, idle_timeout: float, opened: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch that begins with the present objects, not older than `start` (RF-2)."""
        params: Params = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan"}
        return self._watch({**params, "resourceVersion": start or None}, timeout, idle_timeout, opened)

    def watch(
        self, position: str, timeout: int, *, idle_timeout: float, opened: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch from `position`, for `timeout` seconds at most."""
        return self._watch({"resourceVersion": position}, timeout, idle_timeout, opened)

    def _watch(
        self, params: Params, timeout: int, idle_timeout: float, opened: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        shard = str(self._shard) if self._sharded else None
        asked: Params = {"allowWatchBookmarks": True, "timeoutSeconds": timeout, "shardSelector": shard}
        return self._client.watch(
            self._kind.path(self._namespace),
            {**params, **asked, **self._selectors},
            idle_timeout=idle_timeout,
            opened=opened,
        )

    async def probe(self, position: str) -> None:
        """Return if the server has reached `position`, and raise what it says if not."""
        await self._get({"resourceVersion": position, "resourceVersionMatch": "NotOlderThan", "limit": 1})

    async def _get(self, params: Params) -> bytes:
        return await self._client.request(
            "GET",
            self._kind.path(self._namespace),
            params={**params, **self._selectors},
            timeout=_TIMEOUT_S,
            retries=0,
        )

    def holds(self, item: Item) -> bool:
        """Whether an object that the server sent belongs to the collection."""
        if self._shard is not None and not self._sharded and not self._shard.holds(item.head.uid, item.head.namespace):
            return False
        return self._only is None or self._only(item)

    def __str__(self) -> str:
        where = f"{self._client.prefix} {self._namespace or ''}".strip()
        return f"{self._kind.plural} of {where}" if where else self._kind.plural


def refused(error: ApiError) -> bool:
    """Whether a server says that it does not know a parameter, or not here."""
    return error.status in _NOT_KNOWN
