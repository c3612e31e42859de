"""Structured logs on top of the standard library's, with levels that change while the process runs."""

from fastcore.observe.logs.fields import FieldLogger, bound, get_logger
from fastcore.observe.logs.formats import ConsoleFormatter, JsonFormatter
from fastcore.observe.logs.levels import Levels, LoggerLevel, parse_level, request_level
from fastcore.observe.logs.sampling import Sampler
from fastcore.observe.logs.setup import configure

__all__ = [
    "ConsoleFormatter",
    "FieldLogger",
    "JsonFormatter",
    "Levels",
    "LoggerLevel",
    "Sampler",
    "bound",
    "configure",
    "get_logger",
    "parse_level",
    "request_level",
]
