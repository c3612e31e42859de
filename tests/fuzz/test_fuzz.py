"""Each fuzz target for a moment, where there is no fuzzer; and the inputs by which one once found something."""

import random
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

TARGETS = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))

FOUND = [
    ("fuzz_cache", "220b016f6d0b000000ff06ff05"),  # setdefault without end where entries do not live
    ("fuzz_hostile", "0200000000000000f1f1"),  # a comparison that leaves no room for the key compared
]


@pytest.mark.parametrize("target", TARGETS)
def test_any_input(target: str) -> None:
    """Both twins answer alike; a target raises where they do not."""
    one_input = import_module(f"fuzz.{target}").one_input
    given(st.binary(max_size=400))(one_input)()
    for seed in range(100):  # hypothesis prefers short ones
        assert one_input(random.Random(seed).randbytes(600)) is None


@pytest.mark.parametrize(("target", "data"), FOUND)
def test_what_failed_once(target: str, data: str) -> None:
    """Inputs on which the twins once differed."""
    assert import_module(f"fuzz.{target}").one_input(bytes.fromhex(data)) is None
