"""One call that makes the process log as services do."""

import logging
import sys
from typing import Literal, TextIO

from fastcore.observe.logs.formats import ConsoleFormatter, JsonFormatter
from fastcore.observe.logs.levels import parse_level
from fastcore.observe.logs.sampling import Sampler


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, which the next call replaces."""


def configure(
    level: int | str = "info",
    *,
    form: Literal["console", "json"] = "console",
    stream: TextIO | None = None,
    sampler: Sampler | None = None,
) -> None:
    """Log everything from `level` up to `stream`. Called again, it replaces what it did before; other handlers stay.

    Args:
        level: of the root logger, by name or number.
        form: "json" is a line for each record, "console" is for people.
        stream: default: standard error.
        sampler: drops some of what is logged again and again; None drops nothing.

    Raises:
        ValueError: there is no such level or form.
    """
    if form not in ("console", "json"):
        raise ValueError(f"form must be 'console' or 'json', not {form!r}")
    number = parse_level(level)
    handler = _Handler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    if sampler is not None:
        handler.addFilter(sampler)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
