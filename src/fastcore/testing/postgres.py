"""A real PostgreSQL on loopback, for tests: private, and gone when the session is over."""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from fastcore.testing.kube import find_binary, free_port

READY_S = 60.0
_USER = "postgres"  # of the system, whom the server runs as if we are root: it refuses that


def postgres_binary(name: str) -> str | None:
    """Where a program of PostgreSQL is: on PATH, or where Debian puts those of the newest version."""
    found = find_binary(name)
    if found is None:
        places = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda at: int(Path(at).parts[-3]))
        found = places[-1] if places else None
    return found


class PostgresServer:
    """A PostgreSQL with one database; `kill` and `start` again to see what a client makes of it: its data stays.

    Attributes:
        url: "postgresql://postgres@127.0.0.1:PORT/postgres"; it stays the same over restarts.

    Example:
        with PostgresServer() as server:
            connection = psycopg.connect(server.url)

    Raises:
        FileNotFoundError: initdb or postgres cannot be found.
        RuntimeError: it ended, or was not ready in a minute; the message ends with its log.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the server and return when it answers."""
        self.kill()
        try:
            if not self._folder:
                self._make()
            with open(f"{self._folder}/log", "ab") as log:
                self._process = subprocess.Popen(
                    [
                        *self._as_user(), _binary("postgres"), "-D", f"{self._folder}/data", "-p", str(self.port),
                        "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}",
                        "-c", "fsync=off", "-c", "max_connections=60",
                    ],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                    cwd=self._folder,
                )  # fmt: skip
            self._wait_ready(self._process)
        except BaseException:
            self.close()
            raise
        return self

    def _make(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="fastcore-postgres-")
        if self._as_user():
            shutil.chown(self._folder, _USER)
        done = subprocess.run(
            [*self._as_user(), _binary("initdb"), "-D", f"{self._folder}/data", "-U", _USER, "-A", "trust", "-N",
             "-E", "UTF8", "--locale=C.UTF-8"],
            capture_output=True, text=True, check=False, cwd=self._folder,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    @staticmethod
    def _as_user() -> list[str]:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            return []
        return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]

    def _wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + READY_S
        ready = _binary("pg_isready")
        while process.poll() is None and time.monotonic() < deadline:
            asked = subprocess.run([ready, "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)
            if asked.returncode == 0:
                return
            time.sleep(0.02)
        log = Path(self._folder, "log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"PostgreSQL is not ready (status {process.poll()}):\n{log[-4000:]}")

    def kill(self) -> None:
        """End the server at once, as a crash would; safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            Path(self._folder, "data", "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """End the server and remove its data."""
        self.kill()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _binary(name: str) -> str:
    found = postgres_binary(name)
    if found is None:
        raise FileNotFoundError(f"{name} is neither on PATH nor in /usr/lib/postgresql/*/bin")
    return found
