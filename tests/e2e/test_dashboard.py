"""People look at a running controller: in a browser, and in a terminal."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION
from fastcore.observe import DebugServer, HttpResponse, PerformanceMonitor
from fastcore.observe.dashboard import Column, Overview, Table, add_dashboard
from fastcore.observe.server import HttpServer
from fastcore.reference import crd
from fastcore.reference.processes import Controller, Server
from fastcore.reference.webapp import WEBAPP
from fastcore.testing.plugin import need
from observe.browser import browser

SPEC = {"image": "a:1", "replicas": 2, "config": {"A": "x"}, "ports": [{"name": "http", "port": 8080}]}
ROWS = "Object.fromEntries([...document.querySelectorAll('section')].map(s => [s.querySelector('h2').textContent, \
[...s.querySelectorAll('tbody tr')].map(r => [...r.children].map(c => c.textContent))]))"
WIDE = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
CONTRAST = """(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return Math.min(...[...document.querySelectorAll("a, h1, h2, th, td, #state")].map((one) => {
    let at = one;
    while (getComputedStyle(at).backgroundColor === "rgba(0, 0, 0, 0)") at = at.parentElement;
    const [x, y] = [light(getComputedStyle(one).color), light(getComputedStyle(at).backgroundColor)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  }));
})()"""


@contextlib.asynccontextmanager
async def running(folder: Path, objects: int = 20) -> AsyncIterator[Controller]:
    """The reference controller with some objects in order."""
    async with Server(folder) as server, Client(await ClientConfig.load(str(server.kubeconfig))) as client:
        await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
        async with Controller("--kubeconfig", str(server.kubeconfig), "--log-level", "warning") as controller:
            for i in range(objects):
                metadata = {"name": f"w{i}", "namespace": "default"}
                await client.create(
                    WEBAPP,
                    {"apiVersion": WEBAPP.api_version, "kind": WEBAPP.kind, "metadata": metadata, "spec": SPEC},
                )
            yield controller


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)], ids=["desk", "phone"])
async def test_page_shows_a_running_controller(tmp_path: Path, width: int, dark: bool) -> None:
    """What it does is there, live and readable, on a desk and on a phone in the dark; nothing comes from elsewhere."""
    need("chromium", "chromium")
    async with running(tmp_path) as controller, browser(tmp_path / "profile") as tab:
        await tab.open(f"{controller.url}/debug/", width=width, dark=dark)
        await tab.until("document.querySelectorAll('section').length > 4")
        await tab.until("[...document.querySelectorAll('td')].some(c => /\\d\\/s$/.test(c.textContent))")
        found = await tab.evaluate(ROWS)
        assert {"Controllers", "Queues", "Slowest keys of late", "Informers", "API requests", "Process"} <= set(found)
        assert found["Controllers"][0][0] == "webapp"
        assert any(row[0].startswith("webapp default/default/w") for row in found["Slowest keys of late"])
        assert {row[0] for row in found["Informers"]} == {
            "default configmaps", "default deployments", "default webapps",
        }  # fmt: skip
        assert await tab.evaluate(WIDE), "the page is wider than its window"
        assert await tab.evaluate(CONTRAST) >= 4.5
        assert await tab.evaluate("document.querySelector('svg polyline').getAttribute('points').length") > 0
        await tab.evaluate("document.getElementById('pause').click()")
        assert await tab.evaluate("document.getElementById('state').textContent") == "paused"
        assert tab.problems == []
        assert {url.split("/")[2] for url in tab.urls} == {controller.url.removeprefix("http://")}
        await tab.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000


async def test_names_are_text_whatever_they_say(tmp_path: Path) -> None:
    """A name that looks like a script is shown, not run; and the page says when nobody answers any more."""
    need("chromium", "chromium")
    evil = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    server = HttpServer()
    table = Table(evil, (Column(evil, "text"),), [(evil, (evil,))])
    add_dashboard(server, Overview(None, lambda: [table]), lambda page: page)
    server.route("/metrics", lambda request: HttpResponse(200, b""))
    await server.start()
    try:
        async with browser(tmp_path / "profile") as tab:
            await tab.open(f"http://127.0.0.1:{server.port}/debug/")
            await tab.until("document.querySelector('tbody tr')")
            assert await tab.evaluate("document.querySelector('tbody th').textContent") == evil
            assert await tab.evaluate("document.title") == "fastcore"
            assert await tab.evaluate("document.querySelectorAll('img, section script').length") == 0
            assert tab.problems == []
            await server.stop()
            await tab.until("document.getElementById('state').className === 'lost'")
            assert "no answer" in await tab.evaluate("document.getElementById('state').textContent")
    finally:
        await server.stop()


async def top(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fastcore", "top", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def test_top_prints_a_running_controller(tmp_path: Path) -> None:
    """`--once` for people, `--json` for scripts, with rates between two looks."""
    async with running(tmp_path) as controller:
        once = await top(controller.url, "--once", "--interval", "0.2")
        told = await top(controller.url, "--json", "--interval", "0.2")
        (text, complaints), (data, more) = await once.communicate(), await told.communicate()
    assert (once.returncode, told.returncode, complaints, more) == (0, 0, b"", b"")
    lines = text.decode().splitlines()
    assert lines[0].startswith(f"{controller.url}  up ")
    assert {"Controllers", "Queues", "Informers"} <= {line.strip() for line in lines}
    assert any(line.startswith("webapp") and "/s" in line for line in lines)
    tables = {table["title"]: table for table in json.loads(data)["tables"]}
    [row] = tables["Controllers"]["rows"]
    assert row["values"][0] is not None


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
async def test_top_in_a_terminal_ends_with_ctrl_c(tmp_path: Path) -> None:
    """It draws the screen, survives that the process goes away, and gives the terminal back."""
    import pty

    monitor = PerformanceMonitor()
    server = DebugServer(registry=monitor.registry)
    await server.start()
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fastcore", "top", f"127.0.0.1:{server.port}", "--interval", "0.1",
        stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color", "LINES": "40"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    async def until(text: bytes) -> None:
        nonlocal seen
        async with asyncio.timeout(30):
            while text not in seen:
                seen += await asyncio.to_thread(os.read, ours, 65536)

    try:
        await until(b"this process")
        await server.stop()
        await until(b"trying again; Ctrl-C ends")
        process.send_signal(signal.SIGINT)
        await until(b"\x1b[?1049l")  # back from the other screen
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        os.close(ours)
        await server.stop()


async def test_top_stops_quietly_when_nobody_reads(tmp_path: Path) -> None:
    """`fastcore top --once | head -1` leaves no traceback."""
    async with DebugServer(registry=PerformanceMonitor().registry) as server:
        command = f"{sys.executable} -m fastcore top 127.0.0.1:{server.port} --once --interval 0.1 | head -c 0"
        process = await asyncio.create_subprocess_shell(command, stderr=asyncio.subprocess.PIPE)
        _, complaints = await process.communicate()
    assert complaints == b""
