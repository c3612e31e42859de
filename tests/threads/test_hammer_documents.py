"""Threads that read documents which others write."""

import contextlib
import random
import threading
from collections import Counter
from typing import Any

from diff.documents import deployment
from threads.crew import THREADS, together


def test_documents_that_change(impl: Any, scale: int) -> None:
    """Documents that other threads change give some answer, or a clean error; afterwards they are compared as ever."""
    one, other = deployment(), deployment(image="other:1")
    stop = threading.Event()
    answers = Counter[int]()

    def write(number: int) -> None:
        chance = random.Random(number)
        while not stop.is_set():
            for document in (one, other):
                metadata, containers = document["metadata"], document["spec"]["template"]["spec"]["containers"]
                metadata[f"x{chance.randrange(9)}"] = [chance.random()] * chance.randrange(4)
                metadata.pop(f"x{chance.randrange(9)}", None)
                metadata["labels"] = {str(n): "label" for n in range(chance.randrange(12))}
                containers.append({"name": f"n{chance.random()}", "env": [{"name": "A", "value": 1.5}]})
                if len(containers) > 5:
                    del containers[chance.randrange(2) :]
                containers.insert(0, {"name": "web", "image": "a:1"})

    calls = [
        lambda: impl.diff.diff(one, other, ignore=["metadata.labels"]),
        lambda: impl.diff.covers(one, other),
        lambda: impl.plan.plan({"k": one}, {"k": other}, exact=True),
        lambda: impl.patch.json_patch(one, other),
        lambda: impl.patch.merge_patch(one, other),
        lambda: impl.patch.apply_merge_patch(one, other),
        lambda: impl.patch.apply_json_patch(one, [{"op": "copy", "from": "/metadata", "path": "/copy"}]),
        lambda: impl.fingerprint.fingerprint(one),
        lambda: impl.fingerprint.fingerprints([one, other]),
    ]

    def read(number: int) -> None:
        for step in range(300 * scale):
            with contextlib.suppress(RuntimeError, IndexError):
                calls[step % len(calls)]()
                answers[number] += 1

    def read_all() -> None:
        try:
            together(*(lambda number=number: read(number) for number in range(THREADS)))
        finally:
            stop.set()

    together(read_all, lambda: write(1), lambda: write(2))
    assert all(answers[number] > 0 for number in range(THREADS))
    assert impl.diff.diff(one, one) == []
    assert impl.patch.apply_json_patch(one, impl.patch.json_patch(one, other)) == other
