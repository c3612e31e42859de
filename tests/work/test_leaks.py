"""The leak detector and its fixture."""

import asyncio
import sys
import threading

import pytest

from fastcore.work import LeakDetector, LeakError

pytest_plugins = ["pytester"]


def test_thread_is_named_with_its_birth() -> None:
    """TM-6: a thread that stays is reported with the stack that started it, after 20 looks."""
    release, pauses = threading.Event(), []

    def start_poller() -> threading.Thread:
        thread = threading.Thread(target=release.wait, args=(10,), name="poller")
        thread.start()
        return thread

    with pytest.raises(LeakError, match="1 left behind") as found, LeakDetector(sleep=pauses.append):
        thread = start_poller()
    release.set()
    thread.join(10)
    assert (found.value.leaked[0].kind, found.value.leaked[0].name) == ("thread", "poller")
    assert "in start_poller" in found.value.leaked[0].stack
    assert len(pauses) == 20
    assert max(pauses) == 0.1
    assert pauses[0] == 1e-6


def test_what_is_on_its_way_out_is_no_leak() -> None:
    """TM-6: it looks again before it reports."""
    release, looks = threading.Event(), []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            release.set()
            thread.join(10)

    with LeakDetector(sleep=pause):
        thread = threading.Thread(target=release.wait, args=(10,))
        thread.start()
    assert len(looks) == 3


async def test_task_is_named_with_its_birth() -> None:
    """TM-6: so is a task; what was there before, and what is ignored by name, is not."""
    before = asyncio.create_task(asyncio.Event().wait())
    kept: list[asyncio.Task[bool]] = []

    def begin(name: str) -> None:
        kept.append(asyncio.create_task(asyncio.Event().wait(), name=name))

    detector = LeakDetector(ignore=["metrics-*"], tries=3)
    async with detector:
        pass
    await detector.__aenter__()
    begin("watch")
    begin("metrics-1")
    with pytest.raises(LeakError) as found:
        await detector.__aexit__(None, None, None)
    assert [(s.kind, s.name) for s in found.value.leaked] == [("task", "watch")]
    assert "in begin" in found.value.leaked[0].stack
    for task in (before, *kept):
        task.cancel()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_eager_task_is_found() -> None:
    """TM-6: tasks that began eagerly are seen as well."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    with pytest.raises(LeakError, match="'eager'") as found:
        async with LeakDetector(tries=3):
            task = asyncio.create_task(asyncio.Event().wait(), name="eager")
    assert "test_eager_task_is_found" in found.value.leaked[0].stack
    task.cancel()


async def test_the_scope_s_own_error_wins() -> None:
    """TM-6: a scope that fails reports its failure, not what the failure left behind."""
    kept: list[asyncio.Task[bool]] = []

    async def fail() -> None:
        async with LeakDetector():
            kept.append(asyncio.create_task(asyncio.Event().wait()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    kept[0].cancel()


def test_nothing_is_recorded_outside() -> None:
    """TM-6: the hooks go with the last scope."""
    start, create = threading.Thread.start, asyncio.BaseEventLoop.create_task
    with LeakDetector(), LeakDetector():
        assert threading.Thread.start is not start
    assert threading.Thread.start is start
    assert asyncio.BaseEventLoop.create_task is create


def test_fixture(pytester: pytest.Pytester) -> None:
    """TM-6: the fixture fails the test that leaves a task or thread behind, and no other."""
    pytester.makepyfile(
        """
        import asyncio, threading

        release = threading.Event()

        def test_thread(no_leaks):
            threading.Thread(target=release.wait, args=(10,), name="poller", daemon=True).start()

        async def test_task(no_leaks):
            asyncio.create_task(asyncio.sleep(100), name="watch")

        async def test_clean(no_leaks):
            await asyncio.to_thread(release.set)
        """
    )
    pytester.makeconftest(
        """
        import asyncio, inspect, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            if inspect.iscoroutinefunction(pyfuncitem.obj):
                asyncio.run(pyfuncitem.obj(**{n: pyfuncitem.funcargs[n] for n in pyfuncitem._fixtureinfo.argnames}))
                return True
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*LeakError*", "*poller*"])
    result.stdout.fnmatch_lines(["*task 'watch'*"])
