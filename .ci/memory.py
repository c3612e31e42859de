"""Judges what valgrind has reported: usage: memory.py DIRECTORY

The directory holds the reports (report.*.xml, one a process) and, in lib, the extensions. Reading, writing or freeing
what is not ours to touch counts if an extension takes part, be it as the one who freed it; a block that nothing points
to any more, if it was got on behalf of one, and not by a module that it imports. CPython has reports of its own, which
are only counted. Prints ours, and exits with 1 if there are any.
"""

import sys
from itertools import takewhile
from pathlib import Path
from xml.etree import ElementTree


def is_ours(error: ElementTree.Element, extensions: set[str]) -> bool:
    """Whether an extension stands in any stack of an error; for a block that is lost, nearer to it than any import."""
    frames = list(error.iter("frame"))
    if (error.findtext("kind") or "").startswith("Leak"):
        frames = list(takewhile(lambda frame: frame.findtext("fn") != "PyImport_ImportModuleLevelObject", frames))
    return any(Path(frame.findtext("obj") or "").name in extensions for frame in frames)


def errors_in(report: Path) -> list[ElementTree.Element]:
    """What one process did wrong."""
    try:
        return list(ElementTree.parse(report).getroot().iter("error"))
    except ElementTree.ParseError:  # of a process that began another program, and so left it unfinished
        return []


def describe(error: ElementTree.Element) -> str:
    """An error with its stacks."""
    lines = [error.findtext("kind") or "", error.findtext("what") or error.findtext("xwhat/text") or ""]
    for stack in error.iter("stack"):
        lines.append("  at")
        for frame in stack.iter("frame"):
            place = f"{frame.findtext('file')}:{frame.findtext('line')}" if frame.find("file") is not None else ""
            lines.append(f"    {frame.findtext('fn')} {Path(frame.findtext('obj') or '').name} {place}")
    return "\n".join(lines)


def main() -> int:
    """Print our errors; whether there are any."""
    directory = Path(sys.argv[1])
    extensions = {path.name for path in directory.glob("lib/**/*.so")}
    reports = list(directory.glob("report.*.xml"))
    if not extensions or not reports:
        sys.exit(f"no extensions or no reports in {directory}")
    errors = [error for report in reports for error in errors_in(report)]
    ours = [error for error in errors if is_ours(error, extensions)]
    for error in ours:
        print(describe(error), end="\n\n")
    print(f"{len(ours)} memory errors of ours, {len(errors) - len(ours)} of others")
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())
