"""Judges what the thread sanitizer has reported: usage: races.py DIRECTORY

The directory holds the reports and, in lib, the extensions; a report is ours if one of them makes one of its accesses.
CPython and numpy have data races of their own, which are only counted. Prints our reports, and exits with 1 if there
are any.
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


def main() -> int:
    """Print our reports; whether there are any."""
    directory = Path(sys.argv[1])
    modules = {path.name for path in directory.glob("lib/**/*.so")}
    if not modules:
        sys.exit(f"no extensions in {directory}/lib")
    text = "".join(path.read_text(errors="replace") for path in directory.glob("report.*"))
    reports = [report for report in text.split("=" * 18 + "\n") if "WARNING: ThreadSanitizer" in report]
    ours = [report for report in reports if modules & {culprit(stack) for stack in ACCESS.findall(report)}]
    for report in ours:
        print(report)
    print(f"{len(ours)} data races of ours, {len(reports) - len(ours)} of others")
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())
