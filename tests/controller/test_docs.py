"""The example of docs/controller.md runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "controller.md"


def test_the_example_runs() -> None:
    (program,) = re.findall(r"^```python\n(import asyncio\n.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
