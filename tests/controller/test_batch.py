"""Batches: order, bounds, a result each, and nothing sent that would change nothing."""

# ruff: noqa: SIM117 - the client is made inside the server

import asyncio
import uuid
from contextlib import asynccontextmanager

import pytest

from controller.scripted import FakeSleep, ScriptedServer, answer, failure, silence, until
from fastcore.controller.batch import Apply, Batch, BatchError, Create, Delete, DependencyError, Patch, Update
from fastcore.controller.client import JSON_PATCH, Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import AlreadyExistsError, ConflictError, NotFoundError, ServerError
from fastcore.controller.informer import Informer
from fastcore.controller.model import CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION, DEPLOYMENT, NAMESPACE, Kind
from fastcore.controller.workspace import Workspace
from fastcore.errors import WaitTimeout
from fastcore.testing.clock import VirtualClock

OK = answer(200, {"kind": "ConfigMap", "metadata": {"namespace": "n", "name": "x"}})


def named(name, **data):
    return {"metadata": {"namespace": "n", "name": name}, "data": data}


@asynccontextmanager
async def batching(*steps, **options):
    async with ScriptedServer(list(steps)) as server:
        async with Client(server.config) as client:
            batch = Batch(client, **options)
            batch.server = server
            yield batch


async def test_every_write_asks_what_it_should():
    writes = [
        Delete(CONFIG_MAP, "n", "e", uid="u", propagation="Orphan"),
        Update(DEPLOYMENT, named("c"), subresource="status"),
        Patch(CONFIG_MAP, "n", "d", [{"op": "test"}], JSON_PATCH),
        Apply(DEPLOYMENT, named("b"), live={"metadata": {}}, force=False, subresource="status"),
        Create(CONFIG_MAP, named("a")),
    ]
    async with batching(OK, limit=1, field_manager="me") as batch:
        results = await batch.run(writes)
    core, apps = "/api/v1/namespaces/n/configmaps", "/apis/apps/v1/namespaces/n/deployments"
    assert [(r.method, r.path, r.query) for r in batch.server.received] == [
        ("POST", core, {"fieldManager": "me"}),
        ("PATCH", f"{core}/d", {"fieldManager": "me"}),
        ("PUT", f"{apps}/c/status", {"fieldManager": "me"}),
        ("PATCH", f"{apps}/b/status", {"fieldManager": "me"}),
        ("DELETE", f"{core}/e", {}),
    ]
    assert batch.server.received[-1].json["preconditions"] == {"uid": "u"}
    assert [r.write for r in results] == writes, "results come in the order of the writes"
    assert [r.key for r in results] == [
        "Delete ConfigMap n/e",
        "Update Deployment n/c status",
        "Patch ConfigMap n/d",
        "Apply Deployment n/b status",
        "Create ConfigMap n/a",
    ]
    assert results.sent == 5
    assert results.raise_for_errors() is results


async def test_creations_then_changes_then_deletions():
    """Defect 16: the groups run in declared order, each after the one before it, whatever failed there."""
    writes = [Delete(CONFIG_MAP, "n", f"d{n}") for n in range(3)]
    writes += [Update(CONFIG_MAP, named(f"u{n}")) for n in range(3)]
    writes += [Apply(CONFIG_MAP, named(f"c{n}")) for n in range(3)]

    async def first_group_fails(connection, request):
        await (failure(500) if request.method == "PATCH" else OK)(connection, request)

    async with batching(first_group_fails) as batch:
        results = await batch.run(writes)
    assert [r.method for r in batch.server.received] == ["PATCH"] * 3 + ["PUT"] * 3 + ["DELETE"] * 3
    assert [r.error is None for r in results] == [True] * 6 + [False] * 3


async def test_at_most_so_many_in_flight_and_no_task_for_each():
    """Defect 12: the limit comes before the task, so 200 writes are not 200 tasks."""
    tasks = 0

    async def slow(connection, request):
        nonlocal tasks
        tasks = max(tasks, len(asyncio.all_tasks()))
        await asyncio.sleep(0.001)
        await OK(connection, request)

    async with batching(slow) as batch:
        results = await batch.run([Create(CONFIG_MAP, named(f"c{n}")) for n in range(200)])
    assert results.sent == 200
    assert batch.server.most_in_flight == 5
    assert tasks <= 5 + 5 + 1, "workers, the server's connections, the test"


async def test_runs_share_the_limit():
    async def slow(connection, request):
        await asyncio.sleep(0.001)
        await OK(connection, request)

    async with batching(slow, limit=3) as batch:
        await asyncio.gather(*[batch.run([Create(CONFIG_MAP, named(f"{m}-{n}")) for n in range(9)]) for m in range(4)])
    assert batch.server.most_in_flight == 3


async def test_each_error_keeps_its_identity():
    """Defects 14 and 15: AlreadyExists is not swallowed, and errors are a group with the keys of their items."""
    steps = {"a": failure(409, "AlreadyExists"), "b": failure(409, "Conflict"), "c": failure(404), "d": OK}

    async def by_name(connection, request):
        step = failure(404) if request.method == "GET" else steps[(request.json["metadata"])["name"]]
        await step(connection, request)

    async with batching(by_name) as batch:
        results = await batch.run([Create(CONFIG_MAP, named(n)) for n in "abcd"])
    assert [type(r.error) for r in results] == [AlreadyExistsError, ConflictError, NotFoundError, type(None)]
    with pytest.raises(BatchError) as caught:
        results.raise_for_errors()
    group = caught.value
    assert isinstance(group, ExceptionGroup)
    assert {k: type(e) for k, e in group.errors.items()} == {
        "Create ConfigMap n/a": AlreadyExistsError,
        "Create ConfigMap n/b": ConflictError,
        "Create ConfigMap n/c": NotFoundError,
    }
    assert "3 of 4 writes failed: Create ConfigMap n/a, " in str(group)
    assert group.exceptions[0].__notes__ == ["while doing: Create ConfigMap n/a"]
    conflicts, others = group.split(ConflictError)
    assert len(conflicts.exceptions) == 1
    assert len(others.exceptions) == 2


async def test_two_failures_of_one_key_are_both_reported():
    async with batching(failure(500)) as batch:
        results = await batch.run([Delete(CONFIG_MAP, "n", "a"), Delete(CONFIG_MAP, "n", "a")])
    with pytest.raises(BatchError) as caught:
        results.raise_for_errors()
    assert sorted(caught.value.errors) == ["Delete ConfigMap n/a", "Delete ConfigMap n/a (write 1)"]


async def test_a_write_that_cannot_even_be_made_is_a_result_too():
    """Defect 17: what goes wrong in an item stays in the item."""
    writes = [Create(CONFIG_MAP, {}), Create(CONFIG_MAP, named("a", x=object())), Create(CONFIG_MAP, named("b"))]
    async with batching(OK) as batch:
        results = await batch.run(writes)
    assert [type(r.error) for r in results] == [KeyError, TypeError, type(None)]
    assert results[2].error is None
    assert results[0].key == "Create ConfigMap *"


async def test_what_observes_the_answers_may_fail():
    """Defect 17."""
    seen = []

    def observe(kind, obj):
        seen.append((kind, obj["metadata"]["name"]))
        raise RuntimeError("bad observer")

    async with batching(OK, observe=observe) as batch:
        results = await batch.run([Create(CONFIG_MAP, named("x")), Delete(CONFIG_MAP, "n", "x")])
    assert seen == [(CONFIG_MAP, "x")], "a deletion's answer is no state to observe"
    assert isinstance(results[0].error, RuntimeError)
    assert results[1].error is None


async def test_cancelling_stops_what_is_in_flight_and_starts_nothing_more():
    """Defect 13: waiting for a place ends with the cancellation; the places are free afterwards."""
    async with batching(silence, silence, OK, limit=2) as batch:
        task = asyncio.create_task(batch.run([Create(CONFIG_MAP, named(f"c{n}")) for n in range(9)]))
        await until(lambda: len(batch.server.received) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(batch.server.received) == 2
        assert (await batch.run([Create(CONFIG_MAP, named("x"))])).sent == 1


async def test_an_empty_batch():
    async with batching(OK) as batch:
        results = await batch.run([])
    assert list(results.raise_for_errors()) == []
    assert batch.server.received == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit must be >= 1, not 0"),
        ({"field_manager": ""}, "a field manager"),
        ({"adopt": "sometimes"}, 'adopt must be "never", "unowned" or "always", not \'sometimes\''),
        ({"established_timeout": 0}, "established_timeout must be > 0 seconds, not 0"),
    ],
)
async def test_arguments_are_checked(options, message):
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        with pytest.raises(ValueError, match=message):
            Batch(client, **options)


# --- What need not be sent


def live(fields, **data):
    entry = {"manager": "fastcore", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}
    meta = {"namespace": "n", "name": "x", "resourceVersion": "5", "managedFields": [entry]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.mark.parametrize(
    ("held", "needed"),
    [
        (live({"f:data": {"f:a": {}}}, a="1"), False),
        (live({"f:data": {"f:a": {}}}, a="1", foreign="2"), False),
        (live({"f:data": {"f:a": {}}}, a="2"), True),
        (live({"f:data": {"f:a": {}, "f:b": {}}}, a="1", b="2"), True),
        ({**live({}, a="1"), "metadata": {"namespace": "n", "name": "x"}}, True),
        (None, True),
    ],
)
async def test_an_apply_is_sent_only_if_it_would_change_something(held, needed):
    """WR-2, WR-3: live says it all and nothing that we own has left: 0 requests. A value, or a member too many: 1."""
    async with batching(OK, adopt="always") as batch:
        results = await batch.run([Apply(CONFIG_MAP, named("x", a="1"), live=held)])
    assert results[0].skipped is not needed
    assert len(batch.server.received) == results.sent == int(needed)
    if not needed:
        assert results[0].object is held
        assert results[0].error is None


@pytest.mark.kube
async def test_on_a_real_server(kube_server):
    """WR-2, WR-3: what is in order costs nothing; drift, and a member that has left, cost one request each."""
    config = await ClientConfig.load(kube_server.kubeconfig)
    async with Client(config) as client:
        informer = Informer(Workspace("w", client, "default"), DEPLOYMENT)
        task = asyncio.create_task(informer.run())
        await informer.wait_synced(10)
        batch = Batch(client, observe=lambda kind, obj: informer.observe(obj))

        def desired(**annotations):
            container = {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "500m"}},
            }
            return {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"namespace": "default", "name": "batch", "annotations": annotations},
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
                },
            }

        async def apply(obj):
            result = await batch.run([Apply(DEPLOYMENT, obj, live=informer.get("default", "batch"))])
            return result.raise_for_errors().sent

        assert await apply(desired(x="1", y="2")) == 1
        assert await apply(desired(x="1", y="2")) == 0, "our own answer was observed"
        assert await apply(desired(x="1")) == 1, "y has left"
        assert await apply(desired(x="1")) == 0
        await client.patch(DEPLOYMENT, "default", "batch", {"spec": {"replicas": 7}})
        await until(lambda: informer.get("default", "batch")["spec"]["replicas"] == 7)
        assert await apply(desired(x="1")) == 1, "drift is repaired"
        assert informer.get("default", "batch")["spec"]["replicas"] == 2
        await client.patch(DEPLOYMENT, "default", "batch", {"metadata": {"labels": {"foreign": "1"}}})
        await until(lambda: "labels" in informer.get("default", "batch")["metadata"])
        assert await apply(desired(x="1")) == 0, "what others add is theirs"
        results = await batch.run([Delete(DEPLOYMENT, "default", "batch", uid="another")])
        assert isinstance(results[0].error, ConflictError)
        (await batch.run([Delete(DEPLOYMENT, "default", "batch")])).raise_for_errors()
        await until(lambda: informer.get("default", "batch") is None)
        await informer.stop()
        await task


async def test_server_errors_are_results():
    async with batching(failure(503)) as batch:
        (result,) = await batch.run([Create(CONFIG_MAP, named("a"))])
    assert isinstance(result.error, ServerError)
    assert result.object is None


# --- What needs what


async def test_what_needs_a_failed_write_is_not_sent():
    """An owner, and what is named: the error says which, and why."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u"}
    deployment = Create(DEPLOYMENT, named("d"))
    owned = Create(CONFIG_MAP, {"metadata": {"namespace": "n", "name": "owned", "ownerReferences": [owner]}})
    after = Create(CONFIG_MAP, named("after"), after=(owned,))
    free = Create(CONFIG_MAP, named("free"))

    async def no_deployments(connection, request):
        await (failure(500) if "deployments" in request.path else OK)(connection, request)

    async with batching(no_deployments) as batch:
        results = await batch.run([after, owned, deployment, free])
    assert [r.json["metadata"]["name"] for r in batch.server.received] == ["free", "d"]
    assert [type(r.error) for r in results] == [DependencyError, DependencyError, ServerError, type(None)]
    assert str(results[1].error).startswith(
        "Create ConfigMap n/owned was not sent, because it needs Create Deployment n/d, which failed: 500"
    )
    assert results[0].error.__cause__ is results[1].error


async def test_writes_to_one_object_see_each_other_s_answers():
    """The second apply is not needed, once the first has been answered; a repeat is not sent at all."""
    answered = answer(200, live({"f:data": {"f:a": {}}}, a="1"))
    one, more = Apply(CONFIG_MAP, named("x", a="1")), Apply(CONFIG_MAP, named("x", a="1"), force=False)
    async with batching(answered) as batch:
        results = await batch.run([one, one, more])
    assert [r.skipped for r in results] == [False, True, True]
    assert (results.sent, len(batch.server.received)) == (1, 1)
    async with batching(failure(500), OK) as batch:
        results = await batch.run([one, one, Delete(CONFIG_MAP, "n", "x"), one])
    assert [r.error is None for r in results] == [False, False, True, True]
    assert [r.method for r in batch.server.received] == ["PATCH", "DELETE", "PATCH"]
    assert batch.server.received[2].json["metadata"]["resourceVersion"] == "1", "what was deleted is made anew"


async def test_the_cache_is_asked_for_what_is_not_given():
    """WR-3: an apply without `live` costs no request either, if an informer has the object."""
    held = live({"f:data": {"f:a": {}}}, a="1")

    def lookup(kind, namespace, name):
        assert (namespace, name) == ("n", "x")
        return {CONFIG_MAP: held}[kind]

    async with batching(OK, lookup=lookup) as batch:
        results = await batch.run([Apply(CONFIG_MAP, named("x", a="1")), Apply(DEPLOYMENT, named("x"))])
    assert [r.skipped for r in results] == [True, False]
    assert [r.method for r in batch.server.received] == ["PATCH"]


WIDGET = Kind("batch.example.org", "v1", "Widget", "widgets")


def definition(kind, plural="widgets"):
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": "widget", "kind": kind.kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


async def test_a_definition_and_its_objects_in_one_run(load):
    """The objects wait until the server serves their kind, and so does the namespace that they live in."""
    async with Client(await load()) as client:
        where = f"batch-{uuid.uuid4().hex[:8]}"
        widgets = [
            Apply(WIDGET, {"metadata": {"namespace": where, "name": f"w{n}"}, "spec": {"x": n}}) for n in range(3)
        ]
        crd, namespace = (
            Apply(CUSTOM_RESOURCE_DEFINITION, definition(WIDGET)),
            Apply(NAMESPACE, {"metadata": {"name": where}}),
        )
        batch = Batch(client)
        results = (await batch.run([*widgets, crd, namespace])).raise_for_errors()
        assert results.sent == 5
        plan = await batch.plan([*widgets, crd, namespace], dry_run=True)
        assert {step.action for step in plan} == {"skip"}, plan
        ends = [Delete(WIDGET, where, "w0"), Delete(CUSTOM_RESOURCE_DEFINITION, None, "widgets.batch.example.org")]
        (await batch.run(ends[::-1])).raise_for_errors()


async def test_a_definition_that_is_never_established():
    """Its objects are not sent; the wait is bounded, and the message has the conditions."""
    crd = {
        **definition(WIDGET),
        "status": {"conditions": [{"type": "NamesAccepted", "status": "False", "message": "taken"}]},
    }
    sleep, clock = FakeSleep(), VirtualClock()

    async def passing(seconds):
        clock.advance(seconds)
        await sleep(seconds)

    async with batching(answer(200, crd), sleep=passing, clock=clock, established_timeout=3) as batch:
        widget = Apply(WIDGET, {"metadata": {"namespace": "n", "name": "w"}})
        results = await batch.run([widget, Apply(CUSTOM_RESOURCE_DEFINITION, definition(WIDGET), adopt="always")])
    assert results[1].error is None
    assert isinstance(results[0].error, DependencyError)
    assert isinstance(results[0].error.__cause__, WaitTimeout)
    assert "not established within 3 s: NamesAccepted=False taken" in str(results[0].error)
    assert sleep.waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1]
    assert {r.method for r in batch.server.received[1:]} == {"GET"}


async def test_a_definition_that_was_there_costs_no_look():
    crd = {**definition(WIDGET), "status": {"conditions": [{"type": "Established", "status": "True"}]}}
    async with batching(answer(200, crd), OK) as batch:
        widget = Apply(WIDGET, {"metadata": {"namespace": "n", "name": "w"}})
        (await batch.run([widget, Apply(CUSTOM_RESOURCE_DEFINITION, definition(WIDGET))])).raise_for_errors()
    assert [r.method for r in batch.server.received] == ["PATCH", "PATCH"]
