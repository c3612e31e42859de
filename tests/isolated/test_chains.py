"""An object that holds one that holds one ...: dropping the outermost must not exhaust the C stack.

For the twins in plain Python CPython sees to that itself.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("depth", [40_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_long_chains_do_not_recurse(depth: int) -> None:
    environment = {**os.environ, "FASTCORE_PURE": "0"}
    script = Path(__file__).with_name("chains.py")
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(script), str(depth)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stdout.splitlines()[-1:] + run.stderr.splitlines()[:5]
    assert run.stdout.splitlines()[-1:] == ["done"], run.stderr
