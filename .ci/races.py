"""Judges what the thread sanitizer has reported: usage: races.py DIRECTORY

The directory holds the reports and, in lib, the extensions; a report is ours if one of them makes one of its accesses.
CPython and numpy have data races of their own, which are only counted. So is one that Cython writes into every class
with weak references: its last breath looks whether there are any left while another thread may let go of the last. It
finds one, and CPython then clears them under a lock, or it finds none, and there are none. Prints our reports, and
exits with 1 if there are any.
"""

import re
import sys
from pathlib import Path

ACCESS = re.compile(
    r"^ +(?:previous )?(?:atomic )?(?:read|write) of size .*\n((?: +#.*\n)+)", re.IGNORECASE | re.MULTILINE
)
FRAME = re.compile(r"#\d+ (?P<function>\S+) (?P<source>\S+) \((?P<module>[^+)]+)")


def culprit(stack: str) -> str | None:
    """The module that makes an access: that of the first frame which is no function of the C library."""
    for frame in FRAME.finditer(stack):
        if frame["source"] != "<null>":
            return frame["module"]
    return None


def is_ours(report: str, modules: set[str]) -> bool:
    """Whether an extension makes one of the accesses, other than the last look at weak references."""
    stacks: list[str] = ACCESS.findall(report)
    functions = [[frame["function"] for frame in FRAME.finditer(stack)] for stack in stacks]
    if any("clear_weakref" in each for each in functions) and any(
        each[:1] and each[0].startswith("__pyx_tp_dealloc_") for each in functions
    ):
        return False
    return bool(modules & {culprit(stack) for stack in stacks})


def main() -> int:
    """Print our reports; whether there are any."""
    directory = Path(sys.argv[1])
    modules = {path.name for path in directory.glob("lib/**/*.so")}
    if not modules:
        sys.exit(f"no extensions in {directory}/lib")
    text = "".join(path.read_text(errors="replace") for path in directory.glob("report.*"))
    reports = [report for report in text.split("=" * 18 + "\n") if "WARNING: ThreadSanitizer" in report]
    ours = [report for report in reports if is_ours(report, modules)]
    for report in ours:
        print(report)
    print(f"{len(ours)} data races of ours, {len(reports) - len(ours)} of others")
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())
