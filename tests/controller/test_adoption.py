"""Objects of others: refused by name, in the cache, on the server, and when they appear meanwhile."""

# ruff: noqa: SIM117 - the client is made inside the server

import uuid
from contextlib import asynccontextmanager

import pytest

from controller.scripted import ScriptedServer, answer, failure
from fastcore.controller.adoption import ForeignObjectError, is_ours, may_write
from fastcore.controller.batch import Apply, Batch, Create
from fastcore.controller.client import Client
from fastcore.controller.errors import AlreadyExistsError, ConflictError, InvalidError
from fastcore.controller.model import CONFIG_MAP, NAMESPACE
from servers import Load

MINE = {"apiVersion": "v1", "kind": "ConfigMap", "name": "me", "uid": "mine", "controller": True}
THEIRS = {**MINE, "name": "other", "uid": "theirs"}
FOLLOWER = {**THEIRS, "controller": False}


def obj(*owners, name="x", managers=None, **data):
    meta = {"namespace": "n", "name": name}
    if owners:
        meta["ownerReferences"] = list(owners)
    if managers is not None:
        parts = [text.split("/") for text in managers]  # manager, subresource, operation
        meta["managedFields"] = [
            dict(zip(("manager", "subresource", "operation"), (part + ["", "Apply"][len(part) - 1 :]), strict=True))
            for part in parts
        ]
    return {"metadata": meta, "data": data}


@pytest.mark.parametrize(
    ("live", "desired", "ours", "unowned"),
    [
        (obj(MINE), obj(MINE), True, True),
        (obj(THEIRS), obj(MINE), False, False),
        (obj(FOLLOWER, MINE), obj(MINE), True, True),
        (obj(THEIRS, managers=["me"]), obj(MINE), False, False),
        (obj(managers=["me"]), obj(MINE), True, True),
        (obj(managers=["me//Update"]), obj(MINE), False, True),
        (obj(managers=["me//Update"]), obj(), True, True),
        (obj(managers=["kubectl"]), obj(MINE), False, True),
        (obj(FOLLOWER, managers=["kubectl"]), obj(), False, True),
        (obj(managers=["kubectl", "me/status"]), obj(), False, True),
        (obj(THEIRS, managers=["kubectl", "me"]), obj(), True, True),
        (obj(THEIRS, managers=["kubectl"]), obj(), False, False),
        (obj(), obj(), None, True),
        (obj(managers=[]), obj(MINE), None, True),
        (obj(THEIRS), obj(), None, None),
    ],
)
def test_whose_an_object_is(live, desired, ours, unowned):
    """Defect 14: by the controller's uid, or else by who wrote it."""
    assert is_ours(live, desired, "me") is ours
    assert may_write(live, desired, "me", "never") is ours
    assert may_write(live, desired, "me", "unowned") is unowned
    assert may_write(live, desired, "me", "always") is True


def test_an_apply_of_a_mere_name_takes_nothing_over():
    """It leaves no entry in managedFields by which it could be known again."""
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "n", "name": "x"}}
    assert may_write(obj(THEIRS), bare, "me", "never") is True
    labelled = {**bare, "metadata": {**bare["metadata"], "labels": {}}}
    assert not may_write(obj(THEIRS, managers=["other"]), labelled, "me", "never")


def test_the_error_says_whose_it_is_and_what_to_do():
    error = ForeignObjectError(CONFIG_MAP, obj(THEIRS, managers=["kubectl", "helm"]))
    assert str(error) == (
        "409 ForeignObject: ConfigMap n/x exists and is not ours: it belongs to ConfigMap other, written by 'helm', "
        "'kubectl'. Delete or rename one of the two, or apply with adopt=\"always\" to take it over"
    )
    assert (error.owner, error.managers, error.name) == ("ConfigMap other", ("helm", "kubectl"), "x")
    assert "no controller owns it. Delete" in str(ForeignObjectError(CONFIG_MAP, obj()))
    assert 'adopt="unowned" or "always"' in str(ForeignObjectError(CONFIG_MAP, obj()))


OK = answer(200, obj())


@asynccontextmanager
async def applying(*steps, **options):
    async with ScriptedServer(list(steps)) as server:
        async with Client(server.config) as client:
            yield server, Batch(client, field_manager="me", **options)


async def test_a_known_foreign_object_costs_no_request():
    async with applying(OK) as (server, batch):
        (result,) = await batch.run([Apply(CONFIG_MAP, obj(MINE), live=obj(THEIRS))])
    assert isinstance(result.error, ForeignObjectError)
    assert server.received == []


async def test_what_the_cache_does_not_keep_is_asked_for_once():
    """A live object without managedFields cannot tell whose it is."""
    async with applying(answer(200, obj(managers=["me"])), OK) as (server, batch):
        (await batch.run([Apply(CONFIG_MAP, obj(), live=obj())])).raise_for_errors()
    assert [r.method for r in server.received] == ["GET", "PATCH"]
    async with applying(answer(200, obj())) as (server, batch):
        (result,) = await batch.run([Apply(CONFIG_MAP, obj(), live=obj())])
    assert isinstance(result.error, ForeignObjectError)
    assert [r.method for r in server.received] == ["GET"], "nobody knows, so it is not ours"


async def test_a_status_and_what_may_be_adopted_are_not_looked_at():
    async with applying(OK) as (server, batch):
        writes = [
            Apply(CONFIG_MAP, obj(name="a"), live=obj(THEIRS), subresource="status"),
            Apply(CONFIG_MAP, obj(name="b"), live=obj(THEIRS), adopt="always"),
            Apply(CONFIG_MAP, obj(name="c"), adopt="always"),
            Apply(CONFIG_MAP, obj(name="d"), live=obj(), adopt="unowned"),
        ]
        (await batch.run(writes)).raise_for_errors()
    assert [r.method for r in server.received] == ["PATCH"] * 4
    assert all("resourceVersion" not in r.json["metadata"] for r in server.received)


async def test_a_refusal_for_another_reason_stays_what_it_is():
    """WR-2: a conflict of fields on an object of ours."""
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "hpa"', "field": ".spec.replicas"}
    conflict = answer(409, {"kind": "Status", "reason": "Conflict", "details": {"causes": [cause]}})
    async with applying(conflict) as (server, batch):
        (result,) = await batch.run([Apply(CONFIG_MAP, obj(MINE), live=obj(MINE), force=False)])
    assert result.error.fields[0].manager == "hpa"
    async with applying(failure(422, "Invalid")) as (server, batch):
        (result,) = await batch.run([Apply(CONFIG_MAP, obj(MINE))])
    assert type(result.error) is InvalidError
    assert len(server.received) == 1


async def test_an_object_that_never_stays_is_given_up():
    """Each refusal is looked into, but not for ever."""
    async with applying(failure(409, "Conflict"), failure(404)) as (server, batch):
        server.steps[:] = [failure(409, "Conflict"), failure(404)] * 10
        (result,) = await batch.run([Apply(CONFIG_MAP, obj(MINE))])
    assert isinstance(result.error, ConflictError)
    assert [r.method for r in server.received] == ["PATCH", "GET"] * 3 + ["PATCH"]


async def test_one_s_own_precondition_is_not_looked_into_twice():
    """WR-1."""
    mine = obj(MINE)
    mine["metadata"]["resourceVersion"] = "7"
    async with applying(failure(409, "Conflict"), answer(200, obj(MINE))) as (server, batch):
        (result,) = await batch.run([Apply(CONFIG_MAP, mine, live=obj(MINE))])
    assert isinstance(result.error, ConflictError)
    assert server.received[0].json["metadata"]["resourceVersion"] == "7"


@asynccontextmanager
async def namespace(load):
    async with Client(await load()) as client:
        name = f"adoption-{uuid.uuid4().hex[:8]}"
        await client.create(NAMESPACE, {"metadata": {"name": name}})
        yield client, name


def config_map(where, *owners, **data):
    meta = {"namespace": where, "name": "x"}
    if owners:
        meta["ownerReferences"] = list(owners)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


async def test_ours_is_applied_again_without_a_cache(load: Load) -> None:
    """WR-2, WR-6: an object that was not known, but is ours."""
    async with namespace(load) as (client, where):
        batch = Batch(client, field_manager="me")
        for value in "123":
            (await batch.run([Apply(CONFIG_MAP, config_map(where, MINE, a=value))])).raise_for_errors()
        live = await client.get(CONFIG_MAP, where, "x")
        assert live["data"] == {"a": "3"}
        assert [e["operation"] for e in live["metadata"]["managedFields"]] == ["Apply"]


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("value", ["1", "2"])
async def test_a_foreign_object_that_the_cache_has_not_seen_is_left_alone(load: Load, value: str, force: bool) -> None:
    """Defect 14: whether the fields are in dispute or not, forced or not."""
    async with namespace(load) as (client, where):
        before = await client.create(CONFIG_MAP, config_map(where, a="1"), field_manager="kubectl")
        batch = Batch(client, field_manager="me")
        (result,) = await batch.run([Apply(CONFIG_MAP, config_map(where, MINE, a=value), force=force)])
        assert isinstance(result.error, ForeignObjectError)
        assert result.error.managers == ("kubectl",)
        assert await client.get(CONFIG_MAP, where, "x") == before
        (created,) = await batch.run([Create(CONFIG_MAP, config_map(where, MINE, a=value))])
        assert isinstance(created.error, ForeignObjectError)
        adopting = Batch(client, field_manager="me", adopt="unowned")
        (await adopting.run([Apply(CONFIG_MAP, config_map(where, MINE, a=value))])).raise_for_errors()
        after = await client.get(CONFIG_MAP, where, "x")
        assert (after["metadata"]["uid"], after["data"]["a"]) == (before["metadata"]["uid"], value)
        (again,) = await batch.run([Create(CONFIG_MAP, config_map(where, MINE, a=value))])
        assert type(again.error) is AlreadyExistsError, "by now it is ours"


async def test_another_object_that_took_the_name_is_refused(load: Load) -> None:
    """The cache still shows our own, which was deleted: the uid tells the server, even if nothing is in dispute."""
    async with namespace(load) as (client, where):
        batch = Batch(client, field_manager="me")
        results = await batch.run([Apply(CONFIG_MAP, config_map(where, MINE, a="1"))])
        stale = results.raise_for_errors()[0].object
        await client.delete(CONFIG_MAP, where, "x")
        theirs = await client.create(CONFIG_MAP, config_map(where, THEIRS), field_manager="other")
        (result,) = await batch.run([Apply(CONFIG_MAP, config_map(where, MINE, a="2"), live=stale)])
        assert isinstance(result.error, ForeignObjectError)
        assert result.error.owner == "ConfigMap other"
        assert await client.get(CONFIG_MAP, where, "x") == theirs
        await client.delete(CONFIG_MAP, where, "x")
        (await batch.run([Apply(CONFIG_MAP, config_map(where, MINE, a="2"), live=stale)])).raise_for_errors()
