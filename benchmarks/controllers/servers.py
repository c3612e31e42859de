"""The API servers that controllers are measured on, and what they were asked, read from the server's own audit log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from benchmarks.controllers.process import Measured

from fastcore.testing.kube import KubeServer, free_port

DRIVER = "fastcore-bench-driver"
_OTHERS = (DRIVER, "kube-apiserver")  # a real server talks to itself, too
_READS = ("get", "list", "watch")


class _Status(msgspec.Struct):
    code: int = 0


class _Place(msgspec.Struct):
    resource: str = ""


class _Event(msgspec.Struct):
    stage: str
    verb: str
    user_agent: str = msgspec.field(name="userAgent", default="")
    status: _Status = msgspec.field(name="responseStatus", default_factory=_Status)
    place: _Place = msgspec.field(name="objectRef", default_factory=_Place)


class Asked(NamedTuple):
    """What a controller has asked so far."""

    writes: int
    reads: int
    refused: int

    def since(self, earlier: "Asked") -> "Asked":
        """What was asked between `earlier` and this."""
        return Asked(*(now - before for now, before in zip(self, earlier, strict=True)))


class Requests:
    """Counts the requests of everybody but the driver, by following the audit log.

    A watch counts as a read when it starts. Requests for leases, events and discovery count as well.

    Attributes:
        watched: plurals of what has been watched since `forget_watches`.
        watches: how many are running.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self._decoder = msgspec.json.Decoder(_Event)
        self._asked = Asked(0, 0, 0)
        self.watched: set[str] = set()
        self.watches = 0

    def read(self) -> Asked:
        """What was asked until now."""
        writes, reads, refused = self._asked
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = self._rest + file.read()
            self._offset = file.tell()
        *lines, self._rest = text.split(b"\n")
        for line in lines:
            event = self._decoder.decode(line)
            if event.user_agent.startswith(_OTHERS):
                continue
            if event.verb == "watch":
                if event.status.code >= 400:
                    refused += 1  # it never ran
                elif event.stage == "ResponseComplete":
                    self.watches -= 1
                else:
                    reads += 1
                    self.watches += 1
                    self.watched.add(event.place.resource)
            elif event.stage == "ResponseComplete":
                writes += event.verb not in _READS
                reads += event.verb in _READS
                refused += event.status.code >= 400
        self._asked = Asked(writes, reads, refused)
        return self._asked

    def forget_watches(self) -> None:
        """From now on `watched` holds what is watched anew."""
        self.watched = set()


class BenchServer(NamedTuple):
    """A running server."""

    name: str
    kubeconfig: str
    audit_log: Path


@contextlib.asynccontextmanager
async def embedded(folder: Path, python: str) -> AsyncIterator[BenchServer]:
    """The embedded server in a process of its own: plain HTTP, nobody but the measured controller changes anything."""
    kubeconfig, log, port = folder / "embedded.kubeconfig", folder / "embedded.audit", free_port()
    command = [python, "-m", "fastcore", "apiserver", "--port", str(port), "--kubeconfig", str(kubeconfig)]
    command += ["--audit-log", str(log), "--without", "deployments", "--history", "200000"]
    async with Measured(command) as process:
        async with asyncio.timeout(30):
            while not kubeconfig.exists() or not kubeconfig.read_text().endswith("}"):
                process.usage()  # says so if it has ended
                await asyncio.sleep(0.05)
        yield BenchServer("embedded, HTTP", str(kubeconfig), log)


@contextlib.asynccontextmanager
async def real(folder: Path, python: str) -> AsyncIterator[BenchServer]:
    """kube-apiserver with etcd over TLS."""
    server = KubeServer(audit=True)
    await asyncio.to_thread(server.start)
    try:
        yield BenchServer("kube-apiserver, TLS", server.kubeconfig, Path(server.audit_log))
    finally:
        await asyncio.to_thread(server.stop)


SERVERS = {"embedded": embedded, "real": real}
