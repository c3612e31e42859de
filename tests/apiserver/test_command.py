"""`fastcore apiserver` as a process, and its help."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer, main
from fastcore.testing.apiserver.command import parser


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runs_until_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """Prints its URL, writes a kubeconfig of mode 0600, ends with status 0 on SIGTERM and SIGINT."""
    place = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "fastcore", "apiserver", "--kubeconfig", str(place), "--token", "t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert process.stdout.readline().strip() == f"KUBECONFIG={place}"
        client = Client(url, "t")
        assert client.get("/api/v1/namespaces/default").code == 200
        with client.watch("/api/v1/namespaces"):
            process.send_signal(number)
            assert process.wait(20) == 0
        assert process.stderr.read() == ""
        client.close()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in parser().parse_args([]).__dict__:
        assert f"--{option.replace('_', '-')}" in text
    assert "/clusters/" in text


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--history", "0", "history must be at least 1, not 0"),
        ("--port", "99999", "port must be in 0..65535, not 99999"),
        ("--bookmark-period", "nan", "bookmark_period must be more than 0 s, and finite, not nan"),
    ],
)
def test_bad_setting(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option, value]) == 2
    assert message in capsys.readouterr().err


def test_port_is_taken(capsys: pytest.CaptureFixture[str], embedded: APIServer) -> None:
    assert main(["--port", embedded.url.rpartition(":")[2]]) == 1
    assert capsys.readouterr().err.startswith("fastcore apiserver: ")
