"""The types of the oracle's documents, as `types` takes them, and how its answers are compared with ours."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastcore.errors import PatchConflict, PatchError

ITEM = {
    "mergingList": ("Item", "merge", "name"),
    "mergingIntList": ("", "merge", ""),
    "mergeItemPtr": ("Item", "merge", "name"),
    "replacingItem": ("", "replace", ""),
    "retainKeysMap": ("Retaining", "retainKeys", ""),
    "retainKeysMergingList": ("Item", "merge,retainKeys", "name"),
}
TYPES = {
    "": ITEM,  # the documents do not say their kind
    "Item": ITEM,
    "Retaining": {"mergingIntList": ("", "merge", ""), "mergingList": ("Item", "merge", "name")},
}


def answer(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a call gives, in the oracle's form."""
    try:
        return {"is": function(*args, **kwargs)}
    except PatchError as error:
        return {"conflict": isinstance(error, PatchConflict), "error": str(error)}


def judged(given: dict[str, Any]) -> Any:
    """An answer without what may differ: how an error is worded."""
    return ("error", bool(given.get("conflict"))) if "error" in given else given["is"]


@contextmanager
def oracle(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The running oracle; the test is skipped where it cannot be built."""
    if shutil.which("go") is None:
        pytest.skip("no Go toolchain on PATH")
    binary = folder / ("oracle.exe" if sys.platform == "win32" else "oracle")
    source = Path(__file__).with_name("oracle")
    built = subprocess.run(["go", "build", "-o", binary, "."], cwd=source, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"go build failed: {built.stderr[-300:]}")
    with subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()
