"""Reads from one server: an object, or every object of a kind page by page; dicts, or the JSON text as it came."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from fastcore.controller.errors import DecodeError, GoneError
from fastcore.controller.model import Kind, Resource
from fastcore.controller.requester import Params, Requester
from fastcore.controller.turn import TURN
from fastcore.errors import ObjectError
from fastcore.objects import split_list

PAGE_SIZE = 500


class Listing(NamedTuple):
    """What a list returned: the objects, and the resourceVersion to watch from."""

    items: list[Resource]
    revision: str


class Reader(Requester):
    """The verbs of a `Client` that change nothing.

    Thread safety: use from one event loop.
    """

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Resource:
        """One object, from the server."""
        return self._object(await self.request("GET", kind.path(namespace, name)))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard_selector: str | None = None,
        resource_version: str | None = None,
        limit: int = PAGE_SIZE,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> Listing:
        """Every object of a kind, page by page (RF-10).

        The revision is that of the first page. A continue token that expires on the way leads to one list without
        pages. `apiVersion` and `kind`, which servers leave out of the items of built-in kinds, are filled in.

        Args:
            kind: what to list.
            namespace: where; None is everywhere.
            label_selector: such as "app=web,tier!=db".
            field_selector: such as "metadata.name=web".
            shard_selector: a `ShardSelector` as text; servers without sharded lists ignore it.
            resource_version: None asks for the latest, "0" for any cached state, a number for one not older.
            limit: objects a page, >= 0; 0 asks for everything at once.
            timeout: deadline of one page in seconds; None is the client's.
            retries: as in `request`, for one page.
        """
        items, revision, _ = await self._listed(
            kind, namespace, self._page, label_selector, field_selector, shard_selector, resource_version, limit,
            timeout, retries,
        )  # fmt: skip
        for item in items:
            if "kind" not in item:
                item["apiVersion"] = kind.api_version
                item["kind"] = kind.kind
        return Listing(items, revision)

    async def list_raw(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard_selector: str | None = None,
        resource_version: str | None = None,
        limit: int = PAGE_SIZE,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> tuple[Sequence[bytes], str]:
        """As `list`, but each object as the JSON text that the server sent, to which nothing is added."""
        items, revision, _ = await self._listed(
            kind, namespace, _split_page, label_selector, field_selector, shard_selector, resource_version, limit,
            timeout, retries,
        )  # fmt: skip
        return items, revision

    async def _listed(
        self,
        kind: Kind,
        namespace: str | None,
        read: Callable[[bytes], "_Page[_Item]"],
        label_selector: str | None,
        field_selector: str | None,
        shard_selector: str | None,
        resource_version: str | None,
        limit: int,
        timeout: float | None,
        retries: int | None,
    ) -> "_Page[_Item]":
        params: dict[str, str | int | bool | None] = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "shardSelector": shard_selector,
            "resourceVersion": resource_version or None,
            "limit": limit or None,
        }
        path = kind.path(namespace)

        async def fetch(query: Params) -> _Page[_Item]:
            return read(await self.request("GET", path, params=query, timeout=timeout, retries=retries))

        page = await fetch(params)
        items, revision = page.items, page.revision
        while token := page.token:
            try:
                page = await fetch({**params, "resourceVersion": None, "continue": token})
            except GoneError:
                page = await fetch({**params, "limit": None})
                return page
            items += page.items
        return _Page(items, revision, "")

    @staticmethod
    def _object(body: bytes) -> Resource:
        turn = TURN.get()
        began = 0 if turn is None else turn.clock()
        try:
            obj = _decode_object(body)
        except msgspec.DecodeError as error:
            raise DecodeError(f"the answer is no JSON object: {error}") from error
        if turn is not None:
            turn.decode_ns += turn.clock() - began
        return obj

    @staticmethod
    def _page(body: bytes) -> "_Page[Resource]":
        try:
            page = _decode_page(body)
        except msgspec.DecodeError as error:
            raise DecodeError(f"the answer is no list: {error}") from error
        meta = page.metadata
        return _Page(page.items or [], meta.get("resourceVersion", ""), meta.get("continue", ""))


_Item = TypeVar("_Item")


class _Page(NamedTuple, Generic[_Item]):
    items: list[_Item]
    revision: str
    token: str


class _Answer(msgspec.Struct, gc=False):
    metadata: dict[str, Any]
    items: list[dict[str, Any]] | None = None  # Go writes an empty list as null


def _split_page(body: bytes) -> _Page[bytes]:
    try:
        page = split_list(body)
    except ObjectError as error:
        raise DecodeError(f"the answer is no list: {error}") from error
    return _Page(page.items, page.revision, page.continue_token)


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_page = msgspec.json.Decoder(_Answer).decode
