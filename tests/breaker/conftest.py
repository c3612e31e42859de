import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def switch_often() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
