"""The example of docs/cache.md runs."""

import doctest
import re
from pathlib import Path

import fastcore._cached
import fastcore.cache


def test_the_page():
    page = (Path(__file__).parents[2] / "docs" / "cache.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "docs/cache.md", "exec"), {})


def test_the_docstrings():
    for module in (fastcore.cache, fastcore._cached):
        result = doctest.testmod(module)
        assert result.attempted > 3
        assert result.failed == 0
