"""A machine made of files, for what reads `/proc` and `/sys`."""

from pathlib import Path


def machine(root: Path, files: dict[str, str]) -> Path:
    """Write `files` below `root`, which then holds `proc` and `sys`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
