"""One operating system process under measurement: CPU time and peak memory from /proc, alike for every language."""

import asyncio
import contextlib
import os
import signal
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

_TICKS = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What a process has used so far."""

    cpu_s: float
    rss_bytes: int
    peak_bytes: int
    threads: int


class Measured:
    """A child process whose output goes to a log file.

    Args:
        command: program and arguments.
        environment: added to ours.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self._command = command
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._log = ""

    async def __aenter__(self) -> Self:
        descriptor, self._log = tempfile.mkstemp(prefix="fastcore-bench-", suffix=".log")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for us; we end the children in order
            )
        except BaseException:
            os.unlink(self._log)
            raise
        finally:
            os.close(descriptor)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            os.unlink(self._log)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def usage(self) -> Usage:
        """User and system time of all threads, and memory.

        Raises:
            RuntimeError: the process has ended; the message ends with its log.
        """
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
            status = Path(f"/proc/{self.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            fields, status = [], ""
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmHWM" not in lines:  # gone, or a zombie
            raise RuntimeError(f"{self._command[0]} has ended:\n{self.log()}")
        kib = {name: int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM")}
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        return Usage(cpu, kib["VmRSS"] * 1024, kib["VmHWM"] * 1024, int(lines["Threads"]))

    def log(self) -> str:
        """The end of what it printed."""
        return Path(self._log).read_text(encoding="utf-8", errors="replace")[-3000:]

    def send(self, number: signal.Signals) -> None:
        """Send a signal; harmless if the process has ended."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, grace: float = 20.0) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds; harmless if the process has ended."""
        assert self._process is not None
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()
