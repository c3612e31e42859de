"""Snapshots: what a process leaves behind, and what the next one makes of it, on scripted and real servers."""

import asyncio
import json
import os
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.scripted import FakeSleep, bookmark, config_map, event, failure, listing, stream, until
from controller.test_informer import Recorder
from controller.test_reflector import GONE, HOLD, REACHED, reflecting
from controller.widgets import serve_widgets
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.informer import Informer
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, NAMESPACE, SECRET
from fastcore.controller.snapshot import Saved, SnapshotFile, Snapshots
from fastcore.controller.workspace import Workspace
from fastcore.testing.apiserver import APIServer

MINE = {"server": "http://here", "kind": "v1/ConfigMap"}
A, B = b'{"metadata":{"name":"a","resourceVersion":"3"}}', b'{"metadata":{"name":"b","resourceVersion":"4"}}'


def a1():
    return config_map("a", 1)


# --- The file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """The objects, byte by byte, and the revision; only the owner may read them; nothing else is left behind."""
    file = SnapshotFile(tmp_path / "one", MINE)
    assert file.read() is None
    for objects in ([], [A], [A, B, b""]):
        file.write(Saved(objects, "5"))
        assert file.read() == Saved(objects, "5")
    assert os.listdir(tmp_path) == ["one"]
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600


@given(at=st.integers(0, 400), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_file_is_no_file(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int, cut: bool) -> None:
    """Cut anywhere, or one bit changed: the digest tells."""
    path = tmp_path_factory.mktemp("damaged") / "one"
    SnapshotFile(path, MINE).write(Saved([A, B], "5"))
    data = bytearray(path.read_bytes())
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    path.write_bytes(data)
    assert SnapshotFile(path, MINE).read() is None


def test_a_file_of_something_else_is_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another cluster behind the same address, other selectors: said in the log."""
    SnapshotFile(tmp_path / "one", {**MINE, "cluster": "uid-1"}).write(Saved([A], "5"))
    assert SnapshotFile(tmp_path / "one", {**MINE, "cluster": "uid-2"}).read() is None
    assert "uid-1" in caplog.text
    assert "uid-2" in caplog.text


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk."""
    file = SnapshotFile(tmp_path / "one", MINE)
    file.write(Saved([A], "5"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write(Saved([A, B], "6"))
    assert file.read() == Saved([A], "5")
    assert os.listdir(tmp_path) == ["one"]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_directory_that_others_write_to_is_refused(tmp_path: Path) -> None:
    """Whoever can put a file there decides what a controller believes."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(ValueError, match="chmod go-w"):
        Manager(snapshots=open_to_all)
    made = tmp_path / "made" / "anew"
    Snapshots(made)
    assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0
    with pytest.raises(ValueError, match=r"0\.5"):
        Snapshots(made, period=0.5)


# --- The reflector


def saved(*objects, revision="3"):
    async def resume():
        return Saved([json.dumps(obj).encode() for obj in objects], revision)

    return resume


async def test_the_sink_gets_what_was_saved_with_what_has_changed_since():
    """RF-9, IN-2: one replace, once the server has told everything up to now; then a watch from there."""
    changes = stream(
        event("MODIFIED", config_map("a", 4)), event("DELETED", config_map("b", 5)), event("ADDED", config_map("c", 6)),
        bookmark(9),
    )  # fmt: skip
    steps = [REACHED, changes, HOLD]
    async with reflecting(*steps, resume=saved(a1(), config_map("b", 2), config_map("d", 3))) as run:
        await run.requests(3)
        assert run.sink.calls == [("replace", ["a", "c", "d"], "9")]
        assert run.sink.objects["a"]["metadata"]["resourceVersion"] == "4"
        assert run.asked == ["probe 3", "watch 3", "watch 9"]
        assert run.server.received[1].query["timeoutSeconds"] == "1"
        assert (run.reflector.stats.resumes, run.reflector.stats.failures) == (1, 0)


@pytest.mark.parametrize("told", ["gone", "another history", "broken"])
async def test_what_the_server_does_not_confirm_is_not_shown(told: str):
    """RF-9: a snapshot that is too old, or of another history, and no ghost of it appears."""
    refusals = {
        "gone": [REACHED, stream(event("ERROR", GONE))],
        "another history": [failure(504, "Timeout", "Too large resource version: 3, current: 1")],
        "broken": [REACHED, stream(event("MODIFIED", config_map("a", 4)), end="cut")],
    }
    async with reflecting(*refusals[told], listing([config_map("b", 7)], "7"), HOLD, resume=saved(a1())) as run:
        await until(lambda: run.sink.calls)
        assert run.sink.calls[0] == ("replace", ["b"], "7")
        assert run.reflector.stats.resumes == 0
        assert not run.waits


# --- Informers


@asynccontextmanager
async def mirroring(client: Client, kind, snapshots: Snapshots, **options):
    informer = Informer(Workspace("blue", client), kind, snapshots=snapshots, random=Random(1), **options)
    recorder = Recorder()
    informer.add_handler(recorder)
    task = asyncio.create_task(informer.run())
    try:
        await informer.wait_synced(20)
        yield informer, recorder
    finally:
        await informer.stop()
        await asyncio.wait([task])


async def test_a_restart_begins_where_the_process_before_ended(load, tmp_path: Path):
    """RF-9, IN-2: what was changed, added and deleted in between is seen; what stayed is not asked for again."""
    async with Client(await load()) as client:
        widgets = await serve_widgets(client, f"snapshots{os.getpid()}.example.com")
        snapshots = Snapshots(tmp_path)

        def widget(name, size=1):
            return {"metadata": {"namespace": "default", "name": name}, "spec": {"size": size}}

        for name in ("stays", "changes", "goes"):
            await client.create(widgets, widget(name))
        async with mirroring(client, widgets, snapshots) as (informer, _):
            assert len(informer.list()) == 3
            await until(lambda: informer.stats().revision)
        assert len(os.listdir(tmp_path)) == 1
        await client.patch(widgets, "default", "changes", {"spec": {"size": 2}})
        await client.delete(widgets, "default", "goes")
        await client.create(widgets, widget("comes"))
        async with mirroring(client, widgets, snapshots) as (informer, recorder):
            assert informer._reflector.stats.resumes == 1
            assert {obj["metadata"]["name"]: obj["spec"]["size"] for obj in informer.list()} == {
                "stays": 1, "changes": 2, "comes": 1,
            }  # fmt: skip
            assert sorted(line.split()[:2] for line in recorder.told) == [
                ["initial", name] for name in ("changes", "comes", "stays")
            ]
            await client.patch(widgets, "default", "stays", {"spec": {"size": 3}})
            await until(lambda: informer.get("default", "stays")["spec"]["size"] == 3)


async def test_a_server_begun_anew_is_believed(tmp_path: Path):
    """RF-9: the same address, another history: none of the old objects is shown."""
    first = APIServer()
    await first.__aenter__()
    port = int(first.url.rpartition(":")[2])
    snapshots = Snapshots(tmp_path)
    async with Client(ClientConfig(first.url)) as client:
        for number in range(20):
            await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": f"old{number}"}})
        async with mirroring(client, CONFIG_MAP, snapshots, namespace="default") as (informer, _):
            assert informer.get("default", "old19")
    await first.__aexit__(None, None, None)
    async with APIServer(port=port) as server, Client(ClientConfig(server.url)) as client:
        await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "new"}})
        async with mirroring(client, CONFIG_MAP, snapshots, namespace="default") as (informer, recorder):
            names = {obj["metadata"]["name"] for obj in informer.list("default")}
            assert "new" in names
            assert not any(name.startswith("old") for name in names)
            assert not any(line.split()[1].startswith("old") for line in recorder.told)


async def test_a_compacted_history_is_read_anew(tmp_path: Path):
    """RF-5, RF-9: after a long absence the server does not know what has changed, and is asked for everything."""
    async with APIServer(controllers=()) as server, Client(ClientConfig(server.url)) as client:
        await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "goes"}})
        snapshots = Snapshots(tmp_path)
        async with mirroring(client, CONFIG_MAP, snapshots, namespace="default") as (informer, _):
            assert informer.get("default", "goes")
        await client.delete(CONFIG_MAP, "default", "goes")
        for number in range(5):
            await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": f"new{number}"}})
        server.compact()
        async with mirroring(client, CONFIG_MAP, snapshots, namespace="default") as (informer, _):
            assert informer._reflector.stats.resumes == 0
            assert informer.get("default", "goes") is None
            assert informer.get("default", "new4")


async def test_secrets_are_never_written(tmp_path: Path):
    """Neither is a collection that has not been read whole."""
    async with APIServer(controllers=()) as server, Client(ClientConfig(server.url)) as client:
        hidden = {"metadata": {"namespace": "default", "name": "s"}, "stringData": {"password": "hunter2"}}
        await client.create(SECRET, hidden)
        async with mirroring(client, SECRET, Snapshots(tmp_path)) as (informer, _):
            assert informer.get("default", "s")
        informer = Informer(Workspace("blue", client), CONFIG_MAP, snapshots=Snapshots(tmp_path))
        task = asyncio.create_task(informer.run())
        await asyncio.sleep(0)
        await informer.stop()
        await asyncio.wait([task])
    assert os.listdir(tmp_path) == []


async def test_it_is_written_again_only_when_something_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each period, and at the end; a disk that fails is said, and nothing else happens."""
    written: list[str] = []
    write = SnapshotFile.write

    def counting(self: SnapshotFile, saved: Saved) -> None:
        written.append(saved.revision)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        write(self, saved)

    monkeypatch.setattr(SnapshotFile, "write", counting)
    async with APIServer(controllers=()) as server, Client(ClientConfig(server.url)) as client:
        sleep = FakeSleep()
        async with mirroring(client, NAMESPACE, Snapshots(tmp_path, period=60), sleep=sleep) as (informer, _):
            await until(lambda: len(written) == 1)
            await client.create(NAMESPACE, {"metadata": {"name": "more"}})
            await until(lambda: informer.get("", "more"))
            await until(lambda: len(written) >= 3)  # the second has failed
            assert all(54 <= wait <= 66 for wait in sleep.waits)
        assert written == sorted(written, key=int)
        assert written[-1] == informer.stats().revision
