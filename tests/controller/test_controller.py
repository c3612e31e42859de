"""The reconcile loop: what becomes of a key after each kind of end (CT-1 to CT-10)."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastcore.controller.context import Context, ReconcileTimeout, Scope
from fastcore.controller.controller import CacheSyncTimeout, Controller
from fastcore.controller.counters import RECONCILE_BUCKETS, Histogram
from fastcore.controller.errors import NotFoundError
from fastcore.controller.handlers import Watch, itself
from fastcore.controller.invocation import Reconciler
from fastcore.controller.model import CONFIG_MAP, SECRET, Request, Result, TerminalError
from fastcore.controller.options import Options, default_limiter
from fastcore.controller.predicates import Predicate
from fastcore.errors import WaitTimeout

ONE, TWO, THREE = (Request("blue", "default", name) for name in ("one", "two", "three"))


class NoDelay:
    """A limiter that counts failures and never waits."""

    def __init__(self) -> None:
        self.failures: dict[Any, int] = {}
        self.forgotten: list[Any] = []

    def when(self, item: Any) -> float:
        self.failures[item] = self.failures.get(item, 0) + 1
        return 0.0

    def forget(self, item: Any) -> None:
        self.forgotten.append(item)
        self.failures.pop(item, None)

    def retries(self, item: Any) -> int:
        return self.failures.get(item, 0)


class StillInformer:
    """An informer that nothing ever happens to."""

    def __init__(self, problem: Exception | None = None) -> None:
        self._problem = problem
        self.handlers: list[Any] = []

    def add_handler(self, handler: Any) -> None:
        self.handlers.append(handler)

    async def wait_synced(self, timeout: float) -> None:
        if self._problem is not None:
            raise self._problem


def scope(informer: StillInformer | None = None) -> Scope:
    class Blue:
        name = "blue"
        client = None

    return Scope(Blue(), {CONFIG_MAP: informer or StillInformer()}, None, "fastcore")  # type: ignore[dict-item,arg-type]


def make(reconciler: Reconciler, informer: StillInformer | None = None, **options: Any) -> Controller:
    options = {"limiter": NoDelay(), "max_concurrent_reconciles": 2, "shutdown_grace": 5.0, **options}
    watches = (Watch(CONFIG_MAP, itself, Predicate()),)
    controller = Controller("loop", CONFIG_MAP, watches, reconciler, Options(**options))
    controller.connect({"blue": scope(informer)})
    return controller


@asynccontextmanager
async def running(controller: Controller) -> Any:
    task = asyncio.create_task(controller.run())
    try:
        yield task
    finally:
        await controller.stop()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds; the test's own timeout ends it otherwise."""
    while not condition():
        await asyncio.sleep(0)


def recorder(*results: Any) -> tuple[Callable[[Context, Request], Awaitable[Any]], list[Request]]:
    """A reconciler that returns or raises one of `results` after another, then None; and what it was called with."""
    calls: list[Request] = []
    left = list(results)

    async def reconcile(ctx: Context, request: Request) -> Any:
        calls.append(request)
        result = left.pop(0) if left else None
        if isinstance(result, BaseException):
            raise result
        return result

    return reconcile, calls


async def test_reconciles_a_key_once_however_often_it_was_queued() -> None:
    """CT-1."""
    reconcile, calls = recorder()
    controller = make(reconcile)
    for _ in range(5):
        controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert calls == [ONE]


async def test_causes_are_hints_of_what_happened_meanwhile() -> None:
    """CT-1: causes of several events are merged, and gone at a retry."""
    seen: list[tuple[str, ...]] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        seen.append(ctx.causes)
        if len(seen) == 1:
            raise OSError("no luck")

    informer = StillInformer()
    controller = make(reconcile, informer)
    (handler,) = informer.handlers
    obj = {"metadata": {"namespace": "default", "name": "one", "resourceVersion": "1"}}
    handler.on_add(obj, True)
    handler.on_update(obj, {"metadata": {**obj["metadata"], "resourceVersion": "2"}})
    async with running(controller):
        await until(lambda: len(seen) == 2)
    assert seen == [("ConfigMap created", "ConfigMap updated"), ()]


async def test_an_error_is_retried_with_backoff() -> None:
    """CT-2."""
    reconcile, calls = recorder(OSError("down"), OSError("down"))
    limiter = NoDelay()
    controller = make(reconcile, limiter=limiter)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert calls == [ONE] * 3
    assert controller.counters.error == 2
    assert controller.counters.panics == 0
    assert limiter.forgotten == [ONE]
    assert controller.queue.stats().retries == 0  # the limiter said 0 s: an add without delay


def test_the_default_limiter_is_client_go_s() -> None:
    """Defect 9: 5 ms doubling to 1000 s a key, 10 a second with bursts of 100 over all."""
    limiter = default_limiter()
    assert [limiter.when(ONE) for _ in range(3)] == [0.005, 0.01, 0.02]
    for _ in range(20):
        limiter.when(ONE)
    assert limiter.when(ONE) == 1000.0
    delays = [limiter.when(name) for name in range(200)]
    assert delays[0] == 0.005
    assert delays[-1] > 5


async def test_a_controller_without_a_limiter_gets_one_of_its_own() -> None:
    controller = make(recorder(OSError("down"))[0], limiter=None)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert controller.queue.stats().retries == 1


async def test_a_terminal_error_is_counted_but_not_retried() -> None:
    """CT-2."""
    reconcile, calls = recorder(TerminalError("the spec makes no sense"))
    controller = make(reconcile)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.terminal_errors == 1)
        controller.enqueue(TWO)
        await until(lambda: controller.counters.success == 1)
    assert calls == [ONE, TWO]
    assert controller.counters.error == 1


async def test_requeue_after_forgets_the_failures_and_comes_back() -> None:
    """CT-3."""
    reconcile, calls = recorder(OSError("down"), Result(requeue_after=0.001))
    limiter = NoDelay()
    controller = make(reconcile, limiter=limiter)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert calls == [ONE] * 3
    assert controller.counters.requeue_after == 1
    assert limiter.failures == {}
    assert controller.queue.stats().retries == 1


async def test_never_two_reconciles_of_one_key_but_as_many_keys_as_allowed() -> None:
    """CT-4."""
    active: set[Request] = set()
    most = 0

    async def reconcile(ctx: Context, request: Request) -> None:
        nonlocal most
        assert request not in active
        active.add(request)
        most = max(most, len(active))
        controller.enqueue(request) if calls[request] < 3 else None
        calls[request] += 1
        for _ in range(3):
            await asyncio.sleep(0)
        active.discard(request)

    calls = dict.fromkeys((ONE, TWO, THREE), 0)
    controller = make(reconcile, max_concurrent_reconciles=2)
    for request in calls:
        controller.enqueue(request)
    async with running(controller):
        await until(lambda: controller.counters.success == 12)
    assert controller.counters.error == 0
    assert most == 2
    assert set(calls.values()) == {4}


@pytest.mark.parametrize("bug", [AttributeError("None has no x"), KeyError("spec"), AssertionError(), 1 / 3])
async def test_a_bug_is_counted_as_panic_and_retried(bug: Any, caplog: pytest.LogCaptureFixture) -> None:
    """CT-5; to return something else than a Result is a bug, too."""
    reconcile, calls = recorder(bug)
    controller = make(reconcile)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert (controller.counters.panics, controller.counters.error, len(calls)) == (1, 1, 2)
    assert "bug in the reconciler" in caplog.text
    assert "Traceback" in caplog.text


async def test_what_the_api_answers_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    """CT-5: NotFoundError is a LookupError, but the world's fault; its message says it all."""
    controller = make(recorder(NotFoundError("webapps is gone", status=404))[0])
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert controller.counters.panics == 0
    assert "404: webapps is gone" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_bug_ends_the_controller_if_told_to() -> None:
    """CT-5: recover_panic=False."""
    controller = make(recorder(KeyError("spec"))[0], recover_panic=False)
    controller.enqueue(ONE)
    async with running(controller) as task:
        with pytest.raises(KeyError):
            await task
    assert controller.counters.panics == 1


async def test_a_timeout_cancels_the_reconcile_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """CT-6."""
    cancelled: list[Request] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        if not cancelled:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(request)
                raise

    controller = make(reconcile, reconcile_timeout=0.001)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert cancelled == [ONE]
    assert (controller.counters.timeouts, controller.counters.error) == (1, 1)
    assert "took longer than 0.001 s" in caplog.text


async def test_another_timeout_is_an_ordinary_error() -> None:
    """CT-6: only its own deadline counts."""
    controller = make(recorder(TimeoutError("the database was slow"))[0], reconcile_timeout=60.0)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert (controller.counters.timeouts, controller.counters.error) == (0, 1)


async def test_what_the_reconciler_awaits_may_be_cancelled_without_losing_the_worker() -> None:
    async def reconcile(ctx: Context, request: Request) -> None:
        if controller.counters.error == 0:
            inner = asyncio.get_running_loop().create_future()
            inner.cancel()
            await inner

    controller = make(reconcile, max_concurrent_reconciles=1)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert controller.counters.error == 1


async def test_a_cache_that_does_not_sync_fails_the_start() -> None:
    """CT-7: the message says which and why."""
    reconcile, calls = recorder()
    problem = WaitTimeout("the informer of configmaps in blue did not sync within 0.01 s; last error: 403")
    controller = make(reconcile, StillInformer(problem), cache_sync_timeout=0.01)
    controller.enqueue(ONE)
    with pytest.raises(CacheSyncTimeout, match=r"'loop'.*configmaps in blue.*403"):
        await controller.run()
    await controller.stop()
    assert calls == []


async def test_every_reconcile_has_an_id_of_its_own_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    """CT-9."""

    async def reconcile(ctx: Context, request: Request) -> None:
        ctx.log.info("at work on %s", request.name)

    controller = make(reconcile)
    controller.enqueue(ONE)
    controller.enqueue(TWO)
    with caplog.at_level(logging.INFO, "fastcore.reconcile"):
        async with running(controller):
            await until(lambda: controller.counters.success == 2)
    records = [r for r in caplog.records if r.name == "fastcore.reconcile"]
    assert len({r.reconcile_id for r in records}) == 2  # type: ignore[attr-defined]
    assert all(r.reconcile_id in r.getMessage() for r in records)  # type: ignore[attr-defined]
    assert records[0].getMessage().startswith("[loop blue/default/one ")


async def test_stop_lets_running_reconciles_end_and_starts_no_more() -> None:
    """CT-10."""
    started, release = asyncio.Event(), asyncio.Event()
    ended: list[Request] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        started.set()
        await release.wait()
        ended.append(request)

    controller = make(reconcile, max_concurrent_reconciles=1)
    controller.enqueue(ONE)
    controller.enqueue(TWO)
    task = asyncio.create_task(controller.run())
    await started.wait()
    stopping = asyncio.create_task(controller.stop())
    await asyncio.sleep(0)
    release.set()
    assert await stopping == []
    await task
    assert ended == [ONE]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stop_holds_back_a_key_that_is_on_its_way_to_a_worker() -> None:
    """CT-10: a waiting worker has been given the key, but has not run since."""
    reconcile, calls = recorder()
    controller = make(reconcile, max_concurrent_reconciles=1)
    task = asyncio.create_task(controller.run())
    for _ in range(10):
        await asyncio.sleep(0)
    controller.enqueue(ONE)
    await controller.stop()
    await task
    assert calls == []


async def test_stop_cancels_what_does_not_end_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """CT-10."""
    started = asyncio.Event()

    async def reconcile(ctx: Context, request: Request) -> None:
        started.set()
        await asyncio.Event().wait()

    controller = make(reconcile, shutdown_grace=0.0)
    controller.enqueue(ONE)
    task = asyncio.create_task(controller.run())
    await started.wait()
    assert await controller.stop() == [ONE]
    await task
    assert str(ONE) in caplog.text
    assert controller.counters.active_workers == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_plain_function_runs_in_a_bounded_pool_of_threads() -> None:
    loop_thread = threading.get_ident()
    lock, active, most = threading.Lock(), 0, 0
    both = threading.Barrier(2, timeout=30)

    def reconcile(ctx: Context, request: Request) -> Result | None:
        nonlocal active, most
        assert threading.get_ident() != loop_thread
        with lock:
            active += 1
            most = max(most, active)
        both.wait()
        with lock:
            active -= 1
        return None

    controller = make(reconcile, max_concurrent_reconciles=2)
    for i in range(6):
        controller.enqueue(Request("blue", "default", str(i)))
    async with running(controller):
        await until(lambda: controller.counters.success == 6)
    assert most == 2


async def test_a_thread_reaches_the_loop_through_wait() -> None:
    answers = []

    async def ask() -> str:
        return threading.current_thread().name

    def reconcile(ctx: Context, request: Request) -> None:
        answers.append((threading.current_thread().name, ctx.wait(ask())))

    controller = make(reconcile)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    ((own, other),) = answers
    assert own.startswith("reconcile-loop")
    assert other == threading.main_thread().name


async def test_wait_is_refused_on_the_loop_itself() -> None:
    """It would wait for itself for ever."""
    caught = []

    async def reconcile(ctx: Context, request: Request) -> None:
        try:
            ctx.wait(asyncio.sleep(0))
        except RuntimeError as error:
            caught.append(str(error))

    controller = make(reconcile)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert "use await" in caught[0]


async def test_a_thread_gives_up_at_its_deadline_when_it_looks() -> None:
    """CT-6 for threads: cooperative."""

    def reconcile(ctx: Context, request: Request) -> None:
        if controller.counters.timeouts == 0:
            assert ctx.deadline is not None
            ctx.deadline -= 3600
        ctx.check_deadline()

    controller = make(reconcile, reconcile_timeout=1800.0)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert controller.counters.timeouts == 1
    assert issubclass(ReconcileTimeout, TimeoutError)


async def test_a_coroutine_from_a_plain_function_is_a_bug() -> None:
    """Such as a lambda around an async function: it would never be awaited."""

    async def inner() -> None:
        raise AssertionError("never runs")

    controller = make(lambda ctx, request: inner() if controller.counters.error == 0 else None)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert controller.counters.panics == 1


async def test_an_object_with_an_async_call_is_a_reconciler() -> None:
    class Greeter:
        async def __call__(self, ctx: Context, request: Request) -> None:
            assert ctx.deadline is None
            asyncio.get_running_loop()

    controller = make(Greeter())
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert controller.counters.error == 0


async def test_a_request_for_an_unknown_workspace_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    reconcile, calls = recorder()
    controller = make(reconcile)
    controller.enqueue(Request("red", "default", "one"))
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert calls == [ONE]
    assert "red/default/one" in caplog.text


async def test_reading_what_is_not_watched_is_a_bug_with_advice() -> None:
    async def reconcile(ctx: Context, request: Request) -> None:
        if controller.counters.error == 0:
            ctx.get(SECRET)

    controller = make(reconcile)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert controller.counters.panics == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_concurrent_reconciles": 0}, "max_concurrent_reconciles must be >= 1, not 0"),
        ({"reconcile_timeout": 0}, "reconcile_timeout must be > 0"),
        ({"cache_sync_timeout": float("nan")}, "cache_sync_timeout must be > 0"),
        ({"shutdown_grace": -1}, "shutdown_grace must be >= 0"),
    ],
)
def test_options_name_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_options_default_to_the_processors_and_to_controller_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options()
    assert 1 <= options.max_concurrent_reconciles <= 10
    assert (options.recover_panic, options.cache_sync_timeout, options.shutdown_grace) == (True, 120.0, 30.0)


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram(RECONCILE_BUCKETS)
    for value in (0.0, 0.005, 0.0051, 60.0, 61.0):
        histogram.observe(value)
    assert len(RECONCILE_BUCKETS) == 40
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[39], histogram.counts[40]) == (2, 1, 1, 1)
    assert histogram.sum == pytest.approx(121.0101)


async def test_a_plain_reconciler_that_runs_out_of_items_fails_and_does_not_hang_its_key() -> None:
    """CT-5: StopIteration, as of `next()` without a default, cannot be the result of a future."""
    calls: list[Request] = []

    def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request)
        if len(calls) == 1:
            next(iter(()))

    controller = make(reconcile)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    assert calls == [ONE, ONE]
    assert controller.counters.error == 1


async def test_causes_of_a_workspace_that_is_not_ours_are_not_kept() -> None:
    """Nothing grows with keys that are dropped."""
    reconcile, calls = recorder()
    controller = make(reconcile)
    controller.enqueue(Request("elsewhere", "default", "one"), cause=1)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1 and not len(controller.queue))
    assert calls == [ONE]
    assert not controller._causes


async def test_the_log_says_why_each_write_of_a_batch_failed(caplog: pytest.LogCaptureFixture) -> None:
    """An operator must see what is wrong, not only how much."""
    failed = ExceptionGroup("2 of 2 writes failed", [NotFoundError("no such namespace"), NotFoundError("no such kind")])
    reconcile, _ = recorder(failed)
    controller = make(reconcile)
    controller.enqueue(ONE)
    async with running(controller):
        await until(lambda: controller.counters.success == 1)
    [record] = [r for r in caplog.records if "reconcile failed" in r.message]
    assert "no such namespace; no such kind" in record.message
