"""Writes under each statement of docs/semantics.md the tests that name it, and refuses a statement without one.

`python .ci/semantics.py` rewrites the page; with `--check` it only says whether the page is up to date. A test names a
statement by its id in the docstring (`CA17`, `WQ-3`). The statements are written by hand, one paragraph each.
A statement about a primitive must be tested on both twins: by a test that takes the fixture `impl`, itself or through
other fixtures, or by one that compares the twins (test_twins.py, a state machine); unless it says that it has no twin.
"""

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "semantics.md"
STATEMENT = re.compile(r"^\*\*([A-Z]{2}-?\d+)\*\*")
TESTS = "Tests: "
NO_TWIN = "It has no twin."


class Test(NamedTuple):
    """A test function, or a class of them (a state machine)."""

    path: str
    name: str
    twins: bool


def canonical(name: str) -> str:
    """`WQ-3` and `WQ3` are one statement."""
    return name.replace("-", "")


def arguments(node: ast.AST) -> set[str]:
    """The fixtures that a function asks for."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return set()
    return {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}


def read_tests(families: set[str]) -> dict[str, list[Test]]:
    """Statement -> the tests whose docstring names it, in order of file and line."""
    named = re.compile(rf"\b((?:{'|'.join(sorted(families))})-?\d+)\b")
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "tests").rglob("*.py"))}
    functions = [node for tree in trees.values() for node in ast.walk(tree) if arguments(node)]
    on_twins = {"impl"}
    while grown := {f.name for f in functions if arguments(f) & on_twins} - on_twins:  # type: ignore[attr-defined]
        on_twins |= grown
    found: dict[str, list[Test]] = defaultdict(list)
    for path, tree in trees.items():
        relative = path.relative_to(ROOT).as_posix()
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            twins = bool(arguments(node) & on_twins) or isinstance(node, ast.ClassDef) or "twins" in path.stem
            for name in dict.fromkeys(map(canonical, named.findall(ast.get_docstring(node) or ""))):
                found[name].append(Test(relative, node.name, twins))
    return found


def listing(tests: list[Test]) -> str:
    """`Tests: [file](link): name, name; [file](link): name`."""
    files: dict[str, list[str]] = {}
    for test in tests:
        files.setdefault(test.path, []).append(test.name)
    links = [
        f"[{path.removeprefix('tests/')}](../{path}): " + ", ".join(f"`{name}`" for name in names)
        for path, names in files.items()
    ]
    return TESTS + "; ".join(links)


def main() -> int:
    """Rewrite or check the page."""
    paragraphs = [p for p in PAGE.read_text(encoding="utf-8").strip().split("\n\n") if not p.startswith(TESTS)]
    statements = [canonical(m[1]) for p in paragraphs if (m := STATEMENT.match(p))]
    tests = read_tests({name[:2] for name in statements})
    faults = [f"{name} is named by {tests[name][0].path}, but docs/semantics.md does not state it"
              for name in sorted(set(tests) - set(statements))]  # fmt: skip
    written = []
    for paragraph in paragraphs:
        written.append(paragraph)
        if not (match := STATEMENT.match(paragraph)):
            continue
        name = canonical(match[1])
        if not tests.get(name):
            faults.append(f"no test names {match[1]}")
        elif NO_TWIN not in " ".join(paragraph.split()) and not any(test.twins for test in tests[name]):
            faults.append(f"no test of {match[1]} runs on both twins")
        written.append(listing(tests.get(name, [])))
    text = "\n\n".join(written) + "\n"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif text != PAGE.read_text(encoding="utf-8"):
        faults.append("docs/semantics.md is out of date: run .venv/bin/python .ci/semantics.py")
    for fault in faults:
        print(fault, file=sys.stderr)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
