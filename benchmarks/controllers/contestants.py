"""The controllers that are compared: how each is prepared and started."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fastcore.controller.cpus import default_concurrency

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "controllers"
_GO_PLACES = ("/usr/local/go/bin", "/usr/lib/go/bin", "/opt/homebrew/bin")


class NotHere(Exception):
    """A controller cannot run on this machine; the message says what is missing."""


class Contestant(NamedTuple):
    """One controller.

    Attributes:
        name: as `--controllers` and the table have it.
        prepare: builds or installs what is missing; returns the command, without the kubeconfig.
        repairs: whether it watches its children, so that drift can be measured.
    """

    name: str
    prepare: Callable[[], list[str]]
    arguments: Callable[[str], list[str]]
    repairs: bool = True


def _fastcore() -> list[str]:
    return [sys.executable, "-m", "fastcore", "run", "--metrics-addr", "0"]


def _kopf() -> list[str]:
    folder = BUILD / "kopf"
    program = folder / ("Scripts" if os.name == "nt" else "bin") / "kopf"
    if not program.exists():
        print("kopf: making a virtual environment in", folder, file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(program.parent / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "-c", str(ROOT / "constraints.txt"), "kopf", "kubernetes", "aiohttp", "uvloop"])
    return [str(program), "run", "--standalone", "--all-namespaces", "--quiet", str(HERE / "kopf_operator.py")]


def _controller_runtime() -> list[str]:
    go = shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", ""), *_GO_PLACES]))
    if go is None:
        raise NotHere("there is no Go toolchain on PATH: https://go.dev/dl")
    program = BUILD / "webapp"
    BUILD.mkdir(parents=True, exist_ok=True)
    print("controller-runtime: go build", file=sys.stderr, flush=True)
    _run([go, "build", "-o", str(program), "."], HERE / "go")
    return [str(program), "--workers", str(default_concurrency())]


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        raise NotHere(f"{' '.join(command[:4])} failed: {done.stderr.strip()[-500:]}")


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("fastcore", _fastcore, lambda kubeconfig: ["--kubeconfig", kubeconfig]),
        Contestant("kopf", _kopf, lambda kubeconfig: [], repairs=False),
        Contestant("controller-runtime", _controller_runtime, lambda kubeconfig: ["--kubeconfig", kubeconfig]),
    )
}
