"""Logs: levels that change while the process runs, fields, what is held back, what is dropped and said to be."""

import asyncio
import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.observe import HttpRequest
from fastcore.observe.logs import (
    ConsoleFormatter,
    JsonFormatter,
    Levels,
    Sampler,
    bound,
    configure,
    get_logger,
    parse_level,
    request_level,
)
from fastcore.observe.logs.pages import loglevel_page
from fastcore.testing.clock import VirtualClock

S = 1_000_000_000


class FakeTimer:
    """Calls back when a test says so."""

    made: list["FakeTimer"] = []  # noqa: RUF012

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self.seconds, self.function = seconds, function
        self.daemon = self.started = self.cancelled = False
        self.made.append(self)

    def start(self) -> None:
        self.started = True

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def shop() -> Iterator[logging.Logger]:
    logger = logging.getLogger("test.shop")
    yield logger
    logger.setLevel(logging.NOTSET)
    FakeTimer.made.clear()


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What `configure` was told to write to; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# --- Levels


def test_a_change_counts_for_the_next_call_in_every_thread(shop: logging.Logger) -> None:
    """LG1: a thread that has asked before sees the change without being told."""
    levels = Levels()
    child = logging.getLogger("test.shop.cart")
    seen: list[bool] = []
    asked, changed = threading.Event(), threading.Event()

    def look() -> None:
        seen.append(child.isEnabledFor(logging.DEBUG))
        asked.set()
        assert changed.wait(10)
        seen.append(child.isEnabledFor(logging.DEBUG))

    thread = threading.Thread(target=look)
    thread.start()
    assert asked.wait(10)
    levels.set("debug", "test.shop")
    changed.set()
    thread.join(10)
    assert seen == [False, True]
    levels.close()
    assert not child.isEnabledFor(logging.DEBUG)


def test_a_change_for_a_while_reverts_by_itself(shop: logging.Logger) -> None:
    """LG1: the level before the first of several changes comes back, once the last one's time is over."""
    shop.setLevel(logging.ERROR)
    clock = VirtualClock()
    levels = Levels(clock=clock, timer=FakeTimer)
    levels.set("debug", "test.shop", seconds=60)
    levels.set("info", "test.shop", seconds=30)
    first, second = FakeTimer.made
    assert first.cancelled
    assert (second.seconds, second.daemon, second.started) == (30, True, True)
    clock.advance(10)
    assert next(one for one in levels.shown() if one.name == "test.shop") == ("test.shop", "info", "info", 20.0)
    first.function()  # it was cancelled just too late
    assert shop.level == logging.INFO
    second.function()
    assert shop.level == logging.ERROR
    levels.reset("test.shop")
    assert shop.level == logging.ERROR


def test_a_real_timer_reverts(shop: logging.Logger) -> None:
    """LG1: without anybody's help."""
    over = threading.Event()

    class Shop(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if "as before" in record.getMessage():
                over.set()
            return True

    watcher = Shop()
    observe = logging.getLogger("fastcore.observe")
    observe.addFilter(watcher)
    levels = Levels()
    try:
        levels.set("info", "fastcore.observe")
        levels.set("debug", "test.shop", seconds=0.01)
        assert over.wait(10)
        assert shop.level == logging.NOTSET
    finally:
        observe.removeFilter(watcher)
        levels.close()


def test_a_level_that_somebody_else_set_meanwhile_stays(shop: logging.Logger) -> None:
    levels = Levels()
    levels.set("debug", "test.shop")
    shop.setLevel(logging.CRITICAL)
    levels.reset("test.shop")
    assert shop.level == logging.CRITICAL


@pytest.mark.parametrize(
    ("level", "logger", "seconds", "message"),
    [
        ("loud", "", None, "a level is critical, error, warning, info, debug, or a number from 1 to 50, not 'loud'"),
        (0, "", None, "not 0"),
        (True, "", None, "not True"),
        ("debug", "test.shpo", None, "there is no logger 'test.shpo'; did you mean test.shop"),
        ("debug", "test.shop", 0, "seconds must be above 0"),
        ("debug", "test.shop", float("nan"), "seconds must be above 0"),
        ("debug", "test.shop", 100_000, "at most 86400, not 100000"),
    ],
)
def test_what_cannot_be_set_is_refused(
    shop: logging.Logger, level: Any, logger: str, seconds: float | None, message: str
) -> None:
    levels = Levels()
    before = logging.root.level
    with pytest.raises(ValueError, match=message):
        levels.set(level, logger, seconds=seconds)
    assert (logging.root.level, shop.level) == (before, logging.NOTSET)
    assert "test.shpo" not in logging.root.manager.loggerDict


def test_changed_loggers_are_bounded(shop: logging.Logger) -> None:
    levels = Levels()
    for i in range(100):
        logging.getLogger(f"test.many.{i}")
        levels.set("info", f"test.many.{i}")
    with pytest.raises(ValueError, match="the levels of 100 loggers are changed already"):
        levels.set("info", "test.shop")
    levels.close()
    assert all(logging.getLogger(f"test.many.{i}").level == logging.NOTSET for i in range(100))


def test_names_of_levels_are_read_in_any_case() -> None:
    assert [parse_level(level) for level in ("DEBUG", "Info", "warn", "35", 20)] == [10, 20, 30, 35, 20]


async def test_a_level_for_one_request(shop: logging.Logger) -> None:
    """LG1: only what runs in its context is let through, tasks that it begins included; other tasks are not."""
    inside, outside = asyncio.Event(), asyncio.Event()

    async def other() -> bool:
        await inside.wait()
        found = shop.isEnabledFor(logging.DEBUG)
        outside.set()
        return found

    async def part() -> bool:
        return shop.isEnabledFor(logging.DEBUG)

    async def request() -> list[bool]:
        with request_level("debug"):
            inside.set()
            await outside.wait()
            late = logging.getLogger("test.shop.late").isEnabledFor(logging.DEBUG)
            return [shop.isEnabledFor(logging.DEBUG), await asyncio.create_task(part()), late]

    found = await asyncio.gather(other(), request())
    assert found == [False, [True, True, True]]
    assert not shop.isEnabledFor(logging.DEBUG)


def test_a_request_does_not_wake_what_is_disabled(shop: logging.Logger) -> None:
    with request_level("debug"):
        logging.disable(logging.INFO)
        try:
            assert not shop.isEnabledFor(logging.INFO)
        finally:
            logging.disable(logging.NOTSET)
        shop.disabled = True
        try:
            assert not shop.isEnabledFor(logging.CRITICAL)
        finally:
            shop.disabled = False


# --- The page


def ask(levels: Levels, query: str = "", method: str = "GET", **headers: str) -> tuple[int, str]:
    parts = dict(part.split("=") for part in query.split("&") if part)
    answer = loglevel_page(levels)(
        HttpRequest(method, "/debug/loglevel", {name: [value] for name, value in parts.items()}, headers)
    )
    return answer.status, answer.body.decode()


def test_page_shows_and_changes(shop: logging.Logger) -> None:
    """LG1: ten minutes unless something else is asked for; `seconds=0` is for good, `reset` puts back."""
    levels = Levels(timer=FakeTimer)
    status, body = ask(levels, "level=debug&logger=test.shop", "PUT")
    assert status == 200
    assert shop.level == logging.DEBUG
    assert FakeTimer.made[0].seconds == 600
    [shown] = [one for one in json.loads(body) if one["name"] == "test.shop"]
    assert shown["level"] == shown["effective"] == "debug"
    assert 599 < shown["until"] <= 600
    ask(levels, "level=info&logger=test.shop&seconds=0", "PUT")
    assert len(FakeTimer.made) == 1
    assert json.loads(ask(levels)[1])[0]["name"] == ""
    ask(levels, "level=reset&logger=test.shop", "PUT")
    assert shop.level == logging.NOTSET


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", r"say which: PUT /debug/loglevel\?level=debug"),
        ("level=debug&logger=nobody", "there is no logger 'nobody'"),
        ("level=debug&seconds=soon", "seconds must be a number, not 'soon'"),
        ("level=debug&log=x", "not log"),
    ],
)
def test_page_says_what_is_wrong(query: str, message: str) -> None:
    status, body = ask(Levels(), query, "PUT")
    assert status == 400
    assert re.search(message, body)


def test_page_changes_nothing_for_another_site(shop: logging.Logger) -> None:
    levels = Levels()
    status, _ = ask(levels, "level=debug&logger=test.shop", "PUT", **{"sec-fetch-site": "cross-site"})
    assert (status, shop.level) == (403, logging.NOTSET)


# --- Fields and forms


def test_disabled_calls_evaluate_nothing(shop: logging.Logger) -> None:
    """LG1: neither fields nor their functions."""
    log = get_logger("test.shop").bind(a=lambda: pytest.fail("evaluated"))
    log.debug("nothing", b=lambda: pytest.fail("evaluated"))
    assert not shop.isEnabledFor(logging.DEBUG)


def test_json_lines(stream: io.StringIO) -> None:
    """Each record is one line, whatever is in it; names that records have themselves do not collide."""
    configure("debug", form="json", stream=stream)
    log = get_logger("test.shop").bind(shop=7)
    with bound(request="r1"):
        log.info("sold\nagain", item="a\u2028b", price=float("inf"), time=3, when=lambda: 1, who=lambda: 1 / 0)
        logging.getLogger("test.plain").warning("100%% of %s", "it", extra={"n": {1: (2, {3})}})
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("failed")
    sold, plain, failed = lines(stream)
    assert sold["time"].endswith("Z")
    del sold["time"]
    assert sold == {
        "level": "info", "logger": "test.shop", "message": "sold\nagain", "request": "r1", "shop": 7,
        "item": "a\u2028b", "price": "inf", "field_time": 3, "when": 1, "who": "<ZeroDivisionError>",
    }  # fmt: skip
    assert (plain["message"], plain["request"], plain["n"]) == ("100% of it", "r1", {"1": [2, [3]]})
    assert failed["level"] == "error"
    assert "KeyError: 'k'" in failed["error"]
    assert "request" not in failed


def test_the_caller_of_a_field_logger_is_the_one_that_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        get_logger("test.shop").info("here")
    assert caplog.records[0].funcName == "test_the_caller_of_a_field_logger_is_the_one_that_logs"


def test_secrets_are_held_back(stream: io.StringIO) -> None:
    """By name at any depth, and what looks like credentials in texts."""
    configure("debug", form="json", stream=stream)
    get_logger("test.shop").info(
        "GET with Bearer abcdef123456",
        password="hunter2", headers={"Authorization": "x1x1x1", "set-cookie": "x2x2x2", "Accept": "*/*"},
        db_api_key="x3x3x3", deep=[{"client.secret": "x4x4x4"}], url="https://me:x5x5x5@host/path", tokens_left=3,
    )  # fmt: skip
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "abcdef123456" not in text
    assert not any(f"x{i}x{i}" in text for i in range(1, 6))
    [line] = lines(stream)
    assert line["message"] == "GET with Bearer ***"
    assert line["url"] == "https://***@host/path"
    assert (line["tokens_left"], line["headers"]["Accept"]) == (3, "*/*")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=4))
def test_every_record_stays_on_its_line(message: str, fields: dict[str, str]) -> None:
    """Nothing that is logged can pass for another record, in either form."""
    record = logging.makeLogRecord({"name": "a\nb", "levelname": "INFO", "msg": "%s", "args": (message,)})
    record.fastcore_fields = {**fields, "bad": Unprintable()}
    found = json.loads(JsonFormatter().format(record))
    assert found["bad"] == "<Unprintable: RuntimeError>"
    text = ConsoleFormatter().format(record)
    assert len(text.splitlines()) == 1


def test_console_form(stream: io.StringIO) -> None:
    configure("info", stream=stream)
    configure("info", stream=stream)  # replaces itself
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        get_logger("test.shop").exception("no sale", items=2, reason="out of stock", empty="")
    first, *rest = stream.getvalue().splitlines()
    assert first.partition(" ")[2] == 'ERROR test.shop: no sale items=2 reason="out of stock" empty=""'
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1] == "    second"


def test_long_texts_are_cut() -> None:
    record = logging.makeLogRecord({"levelname": "INFO", "msg": "x" * 20_000})
    assert json.loads(JsonFormatter().format(record))["message"].endswith("x... (10000 characters more)")


@pytest.mark.parametrize(("arguments", "message"), [(("loud",), "a level is"), (("info", "xml"), "form must be")])
def test_bad_configuration_is_refused(stream: io.StringIO, arguments: tuple[str, ...], message: str) -> None:
    before = list(logging.getLogger().handlers)
    with pytest.raises(ValueError, match=message):
        configure(arguments[0], form=arguments[-1] if len(arguments) > 1 else "json")  # type: ignore[arg-type]
    assert logging.getLogger().handlers == before


# --- Sampling


def test_sampling_says_how_many_were_dropped(stream: io.StringIO) -> None:
    """LG2: on the next record of the same message, and in all."""
    clock = VirtualClock()
    sampler = Sampler(first=2, thereafter=3, period=1.0, clock=clock)
    configure("info", form="json", stream=stream, sampler=sampler)
    log = get_logger("test.shop")
    for i in range(8):
        log.info("disk is slow", i=i)
        log.info("another", i=i)
    log.error("disk is slow")
    clock.advance(1)
    log.info("disk is slow", i=8)
    slow = [(line.get("i"), line.get("dropped")) for line in lines(stream) if line["message"] == "disk is slow"]
    assert slow == [(0, None), (1, None), (4, 2), (7, 2), (None, None), (8, None)]
    assert sampler.dropped == 8


def test_sampling_tells_loggers_levels_and_messages_apart() -> None:
    sampler = Sampler(first=1, thereafter=0, clock=VirtualClock())
    make = logging.makeLogRecord
    records = [
        make({"name": name, "levelno": level, "msg": text, "args": (i,)})
        for i, (name, level, text) in enumerate(
            [("a", 20, "x %d"), ("b", 20, "x %d"), ("a", 30, "x %d"), ("a", 20, "y %d"), ("a", 20, "x %d")]
        )
    ]
    assert [sampler.filter(record) for record in records] == [True, True, True, True, False]


def test_sampling_is_bounded() -> None:
    """LG2: what was forgotten begins anew; the total stays."""
    sampler = Sampler(first=1, thereafter=0, max_messages=10, clock=VirtualClock())
    record = logging.makeLogRecord
    for i in range(1000):
        assert sampler.filter(record({"msg": f"message {i}", "levelno": 20}))
    assert not sampler.filter(record({"msg": "message 999", "levelno": 20}))
    assert sampler.filter(record({"msg": "message 1", "levelno": 20}))
    assert sampler.dropped == 1


@pytest.mark.parametrize("options", [{"first": -1}, {"thereafter": -1}, {"period": 0}, {"max_messages": 0}])
def test_bad_sampling_is_refused(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(ValueError, match=name):
        Sampler(**options)
