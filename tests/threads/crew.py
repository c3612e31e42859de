"""Threads that start together, and whose errors are the test's; keys that let them meet."""

import os
import threading
from collections.abc import Callable

THREADS = 4
PATIENCE_S = float(os.environ.get("HAMMER_PATIENCE", "100"))  # a sanitizer takes its time


def together(*workers: Callable[[], object], timeout: float = PATIENCE_S) -> None:
    """Run every worker in a thread of its own, all from the same moment; raise what any of them raised."""
    start = threading.Barrier(len(workers))
    errors: list[BaseException] = []

    def run(worker: Callable[[], object]) -> None:
        try:
            start.wait(timeout)
            worker()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "threads hang"


def crew(work: Callable[[int], object]) -> None:
    """Run `work(number)` in THREADS threads."""
    together(*(lambda number=number: work(number) for number in range(THREADS)))


class Key:
    """Compares in Python and collides, so that threads meet in the middle of every look-up."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __hash__(self) -> int:
        return self.n % 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.n == other.n

    def __repr__(self) -> str:
        return f"Key({self.n})"
