"""`fastcore doctor`: checks an installation and says what is wrong with it, each finding with what to do."""

import argparse
import os
import pkgutil
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module, metadata, util
from typing import NamedTuple

from fastcore._version import __version__

DISTRIBUTION = "fastcore-k8s"
# The unrelated distribution with the same import name: whichever is installed last overwrites the other's files.
NAMESAKE = "fastcore"

# What the extra [controller] brings on every system.
RUNTIME = ("aiohttp", "msgspec", "rich", "yaml")


class Finding(NamedTuple):
    """One line of the report; `level` is "ok", "info" or "error"."""

    level: str
    text: str


def namesake() -> Finding:
    """Whether the unrelated package `fastcore` is installed beside this one."""
    try:
        other = metadata.distribution(NAMESAKE)
    except metadata.PackageNotFoundError:
        return Finding("ok", "no other package claims the import name `fastcore`")
    return Finding(
        "error",
        f"the unrelated package {NAMESAKE} {other.version} is installed too and both write into the folder fastcore/: "
        f"pip uninstall {NAMESAKE} {DISTRIBUTION} && pip install {DISTRIBUTION}",
    )


def extensions() -> Iterator[Finding]:
    """Whether every compiled primitive can be imported, and whether the GIL stayed off where it can be."""
    implementation = import_module("fastcore._impl")
    if implementation.PURE:
        yield Finding("info", "FASTCORE_PURE is set: the primitives run in plain Python, 10 to 50 times slower")
        return
    package = import_module("fastcore._ext")
    compiled = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for name in sorted(implementation.PRIMITIVES - compiled):
        yield Finding("error", f"the compiled primitive {name!r} is missing: reinstall {DISTRIBUTION} from a wheel")
    for name in sorted(compiled):
        try:
            import_module(f"fastcore._ext.{name}")
        except ImportError as error:
            yield Finding("error", f"the compiled primitive {name!r} does not load: {error}")
    if compiled >= implementation.PRIMITIVES:
        yield Finding("ok", f"{len(compiled)} compiled primitives load")
    gil = getattr(sys, "_is_gil_enabled", None)
    if gil is not None and "free-threading" in sys.version:
        yield Finding(
            "error" if gil() else "ok", f"free-threaded build, GIL {'on: some extension' if gil() else 'off'}"
        )


def runtime() -> Finding:
    """Whether the controller runtime has the packages that it needs."""
    missing = [name for name in RUNTIME if util.find_spec(name) is None]
    if not missing:
        return Finding("ok", "the controller runtime has the packages that it needs")
    return Finding(
        "info",
        "only the primitives can be used; for the controller runtime, its API server and the demo: "
        f"pip install '{DISTRIBUTION}[controller]' (missing: {', '.join(missing)})",
    )


def environment() -> Iterator[Finding]:
    """Where clusters and test servers would be found."""
    path = os.environ.get("KUBECONFIG") or os.path.join(os.path.expanduser("~"), ".kube", "config")
    state = "exists" if any(os.path.exists(p) for p in path.split(os.pathsep)) else "does not exist"
    yield Finding("info", f"kubeconfig: {path} ({state})")
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    yield Finding("info", f"real kube-apiserver for tests: {assets or 'none, KUBEBUILDER_ASSETS is not set'}")


def main(argv: Sequence[str]) -> int:
    """Print the report; 1 if something is wrong, else 0."""
    argparse.ArgumentParser(
        prog="fastcore doctor",
        description="Check this installation and say what is wrong with it, each finding with what to do. "
        "Exit status: 0 nothing is wrong, 1 something is.",
    ).parse_args(argv)
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"fastcore {__version__} on {interpreter}, {platform.platform()}")
    findings = [namesake(), *extensions(), runtime(), *environment()]
    for finding in findings:
        print(f"  {finding.level:<6}{finding.text}")
    return int(any(finding.level == "error" for finding in findings))
