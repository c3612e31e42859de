"""Fixtures that every test may use: the two implementations, the clock, and a seed."""

import asyncio
import importlib
import inspect
import os
import subprocess
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

import fastcore
from fastcore.testing.clock import VirtualClock
from fastcore.testing.kube import find_binary

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("nightly", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")


class Implementation:
    """One of the twins: `impl.lru` is `fastcore._ext.lru` or `fastcore._py.lru`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, module: str) -> ModuleType:
        try:
            return importlib.import_module(f"fastcore._{self.name}.{module}")
        except ModuleNotFoundError as error:  # hypothesis asks every argument for attributes of its own
            raise AttributeError(f"no module {module!r} in fastcore._{self.name}") from error

    def __repr__(self) -> str:
        return self.name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-ext", action="store_true", help="leave the compiled twins out")
    parser.addoption("--no-py", action="store_true", help="leave the plain twins out")
    parser.addoption("--nightly", action="store_true", help="long hypothesis profile and the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--nightly"):
        settings.load_profile("nightly")
    elif not config.option.markexpr:
        config.option.markexpr = "not slow"


def pytest_report_header() -> list[str]:
    """Which API servers the suites can run on here."""
    real = find_binary("kube-apiserver")
    return [
        f"implementation: {fastcore.IMPLEMENTATION}",
        f"required real parts: {os.environ.get('FASTCORE_REQUIRE') or 'none'}",
        f"API servers: embedded, {f'real {_version(real)} at {real}' if real else 'no real one (KUBEBUILDER_ASSETS)'}",
    ]


def _version(binary: str) -> str:
    try:
        return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:  # of another system; its tests will say so
        return f"(does not run: {error})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests ran on which API server."""
    passed = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    real = sum("kube" in report.keywords for report in passed)
    terminalreporter.write_line(f"{real} of {len(passed)} passed tests ran on a real kube-apiserver")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"kube_server", "kube_cluster"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kube)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "impl" in metafunc.fixturenames:
        names = [name for name in ("ext", "py") if not metafunc.config.getoption(f"--no-{name}")]
        metafunc.parametrize("impl", [Implementation(n) for n in names], ids=repr, scope="session")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests, each on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True
