"""A real redis-server on loopback, for tests: empty, private, and gone when the test is over."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Self

from fastcore.testing.kube import find_binary, free_port

READY_S = 30.0


class RedisServer:
    """A redis-server that keeps nothing on disk; `kill` and `start` again to see what a client makes of it.

    Attributes:
        url: "redis://127.0.0.1:PORT/0"; it stays the same over restarts.
        port: the number in it.

    Example:
        with RedisServer() as server:
            client = redis.Redis.from_url(server.url)

    Raises:
        FileNotFoundError: redis-server is not on PATH.
        RuntimeError: it ended, or was not ready in 30 seconds; the message ends with its log.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start the server, empty, and return when it answers."""
        binary = find_binary("redis-server")
        if binary is None:
            raise FileNotFoundError("redis-server is not on PATH")
        self.kill()
        self._folder = tempfile.mkdtemp(prefix="fastcore-redis-")
        with open(f"{self._folder}/log", "wb") as log:
            self._process = subprocess.Popen(
                [
                    binary, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no",
                    "--dir", self._folder, "--daemonize", "no", *self._arguments,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_ready(self._process)
        except BaseException:
            self.kill()
            raise
        return self

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_S
        while process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection,
            ):
                connection.sendall(b"PING\r\n")
                if connection.recv(64):  # an error that asks for a password is an answer too
                    return
            time.sleep(0.01)
        with open(f"{self._folder}/log", encoding="utf-8", errors="replace") as log:
            raise RuntimeError(f"redis-server is not ready (status {process.poll()}):\n{log.read()[-4000:]}")

    def kill(self) -> None:
        """End the server at once, as a crash would; safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def freeze(self) -> None:
        """Stop the process without ending it: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server run on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
