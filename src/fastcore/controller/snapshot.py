"""Files from which informers begin where an earlier process ended, instead of reading everything from the server.

A file holds the objects of one collection as they are cached, and the resourceVersion up to which they are complete.
It is an advance, not an authority: a reflector takes it only once the server has told all that happened since, and
reads everything as ever if the file is damaged, of another collection, or too old for the server's history.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from fastcore.controller.client import Client
from fastcore.controller.errors import ApiError
from fastcore.controller.model import NAMESPACE, Kind

log = logging.getLogger(__name__)

_FORMAT = "fastcore-snapshot-1"
_DIGEST = 32
_LENGTH = 4
_SECRETS = frozenset({("", "Secret")})
_SERVER_S = 10.0

Identity = dict[str, str]
"""Whose objects they are: server, namespace, kind, selectors, and what of each object is kept."""


class Saved(NamedTuple):
    """Objects as JSON, and the resourceVersion up to which they are complete."""

    objects: Sequence[bytes]
    revision: str


class _Header(msgspec.Struct):
    format: str
    identity: Identity
    revision: str
    objects: int


_encode_header = msgspec.json.Encoder(order="deterministic").encode
_decode_header = msgspec.json.Decoder(_Header).decode


class SnapshotFile:
    """One collection's file: a header line, the objects with their lengths, and a BLAKE2b digest of all of it.

    Args:
        path: the file; only its owner may read it.
        identity: what it has to be of.

    Complexity: O(bytes). Both methods block: call them in a thread.
    Thread safety: one at a time.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self._identity = identity

    def read(self) -> Saved | None:
        """What was saved; None if there is nothing, or nothing that can be trusted, which is logged."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the snapshot %s cannot be read, so the server is asked for everything: %s", self.path, error)
            return None
        try:
            return _parsed(data, self._identity)
        except ValueError as error:
            log.warning("the snapshot %s is of no use, so the server is asked for everything: %s", self.path, error)
            return None

    def write(self, saved: Saved) -> None:
        """Put `saved` in the place of what is there; a crash leaves one or the other, whole.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        digest = hashlib.blake2b(digest_size=_DIGEST)
        header = _encode_header(_Header(_FORMAT, self._identity, saved.revision, len(saved.objects))) + b"\n"
        handle, temporary = tempfile.mkstemp(prefix=self.path.name, suffix=".new", dir=self.path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                for piece in _pieces(header, saved.objects):
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.digest())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(self.path.parent)


class Snapshots:
    """The snapshots of one program, in a directory of its own.

    Secrets are never written. What else is cached is: keep the directory where only this program can read it.

    Args:
        directory: made if it is missing; nobody else may write to it.
        period: seconds between two writes of a collection that has changed, >= 1; it is also written at the end.

    Raises:
        ValueError: `period` is less than 1 s, or others may write to the directory.
        OSError: it cannot be made.

    Thread safety: belongs to one event loop.
    """

    def __init__(self, directory: str | Path, *, period: float = 300.0) -> None:
        if not period >= 1:
            raise ValueError(f"the period of snapshots must be >= 1 second, not {period!r}")
        self.directory = Path(directory)
        self.period = period
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and self.directory.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError(f"others may write to {self.directory}, so snapshots in it could be forged: chmod go-w it")
        self._servers: dict[str, str] = {}

    def holds(self, kind: Kind) -> bool:
        """Whether objects of `kind` may be in them."""
        return (kind.group, kind.kind) not in _SECRETS

    async def file(self, client: Client, kind: Kind, namespace: str | None, kept: str) -> SnapshotFile:
        """The file of a collection.

        Args:
            client: reaches the server.
            kind: of its objects.
            namespace: where they are; None is everywhere.
            kept: selectors, and what else decides what is cached.
        """
        identity = {
            "server": f"{client.config.address}{client.prefix}",
            "kind": f"{kind.api_version}/{kind.kind}",
            "namespace": namespace or "",
            "kept": kept,
        }
        name = hashlib.blake2b(_encode_header(identity), digest_size=10).hexdigest()
        identity["cluster"] = await self._cluster(client)
        return SnapshotFile(self.directory / f"{kind.plural}-{name}.snapshot", identity)

    async def _cluster(self, client: Client) -> str:
        """What tells a cluster from another that got its address: the uid of a namespace that each has; "" if it does
        not say."""
        where = f"{client.config.address}{client.prefix}"
        if where not in self._servers:
            try:
                async with asyncio.timeout(_SERVER_S):
                    found = await client.get(NAMESPACE, None, "kube-system")
            except (ApiError, TimeoutError):
                return ""  # it may say so the next time
            self._servers[where] = found["metadata"].get("uid", "")
        return self._servers[where]


def _pieces(header: bytes, objects: Sequence[bytes]) -> Iterable[bytes]:
    yield header
    for raw in objects:
        yield len(raw).to_bytes(_LENGTH, "big")
        yield raw


def _parsed(data: bytes, identity: Identity) -> Saved:
    """What the bytes of a file say; ValueError if they are damaged, or of something else."""
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise ValueError("it is damaged: its checksum is wrong")
    at = body.find(b"\n") + 1
    try:
        header = _decode_header(body[: at - 1])
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no snapshot: {error}") from error
    if header.format != _FORMAT:
        raise ValueError(f"its format is {header.format!r}, not {_FORMAT!r}")
    if header.identity != identity:
        raise ValueError(f"it is of {header.identity}, not of {identity}")
    objects = []
    for _ in range(header.objects):
        end = at + _LENGTH + int.from_bytes(body[at : at + _LENGTH], "big")
        objects.append(body[at + _LENGTH : end])
        at = end
    if at != len(body):
        raise ValueError("its length is wrong")
    return Saved(objects, header.revision)


def _sync_directory(directory: Path) -> None:
    """Make a rename last through a power cut, where directories can be synced."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
