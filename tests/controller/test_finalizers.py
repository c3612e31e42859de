"""Finalizers: ours comes and goes, those of others stay, and the cleanup runs once."""

import uuid
from contextlib import asynccontextmanager, suppress

import pytest

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ConflictError, InvalidError, NotFoundError
from fastcore.controller.finalizers import (
    BeingDeletedError,
    Finalizing,
    ensure_finalizer,
    has_finalizer,
    remove_finalizer,
)
from fastcore.controller.model import CONFIG_MAP, Request, Result
from servers import Load

OURS, THEIRS = "example.org/ours", "example.org/theirs"


@asynccontextmanager
async def held(load, *finalizers):
    async with Client(await load()) as client:
        meta = {"namespace": "default", "name": f"final-{uuid.uuid4().hex[:8]}", "finalizers": list(finalizers)}
        yield client, await client.create(CONFIG_MAP, {"metadata": meta})
        with suppress(NotFoundError):  # one that is being deleted goes with its last finalizer
            await client.patch(CONFIG_MAP, "default", meta["name"], {"metadata": {"finalizers": None}})
            await client.delete(CONFIG_MAP, "default", meta["name"])


def writes(client):
    return sum(count for (_, method, _), count in client.stats.items() if method != "GET")


async def set_finalizers(client, obj, *finalizers):
    meta = obj["metadata"]
    return await client.patch(CONFIG_MAP, "default", meta["name"], {"metadata": {"finalizers": list(finalizers)}})


@pytest.mark.parametrize("before", [[], [THEIRS]])
async def test_it_is_added_once(load: Load, before: list[str]) -> None:
    """WR-5: beside those that are there; one write, and none if it is there."""
    async with held(load, *before) as (client, obj):
        sent = writes(client)
        obj = await ensure_finalizer(client, CONFIG_MAP, obj, OURS)
        assert obj["metadata"]["finalizers"] == [*before, OURS]
        assert await ensure_finalizer(client, CONFIG_MAP, obj, OURS) is obj
        assert writes(client) == sent + 1


@pytest.mark.parametrize("before", [[], ["example.org/other"]])
async def test_those_that_came_meanwhile_stay(load: Load, before: list[str]) -> None:
    """WR-5: the cached object does not know of them, so the server refuses the first try."""
    async with held(load, *before) as (client, stale):
        await set_finalizers(client, stale, *before, THEIRS)
        obj = await ensure_finalizer(client, CONFIG_MAP, stale, OURS)
        assert obj["metadata"]["finalizers"] == [*before, THEIRS, OURS]


async def test_ours_alone_is_removed(load: Load) -> None:
    """WR-5: also if its place in the list has changed since it was seen."""
    async with held(load, OURS, THEIRS) as (client, stale):
        await set_finalizers(client, stale, THEIRS, "example.org/other", OURS)
        obj = await remove_finalizer(client, CONFIG_MAP, stale, OURS)
        assert obj is not None
        assert obj["metadata"]["finalizers"] == [THEIRS, "example.org/other"]
        sent = writes(client)
        assert await remove_finalizer(client, CONFIG_MAP, obj, OURS) is obj
        assert writes(client) == sent


async def test_another_object_of_the_name_is_not_touched(load: Load) -> None:
    """WR-5: by uid."""
    async with held(load, OURS) as (client, obj):
        other = {**obj, "metadata": {**obj["metadata"], "uid": "another"}}
        assert await remove_finalizer(client, CONFIG_MAP, other, OURS) is None
        with pytest.raises(NotFoundError):
            await ensure_finalizer(client, CONFIG_MAP, other, "example.org/more")
        assert has_finalizer(await client.get(CONFIG_MAP, "default", obj["metadata"]["name"]), OURS)


async def test_none_is_added_to_what_is_being_deleted(load: Load) -> None:
    """WR-5: finalizers cannot be added once deleting: known from the object, or from the server."""
    async with held(load, THEIRS) as (client, stale):
        live = await client.delete(CONFIG_MAP, "default", stale["metadata"]["name"])
        with pytest.raises(BeingDeletedError, match=f"{OURS} can no longer be added"):
            await ensure_finalizer(client, CONFIG_MAP, live, OURS)
        with pytest.raises((BeingDeletedError, InvalidError)):
            await ensure_finalizer(client, CONFIG_MAP, stale, OURS)


async def test_who_is_overtaken_every_time_gives_up(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """WR-1: bounded."""
    async with held(load, THEIRS) as (client, obj):
        original, tries = client.patch, 0

        async def overtaken(kind, namespace, name, patch, **options):
            nonlocal tries
            tries += 1
            await original(CONFIG_MAP, "default", name, {"metadata": {"finalizers": [THEIRS, f"example.org/f{tries}"]}})
            return await original(kind, namespace, name, patch, **options)

        monkeypatch.setattr(client, "patch", overtaken)
        with pytest.raises(ConflictError, match="changed by others meanwhile"):
            await ensure_finalizer(client, CONFIG_MAP, obj, OURS)
        assert tries == 5
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["", "plain", "/x", "x/", "a/b/c", "a/" + "b" * 400])
async def test_names_are_checked(name):
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        for function in (ensure_finalizer, remove_finalizer):
            with pytest.raises(ValueError, match="a qualified name such as"):
                await function(client, CONFIG_MAP, {"metadata": {}}, name)
    with pytest.raises(TypeError, match="a coroutine function"):
        Finalizing(CONFIG_MAP, OURS, lambda ctx, request: None, lambda ctx, obj: None)


class FakeContext:
    """The cache of a reconcile: what was last observed."""

    def __init__(self, client, obj):
        self.client = client
        self.cached = obj

    def get(self, kind):
        return self.cached

    def observe(self, kind, obj):
        self.cached = obj


async def test_a_reconciler_with_a_cleanup(load: Load) -> None:
    """WR-5: added before the first reconcile, cleaned up until it is done, then removed; ours only, and once."""
    told: list[str] = []
    left = [Result(requeue_after=3.0), None]

    async def reconcile(ctx, request):
        told.append("reconcile" if ctx.get(CONFIG_MAP) else "gone")

    async def clean_up(ctx, obj):
        told.append("clean up")
        return left.pop(0)

    async with held(load, THEIRS) as (client, obj):
        request = Request("w", "default", obj["metadata"]["name"])
        ctx = FakeContext(client, obj)
        reconciler = Finalizing(CONFIG_MAP, OURS, reconcile, clean_up)
        assert await reconciler(ctx, request) is None
        assert ctx.cached["metadata"]["finalizers"] == [THEIRS, OURS]
        ctx.cached = stale = await client.delete(CONFIG_MAP, "default", request.name)
        assert await reconciler(ctx, request) == Result(requeue_after=3.0)
        assert has_finalizer(await client.get(CONFIG_MAP, "default", request.name), OURS), "it is not done yet"
        assert await reconciler(ctx, request) is None
        assert ctx.cached["metadata"]["finalizers"] == [THEIRS]
        assert await reconciler(ctx, request) is None
        ctx.cached = stale
        assert await reconciler(ctx, request) is None
        ctx.cached = None
        await reconciler(ctx, request)
        assert told == ["reconcile", "clean up", "clean up", "gone"]
        ctx.cached = {**stale, "metadata": {**stale["metadata"], "deletionTimestamp": None, "finalizers": []}}
        assert await reconciler(ctx, request) is None, "the cache is late: it is being deleted by now"
        assert told[-1] == "gone"
