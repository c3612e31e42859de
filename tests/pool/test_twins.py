"""The examples in the docstrings run on both twins."""

import doctest
from typing import Any

from fastcore import pool as face


def test_examples(impl: Any) -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner()
    for name in face.__all__:
        module = impl.buffers if name == "BufferPool" else impl.pool
        for test in finder.find(getattr(module, name), name, globs=dict(vars(module))):
            runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.tries > 0
