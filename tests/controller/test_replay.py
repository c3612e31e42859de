"""`fastcore replay`: a dump of a real run is told and found in order, and each broken promise is named."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from controller.loops import ONE, config_map, running, settled, stage
from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.context import Context
from fastcore.controller.flight_checks import Limits, check
from fastcore.controller.flight_log import BadLine, read
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, Request
from fastcore.controller.why import as_text, why
from fastcore.testing.apiserver import APIServer

S = 10**9
KEY = ["blue", "default", "one"]


def replay(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-m", "fastcore", "replay", *arguments]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)


def lines(*records: dict[str, Any]) -> list[str]:
    return [json.dumps({"controller": "loop", "request": KEY, **record}) for record in records]


def start(t: int, id: int, **more: Any) -> dict[str, Any]:
    return {"what": "start", "t": t, "id": id, "causes": [], **more}


def end(t: int, id: int, result: str = "success", delay: float | None = None, **more: Any) -> dict[str, Any]:
    return {"what": "end", "t": t, "id": id, "result": result, "detail": "", "delay": delay, **more}


def write(t: int, ns: int, **more: Any) -> dict[str, Any]:
    return {"what": "request", "t": t, "method": "PATCH", "path": "/x", "status": 200, "ns": ns, **more}


def event(t: int, **more: Any) -> dict[str, Any]:
    said = {"what": "event", "t": t, "kind": "ConfigMap", "event": "updated", "object": KEY[1:]}
    return {**said, "from": "1", "to": "2", "passed": True, **more}


def held(t: int, delay: float) -> dict[str, Any]:
    return {"what": "held", "t": t, "why": "breaker", "delay": delay}


def drop(t: int, why: str, events: int) -> dict[str, Any]:
    return {"what": "drop", "t": t, "why": why, "events": events}


def rules(*records: dict[str, Any], limits: Limits | None = None) -> list[tuple[int, str]]:
    return [(v.line, v.rule) for v in check(read(lines(*records)), limits or Limits())]


async def dump() -> str:
    """A run on a server: three objects, each labelled once, one after two failures with a bad word in the error."""
    left = 2

    async def reconcile(ctx: Context, request: Request) -> None:
        nonlocal left
        if request.name == "web" and left:
            left -= 1
            raise OSError("no\x1b[2Jroute")
        ctx.events.event(ctx.get(CONFIG_MAP), "Normal", "Seen", "it is labelled")  # type: ignore[arg-type]
        labels = {"metadata": {"labels": {"seen": "yes"}}}
        await ctx.client.patch(CONFIG_MAP, request.namespace, request.name, labels)

    async with APIServer(controllers=()) as server, Client(ClientConfig(server.url)) as client:
        manager = Manager(ClientConfig(server.url), handle_signals=False)
        controller = ControllerBuilder(manager, "copier").for_(CONFIG_MAP).complete(reconcile)
        task = asyncio.create_task(manager.run())
        async with asyncio.timeout(30):
            for number, name in enumerate(("early", "web", "quiet"), 1):
                await client.create(CONFIG_MAP, {"metadata": {"name": name, "namespace": "default"}})
                while controller.counters.success < number or controller.counters.active_workers:
                    await asyncio.sleep(0.01)
        manager.stop()
        await task
        return "".join(line + "\n" for line in controller.flight.lines("copier"))


async def test_a_real_run_is_told_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "flight.jsonl"
    path.write_text(await dump(), encoding="utf-8")
    done = await asyncio.to_thread(replay, str(path), "--errors")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "default/default/web in copier\n" in done.stdout
    assert "default/default/quiet in copier\n" not in done.stdout
    assert "error, again in 0.005 s: no\\x1b[2Jroute" in done.stdout
    assert "request  PATCH /api/v1/namespaces/default/configmaps/web: 200 in " in done.stdout
    assert "because of ConfigMap created" in done.stdout
    assert "promises broken: none" in done.stdout
    assert "/events" not in done.stdout, "what is sent in the background is no part of a turn"
    done = await asyncio.to_thread(replay, "-", "--json", "--key", "default/quiet", said=path.read_text("utf-8"))
    found = json.loads(done.stdout)
    assert list(found["keys"]) == ["default/default/quiet in copier"]
    assert found["summary"]["results"]["error"] == 2
    assert found["summary"]["writes"] == found["summary"]["results"]["success"]
    done = await asyncio.to_thread(replay, str(path), "--key", "nobody")
    assert done.returncode == 2
    assert "no key 'nobody'; there are default/default/" in done.stderr


def test_the_first_broken_promise_is_named_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "flight.jsonl"
    path.write_text("\n".join(lines(start(1, 1), end(2, 1), write(S, 3), end(S + 1, 7))), encoding="utf-8")
    done = replay(str(path))
    assert done.returncode == 1
    assert done.stderr == (
        "fastcore replay: line 3: write after the end: blue/default/one in loop: "
        "PATCH /x is answered 1000.0 ms after its turn\n"
    )
    assert "promises broken: 2" in done.stdout


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([start(1, 1), start(2, 2)], [(2, "one at a time")]),
        ([start(1, 1), end(2, 2)], [(2, "one at a time")]),
        ([end(1, 1), end(2, 1)], [(2, "one at a time")]),
        ([start(1, 1), held(2, 1.0)], [(2, "one at a time")]),
        ([start(5, 1), write(8, 4), end(9, 1)], [(2, "write after the end")]),
        ([start(2, 1), end(1, 1)], [(2, "order")]),
        ([end(1, 1, "error", 0.005), end(2, 2, "error", 0.01)], [(2, "one at a time")]),
        ([start(1, 1), end(1, 1, "error", 0.005), start(2, 2), end(2, 2, "panic", 0.005)], [(4, "back-off")]),
        ([start(1, 1), end(1, 1, "timeout")], [(2, "back-off")]),
        ([event(1), start(70 * S, 1, request=["", "", "x"])], [(1, "passed over")]),
        ([start(0, 1), end(1, 1, "requeue_after", 5.0), start(70 * S, 2, request=["", "", "x"])], [(2, "passed over")]),
        ([held(1, 5.0), start(70 * S, 2, request=["", "", "x"])], [(1, "passed over")]),
    ],
)
def test_each_broken_promise_is_found(records: list[dict[str, Any]], found: list[tuple[int, str]]) -> None:
    """CT-4"""
    assert rules(*records) == found


@pytest.mark.parametrize(
    "records",
    [
        [end(1, 1), start(2, 2)],  # the dump begins in the middle of a turn, and ends in one
        [write(1, 1), end(2, 1)],
        [start(1, 1), write(3, 1, method="GET"), end(4, 1), write(5, 1, method="GET")],
        [start(1, 1), start(2, 2, controller="other"), start(3, 3, request=["", "", "x"])],
        [start(1, 1), end(2, 1, "error", 0.005), start(3, 2), end(4, 2), start(5, 3), end(6, 3, "error", 0.005)],
        [event(1), start(50 * S, 1, request=["", "", "x"])],
        [start(1, 1), event(2), end(3, 1), drop(4, "own write", 1), start(70 * S, 2, request=["", "", "x"])],
        [event(1), drop(2, "another shard", 0), start(70 * S, 2, request=["", "", "x"])],
        [event(1, request=None, passed=False), start(70 * S, 2)],
        [event(1)],
    ],
)
def test_what_is_in_order_is_left_alone(records: list[dict[str, Any]]) -> None:
    assert rules(*records) == []


def test_the_limits_can_be_told() -> None:
    failing = [start(1, 1), end(2, 1, "error", 0.0), start(3, 2), end(4, 2, "error", 0.0)]
    assert [line for line, _ in rules(*failing)] == [2, 4]
    assert rules(*failing, limits=Limits(base=0)) == []
    assert rules(event(1), start(70 * S, 1, request=["", "", "x"]), limits=Limits(patience=100)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"controller": "x", "t": 1', "no JSON"),
        ("[]", "is this the answer of /debug/flight"),
        ('{"controller": "x", "what": "landing"}', "is this the answer of /debug/flight"),
        ('{"controller": "x", "what": "start", "t": 1, "request": ["a", "b", "c"], "id": 1}', "needs 'causes'"),
        (lines(start(-1, 1))[0], "'t' cannot be -1"),
        (lines(held(1, float("inf")))[0], "'delay' cannot be inf"),
        (lines(start(1, 1, request=None))[0], "'request' cannot be None"),
        (lines(event(1, object=["x"]))[0], "'object' cannot be"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str) -> None:
    with pytest.raises(BadLine, match="line 3: ") as raised:
        list(read([lines(start(1, 1))[0], "\n", line]))
    assert said in str(raised.value)


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("404\n", encoding="utf-8")
    for name, said in (("page", "line 1: no record"), ("missing", "No such file")):
        done = replay(str(tmp_path / name))
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr


async def test_own_events_and_keys_of_others_are_told() -> None:
    """WR-9: what came of each event is in the dump, and in `why` whose the key is."""

    async def reconcile(ctx: Context, request: Request) -> None:
        return None

    on = stage(reconcile)
    on.primary.show(config_map(2))
    mine = False
    on.controller.owns = lambda request: mine
    assert why(on.controller, ONE)["ours"] is False
    assert "shard: another replica's" in as_text(why(on.controller, ONE))
    async with running(on.controller):
        await settled()
        assert why(on.controller, ONE)["verdict"] == "belongs to another replica's shard: ask that one"
        mine = True
        assert why(on.controller, ONE)["ours"] is True
    records: Iterable[Any] = read(on.controller.flight.lines("loop"))
    assert [(r.what, r.says.get("why")) for r in records] == [("event", None), ("drop", "another shard")]
