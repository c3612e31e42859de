"""The processes of the demo: an embedded API server, and the controller with its cost read from its own metrics."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families

from fastcore.testing.kube import free_port

READS = frozenset({"GET", "WATCH", "LIST"})


class Cost(NamedTuple):
    """What a controller has used so far, by its own metrics."""

    cpu_s: float
    peak_bytes: int
    requests: int
    writes: int
    cache_hits: int
    cache_misses: int

    def since(self, earlier: "Cost") -> "Cost":
        """What was used between `earlier` and this; the peak stays the peak."""
        return Cost(
            self.cpu_s - earlier.cpu_s,
            self.peak_bytes,
            self.requests - earlier.requests,
            self.writes - earlier.writes,
            self.cache_hits - earlier.cache_hits,
            self.cache_misses - earlier.cache_misses,
        )


class Process:
    """A child `python -m fastcore ...` whose output goes to a log file.

    Args:
        ready: the URL that answers 200 as soon as the child can be used; entering waits for it.
        arguments: the words after `fastcore`.

    Raises:
        RuntimeError: the child ended or was not ready in time; the message ends with its log.
    """

    def __init__(self, ready: str, *arguments: str) -> None:
        self._ready = ready
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._log = (-1, "")

    async def __aenter__(self) -> Self:
        self._log = tempfile.mkstemp(prefix="fastcore-", suffix=".log")
        try:
            await self._start()
        except BaseException:  # also Ctrl-C while it starts
            await self.__aexit__()
            raise
        return self

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fastcore", *self._arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=self._log[0], stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C in a terminal is for us: we end the children, in order.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )  # fmt: skip
        await self.wait_for(self._ready)

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._process is not None:
                await self.stop()
        finally:
            os.close(self._log[0])
            os.unlink(self._log[1])

    async def stop(self, grace: float = 15.0) -> int:
        """End it as an operator would, with SIGTERM; its exit status. It is killed after `grace` seconds."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise RuntimeError(f"fastcore {self._arguments[0]} ignored SIGTERM for {grace} s\n{self.log()}") from None

    def log(self) -> str:
        """The end of what it printed."""
        return Path(self._log[1]).read_text(encoding="utf-8", errors="replace")[-4000:]

    async def wait_for(self, url: str, seconds: float = 30.0) -> None:
        """Return once `url` answers 200."""
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._process.returncode is None:
                    if await asyncio.to_thread(fetch, url) is not None:
                        return
                    await asyncio.sleep(0.02)
        state = f"ended with status {self._process.returncode}" if self._process.returncode is not None else "not ready"
        raise RuntimeError(f"fastcore {self._arguments[0]} {state} after {seconds} s at most:\n{self.log()}")


class Server(Process):
    """The embedded API server; `url` and `kubeconfig` say how to reach it.

    Args:
        folder: where its kubeconfig is written.
        without: built-in controllers that are switched off.
    """

    def __init__(self, folder: Path, *, without: tuple[str, ...] = ()) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.kubeconfig = folder / "embedded.kubeconfig"
        off = [word for name in without for word in ("--without", name)]
        super().__init__(
            f"{self.url}/readyz", "apiserver", "--port", str(port), "--kubeconfig", str(self.kubeconfig), *off
        )


class Controller(Process):
    """`fastcore run` with its metrics on a loopback port of its own."""

    def __init__(self, *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__(f"{self.url}/readyz", "run", "--metrics-addr", self.url.removeprefix("http://"), *arguments)

    async def cost(self) -> Cost:
        """What it has used so far."""
        text = await asyncio.to_thread(fetch, f"{self.url}/metrics")
        if text is None:
            raise RuntimeError(f"the controller does not answer any more:\n{self.log()}")
        requests = writes = hits = misses = 0
        single = {"process_cpu_seconds_total": 0.0, "process_peak_resident_memory_bytes": 0.0}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "rest_client_requests_total":
                    requests += int(sample.value)
                    writes += int(sample.value) if sample.labels["method"] not in READS else 0
                elif sample.name == "cache_requests_total":
                    hits += int(sample.value) if sample.labels["result"] == "hit" else 0
                    misses += int(sample.value) if sample.labels["result"] == "miss" else 0
                elif sample.name in single:
                    single[sample.name] = sample.value
        cpu_s, peak = single.values()
        return Cost(cpu_s, int(peak), requests, writes, hits, misses)

    async def settled(self, quiet_s: float = 0.4, deadline_s: float = 30.0) -> Cost:
        """Its cost once it has sent no write for `quiet_s`: trailing requests belong to the phase that caused them.

        Raises:
            RuntimeError: it was still writing at the deadline.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        cost = await self.cost()
        while True:
            await asyncio.sleep(quiet_s)
            now = await self.cost()
            if now.writes == cost.writes:
                return now
            if loop.time() > end:
                raise RuntimeError(f"the controller still wrote after {deadline_s} s: it does not come to rest")
            cost = now


def fetch(url: str) -> str | None:
    """The text at `url`, None if nobody answers within 5 seconds; blocking."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
