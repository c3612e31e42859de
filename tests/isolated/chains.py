"""Builds long chains of objects, each held by the next in one of our objects, and drops them: usage: chains.py DEPTH

In a thread whose stack is too small for a call a link. Prints each way to hold before it starts with it.
"""

import importlib
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from isolated.holders import HOLDERS

# CPython before 3.13 nests 50 deallocations, and then puts the rest off; 3.13 nests 10,000.
STACK = 256 * 1024 if sys.version_info < (3, 13) else 8 * 1024 * 1024
# These look at what they are to hold, or complain when they are dropped.
PARTICULAR = {"reservation", "permit", "limiter_of_limiters"}


class Modules(SimpleNamespace):
    def __getattr__(self, name: str) -> Any:
        return importlib.import_module(f"fastcore._ext.{name}")


def build_and_drop(depth: int) -> None:
    impl = Modules()
    for name in sorted(HOLDERS.keys() - PARTICULAR):
        print(name, flush=True)
        held: object = print
        for _ in range(depth):
            held = HOLDERS[name](impl, held)
        del held


def main() -> None:
    threading.stack_size(STACK)
    thread = threading.Thread(target=build_and_drop, args=(int(sys.argv[1]),))
    thread.start()
    thread.join()
    print("done")


if __name__ == "__main__":
    main()
