"""The README's Python examples run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = (
    re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.S | re.M) if README.exists() else []
)


def test_there_are_five() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", EXAMPLES[number]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
