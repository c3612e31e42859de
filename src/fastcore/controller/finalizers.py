"""Finalizers: cleanup before an object goes, and no finalizer of anybody else lost on the way (WR-5).

Every change is a JSON patch that first tests what it is based on: the uid, and the very place in the list. Where the
list has changed meanwhile the server refuses it, and it is made anew from live state.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastcore.cache import LRUCache
from fastcore.controller.client import JSON_PATCH, Client, gone
from fastcore.controller.context import Context
from fastcore.controller.errors import ConflictError, InvalidError, NotFoundError
from fastcore.controller.model import Kind, Request, Resource, Result
from fastcore.controller.retry import DEFAULT_RETRY, Retries, retry_on_conflict
from fastcore.errors import FastcoreError

_REMEMBERED = 4096
_MAX_NAME = 316  # a DNS prefix of 253, a slash, and 63 more

Reconcile = Callable[[Context, Request], Awaitable[Result | None]]
Cleanup = Callable[[Context, Resource], Awaitable[Result | None]]


class BeingDeletedError(FastcoreError):
    """A finalizer cannot be added to an object that is being deleted (WR-5)."""


def has_finalizer(obj: Mapping[str, Any], finalizer: str) -> bool:
    """Whether `finalizer` is among those of `obj`."""
    return finalizer in (obj["metadata"].get("finalizers") or ())


async def ensure_finalizer(
    client: Client, kind: Kind, obj: Mapping[str, Any], finalizer: str, *, retries: Retries = DEFAULT_RETRY
) -> Resource:
    """The object with `finalizer`, which is added to those that others have set if it is missing.

    Args:
        client: writes.
        kind: of the object.
        obj: as it is known, from a cache or not.
        finalizer: a qualified name, such as "example.org/cleanup".
        retries: after others have changed the list.

    Raises:
        BeingDeletedError: the object is being deleted.
        NotFoundError: it is gone, or another one has taken its name.
        ConflictError: the list was changed by others at every try.
        ValueError: `finalizer` is no qualified name.

    Complexity: no request if the finalizer is there, one if not.
    """
    _check(finalizer)

    def operations(live: Mapping[str, Any]) -> list[Resource] | None:
        if has_finalizer(live, finalizer):
            return None
        meta = live["metadata"]
        if meta.get("deletionTimestamp"):
            raise BeingDeletedError(
                f"{kind.kind} {meta['name']!r} is being deleted: {finalizer} can no longer be added"
            )
        held = meta.get("finalizers")
        if held:
            return [_test("finalizers", held), {"op": "add", "path": "/metadata/finalizers/-", "value": finalizer}]
        # Nothing can be tested that is not there; the version stands for it.
        return [
            _test("resourceVersion", meta["resourceVersion"]),
            {"op": "add", "path": "/metadata/finalizers", "value": [finalizer]},
        ]

    return await _patch(client, kind, obj, operations, retries)


async def remove_finalizer(
    client: Client, kind: Kind, obj: Mapping[str, Any], finalizer: str, *, retries: Retries = DEFAULT_RETRY
) -> Resource | None:
    """The object without `finalizer`, or None if it is gone; those of others stay.

    Args: as for `ensure_finalizer`.

    Raises:
        ConflictError: the list was changed by others at every try.
        ValueError: `finalizer` is no qualified name.

    Complexity: no request if the finalizer is not there, one if it is.
    """
    _check(finalizer)

    def operations(live: Mapping[str, Any]) -> list[Resource] | None:
        held = live["metadata"].get("finalizers") or []
        if finalizer not in held:
            return None
        place = held.index(finalizer)
        return [_test(f"finalizers/{place}", finalizer), {"op": "remove", "path": f"/metadata/finalizers/{place}"}]

    try:
        return await _patch(client, kind, obj, operations, retries)
    except NotFoundError:
        return None


class Finalizing:
    """A reconciler with a cleanup: adds its finalizer before it first reconciles, and takes it off after the cleanup.

    While an object is being deleted `reconcile` is not called for it. `cleanup` is called until it returns None; it
    must bear to be called again, since a process may end between it and the removal of the finalizer. Within one
    process it is not called again for an object that it has finished, also if the cache still shows the finalizer.

    Args:
        kind: the primary kind.
        finalizer: a qualified name, such as "example.org/cleanup".
        reconcile: a coroutine function, as a controller takes it; it may find the object gone.
        cleanup: a coroutine function that is given the context and the object; a Result with `requeue_after` says
            that it is not done yet.

    Raises:
        ValueError: `finalizer` is no qualified name.
        TypeError: one of the two is no coroutine function.

    Complexity: one write more for a new object, and one for a deleted one.
    Thread safety: belongs to the event loop.

    Example:
        builder.for_(WIDGET).complete(Finalizing(WIDGET, "example.org/bucket", reconcile, delete_bucket))
    """

    def __init__(self, kind: Kind, finalizer: str, reconcile: Reconcile, cleanup: Cleanup) -> None:
        _check(finalizer)
        for function in (reconcile, cleanup):
            if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):
                raise TypeError(f"a coroutine function is needed, not {function!r}")
        self._kind = kind
        self._finalizer = finalizer
        self._reconcile = reconcile
        self._cleanup = cleanup
        self._finished: LRUCache[str, bool] = LRUCache(_REMEMBERED)  # uids

    async def __call__(self, ctx: Context, request: Request) -> Result | None:
        """Reconcile the object of `request`, or clean up after it."""
        obj = ctx.get(self._kind)
        if obj is None:
            return await self._reconcile(ctx, request)
        if obj["metadata"].get("deletionTimestamp"):
            return await self._clean_up(ctx, obj)
        if not has_finalizer(obj, self._finalizer):
            try:
                ctx.observe(self._kind, await ensure_finalizer(ctx.client, self._kind, obj, self._finalizer))
            except (BeingDeletedError, NotFoundError):
                return None  # its deletion is an event of its own
        return await self._reconcile(ctx, request)

    async def _clean_up(self, ctx: Context, obj: Resource) -> Result | None:
        if not has_finalizer(obj, self._finalizer):
            return None
        uid = obj["metadata"]["uid"]
        if self._finished.get(uid) is None:
            result = await self._cleanup(ctx, obj)
            if result is not None and result.requeue_after:
                return result
            self._finished[uid] = True
        rest = await remove_finalizer(ctx.client, self._kind, obj, self._finalizer)
        if rest is not None and rest["metadata"].get("finalizers"):
            ctx.observe(self._kind, rest)
        return None


async def _patch(
    client: Client,
    kind: Kind,
    obj: Mapping[str, Any],
    operations: Callable[[Mapping[str, Any]], list[Resource] | None],
    retries: Retries,
) -> Resource:
    """Patch `obj`, and after a refusal what the server has, as long as it is the same object."""
    meta = obj["metadata"]
    namespace, name, uid = meta.get("namespace") if kind.namespaced else None, meta["name"], meta["uid"]
    live: Mapping[str, Any] | None = obj

    async def attempt() -> Resource:
        nonlocal live
        if live is None:
            live = await client.get(kind, namespace, name)
            if live["metadata"]["uid"] != uid:
                raise gone(kind, name, uid)
        now, live = live, None
        wanted = operations(now)
        if wanted is None:
            return now if isinstance(now, dict) else dict(now)
        try:
            return await client.patch(kind, namespace, name, [_test("uid", uid), *wanted], patch_type=JSON_PATCH)
        except InvalidError as error:
            if error.causes:
                raise  # of the object itself, not of a test
            raise ConflictError(
                f"the finalizers of {kind.kind} {name!r} have been changed by others meanwhile",
                status=409, reason="Conflict",
            ) from error  # fmt: skip

    return await retry_on_conflict(attempt, retries=retries)


def _test(path: str, value: object) -> Resource:
    return {"op": "test", "path": f"/metadata/{path}", "value": value}


def _check(finalizer: str) -> None:
    prefix, slash, name = finalizer.partition("/")
    if not (prefix and slash and name) or "/" in name or len(finalizer) > _MAX_NAME:
        raise ValueError(f"a finalizer is a qualified name such as 'example.org/cleanup', not {finalizer!r}")
