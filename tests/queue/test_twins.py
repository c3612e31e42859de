"""The examples in the docstrings run on both twins."""

import doctest
from typing import Any

from fastcore import queue as face


def test_examples(impl: Any) -> None:
    module = impl.queue
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner()
    for name in face.__all__:
        cls = getattr(module, name)
        for test in finder.find(cls, name, globs=dict(vars(module))):
            runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.tries > 0
