"""What is used a thousand times leaves nothing behind: no reference, no block, no raw memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCENARIOS = [
    "lru",
    "ttl",
    "caches",
    "bucket",
    "keyed",
    "backoff",
    "breaker",
    "registry",
    "pool",
    "queue",
    "diff",
    "patch",
    "fingerprint",
    "arrays",
]


@pytest.fixture(scope="module")
def growth(impl: Any) -> dict[str, Any]:
    """The answers of leaks.py, by scenario."""
    environment = {**os.environ, "FASTCORE_PURE": "1" if impl.name == "py" else "0", "PYTHONMALLOC": "default"}
    script = Path(__file__).with_name("leaks.py")
    run = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr
    return {line["scenario"]: line for line in map(json.loads, run.stdout.splitlines())}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_left_behind(growth: dict[str, Any], scenario: str) -> None:
    assert growth.keys() == set(SCENARIOS)
    line = growth[scenario]
    assert abs(line["references"]) < 100, line
    assert line["blocks"] < 100, line
    assert line["bytes"] < 16_000, line
