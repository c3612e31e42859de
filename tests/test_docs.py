"""The examples in docs/ and in the docstrings run as they stand there.

Fences say what they are: "python" is a program or a session with prompts, "py" an excerpt that cannot run by itself.
"""

import doctest
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fastcore

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = sorted(DOCS.parent.glob("*.md")) if PAGES else []
EXAMPLES = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M))
    if not code.startswith(">>>")
]
MODULES = [m.name for m in pkgutil.walk_packages(fastcore.__path__, "fastcore.") if not m.name.endswith("__main__")]


@pytest.mark.skipif(not DOCS.is_dir(), reason="docs/ is not part of the installed package")
def test_every_primitive_has_a_page_with_an_example() -> None:
    with_examples = {page.stem for page in PAGES if "```python" in page.read_text(encoding="utf-8")}
    assert with_examples >= {"breaker", "cache", "controller", "diff", "pool", "queue", "ratelimit"}


@pytest.mark.parametrize("code", EXAMPLES)
def test_example(code: str, tmp_path: Path) -> None:
    """Each example stands alone, and writes where it runs at most."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sessions(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False).failed == 0


@pytest.mark.parametrize("page", [*PAGES, *TEXTS], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.failed == 0
