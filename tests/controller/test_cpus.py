"""How many reconciles at once suit the processors."""

import pytest

from fastcore.controller import cpus
from fastcore.controller.cpus import default_concurrency


@pytest.mark.parametrize(("usable", "expected"), [(1, 2), (3, 6), (5, 10), (64, 10)])
def test_default_concurrency_is_twice_the_processors_in_1_to_10(
    usable: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 11."""
    monkeypatch.setattr(cpus, "usable_cpus", lambda: usable)
    assert default_concurrency() == expected
