"""What the hammer tests share: how long they run, and how often threads take turns."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(params=[1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["short", "long"])
def scale(request: pytest.FixtureRequest) -> int:
    """By how much to multiply the rounds."""
    return request.param


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    """Switch threads as often as the interpreter can; without a GIL there is nothing to switch."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
