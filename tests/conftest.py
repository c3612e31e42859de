"""Fixtures that every test may use: the two implementations, the clock, and a seed."""

import asyncio
import importlib
import inspect
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from fastcore.testing.clock import VirtualClock

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
    parser.addoption("--nightly", action="store_true", help="long hypothesis profile and the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--nightly"):
        settings.load_profile("nightly")
    elif not config.option.markexpr:
        config.option.markexpr = "not slow"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "impl" in metafunc.fixturenames:
        names = ["py"] if metafunc.config.getoption("--no-ext") else ["ext", "py"]
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
