"""What a batch would do: without a request, and as the server says."""

import uuid

import pytest

from controller.scripted import ScriptedServer, failure
from fastcore.controller.adoption import ForeignObjectError
from fastcore.controller.batch import Apply, Batch, Create, Delete, Patch, Update
from fastcore.controller.client import JSON_PATCH, STRATEGIC_PATCH, Client
from fastcore.controller.errors import NotFoundError
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, NAMESPACE, SECRET
from servers import Load


def obj(name="x", fields=None, labels=None, **data):
    meta = {"namespace": "n", "name": name}
    if labels is not None:
        meta["labels"] = labels
    if fields is not None:
        meta["managedFields"] = [{"manager": "fastcore", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}]
        meta["resourceVersion"] = "5"
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


async def planned(*writes, live=None, **options):
    """The plan, after which no request has been seen."""
    held = {(CONFIG_MAP, "n", "x"): live}

    def lookup(kind, namespace, name):
        if kind is SECRET:
            raise LookupError("not watched")
        return held.get((kind, namespace, name))

    async with ScriptedServer([failure(500)]) as server:
        async with Client(server.config) as client:
            plan = await Batch(client, lookup=lookup, **options).plan(writes)
        assert server.received == []
    return plan


def told(plan):
    return [(step.action, step.wave, [(c.op, c.where) for c in step.changes]) for step in plan]


LIVE = obj(fields={"f:data": {"f:a": {}, "f:old": {}}}, a="1", old="2", theirs="3")


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (Apply(CONFIG_MAP, obj(a="1", old="2")), ("skip", [])),
        (Apply(CONFIG_MAP, obj(a="2", old="2")), ("change", [("change", "data.a")])),
        (Apply(CONFIG_MAP, obj(a="1")), ("change", [("remove", "data.old")])),
        (
            Apply(CONFIG_MAP, obj(a="1", old="2", labels={"l": "1"})),
            ("change", [("add", "metadata.labels")]),
        ),
        (Create(CONFIG_MAP, obj()), ("refuse", [])),
        (Delete(CONFIG_MAP, "n", "x"), ("delete", [])),
        (Update(CONFIG_MAP, LIVE), ("skip", [])),
        (Update(CONFIG_MAP, obj(a="1")), ("change", [("remove", "data.old"), ("remove", "data.theirs")])),
        (Patch(CONFIG_MAP, "n", "x", {"data": {"theirs": None}}), ("change", [("remove", "data.theirs")])),
        (Patch(CONFIG_MAP, "n", "x", {"data": {"a": "1"}}), ("skip", [])),
        (
            Patch(CONFIG_MAP, "n", "x", [{"op": "replace", "path": "/data/a", "value": "7"}], JSON_PATCH),
            ("change", [("change", "data.a")]),
        ),
        (Patch(CONFIG_MAP, "n", "x", [{"op": "test", "path": "/data/q", "value": 1}], JSON_PATCH), ("change", [])),
        (Patch(CONFIG_MAP, "n", "x", {}, STRATEGIC_PATCH), ("change", [])),
    ],
)
async def test_each_write_against_the_live_object(write, expected):
    """WR-2, WR-3: what an apply adds, changes and takes away, and no more."""
    (told_of,) = told(await planned(write, live=LIVE))
    assert (told_of[0], told_of[2]) == expected


async def test_what_nobody_knows():
    plan = await planned(
        Apply(CONFIG_MAP, obj("new", a="1")), Patch(SECRET, "n", "s", {"data": {}}), Delete(SECRET, "n", "gone")
    )
    assert [(step.action, step.wave) for step in plan] == [("create", 0), ("change", 1), ("skip", 2)]


async def test_the_order_and_what_comes_before():
    """Later writes to an object are compared with what the earlier ones make of it; nothing is changed."""
    before = obj(**LIVE["data"])
    first = Patch(CONFIG_MAP, "n", "x", {"data": {"a": "9"}})
    plan = await planned(first, first, Patch(CONFIG_MAP, "n", "x", {"data": {"a": "1"}}), live=LIVE)
    assert [s.action for s in plan] == ["change", "change", "skip"], "the repeat comes last"
    assert [c.old for s in plan for c in s.changes] == ["1", "9"]
    assert LIVE["data"] == before["data"]


async def test_what_would_be_refused():
    """Defect 14."""
    theirs = obj(fields={})
    theirs["metadata"]["managedFields"][0]["manager"] = "kubectl"
    (step,) = await planned(Apply(CONFIG_MAP, obj()), live=theirs)
    assert (step.action, type(step.error)) == ("refuse", ForeignObjectError)
    (step,) = await planned(Apply(CONFIG_MAP, obj(), adopt="unowned"), live=theirs)
    assert step.action == "change"
    (step,) = await planned(Apply(CONFIG_MAP, obj(a=object())), live=LIVE)
    assert (step.action, type(step.error)) == ("refuse", TypeError)


async def test_a_plan_as_text():
    """Where, but no values: they may be secret."""
    many = {f"k{n:02}": "v" for n in range(25)}
    plan = await planned(
        Delete(CONFIG_MAP, "n", "other"), Apply(DEPLOYMENT, obj("d")), Apply(CONFIG_MAP, obj(a="top secret", **many)),
        live=LIVE,
    )  # fmt: skip
    text = str(plan).splitlines()
    assert text[0] == "0: change  Apply ConfigMap n/x"
    assert text[1] == "     change data.a"
    assert text[21] == "     and 7 more"
    assert text[22:] == ["1: create  Apply Deployment n/d", "2: skip    Delete ConfigMap n/other"]
    assert "secret" not in str(plan)


async def test_a_dry_run_asks_the_server_and_stores_nothing(load: Load) -> None:
    """Defaults and refusals are the server's own."""
    async with Client(await load()) as client:
        where = f"plan-{uuid.uuid4().hex[:8]}"
        await client.create(NAMESPACE, {"metadata": {"name": where}})

        def mine(name: str, **data: str) -> dict[str, object]:
            return {"metadata": {"namespace": where, "name": name}, "data": data}

        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        deployment = {
            "metadata": {"namespace": where, "name": "d"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
        }
        batch = Batch(client)
        (await batch.run([Apply(CONFIG_MAP, mine("x", a="1", b="2"))])).raise_for_errors()
        before = await client.list(CONFIG_MAP, where)
        writes = [
            Apply(CONFIG_MAP, mine("x", a="2")),
            Apply(CONFIG_MAP, mine("new", a="1")),
            Apply(DEPLOYMENT, deployment),
            Update(CONFIG_MAP, mine("gone")),
            Delete(CONFIG_MAP, where, "x"),
        ]
        plan = await batch.plan(writes, dry_run=True)
        steps = {step.key.partition(" ")[0] + step.key[-2:]: step for step in plan}
        assert [(c.op, c.where) for c in steps["Apply/x"].changes] == [("change", "data.a"), ("remove", "data.b")]
        assert steps["Applyew"].action == "create"
        (spec,) = [c.new for c in steps["Apply/d"].changes if c.where == "spec"]
        assert spec["replicas"] == 1, "the server's default"
        assert isinstance(steps["Updatene"].error, NotFoundError)
        assert steps["Delete/x"].action == "delete"
        after = await client.list(CONFIG_MAP, where)
        assert after.items == before.items
