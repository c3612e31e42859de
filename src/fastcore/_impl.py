"""Picks the compiled primitives or their plain-Python twins, once, for the whole process.

`FASTCORE_PURE=1` picks the twins. Without it a missing extension is an error: a service that silently ran on the
slow twin would be found out only under load.
"""

import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastcore._ext import backoff as backoff
    from fastcore._ext import breaker as breaker
    from fastcore._ext import bucket as bucket
    from fastcore._ext import buffers as buffers
    from fastcore._ext import cached as cached
    from fastcore._ext import diff as diff
    from fastcore._ext import envelope as envelope
    from fastcore._ext import fingerprint as fingerprint
    from fastcore._ext import frozen as frozen
    from fastcore._ext import intake as intake
    from fastcore._ext import keyed as keyed
    from fastcore._ext import loading as loading
    from fastcore._ext import lru as lru
    from fastcore._ext import objects as objects
    from fastcore._ext import patch as patch
    from fastcore._ext import plan as plan
    from fastcore._ext import pool as pool
    from fastcore._ext import queue as queue
    from fastcore._ext import quota as quota
    from fastcore._ext import registry as registry
    from fastcore._ext import s3fifo as s3fifo
    from fastcore._ext import shadow as shadow
    from fastcore._ext import strategic as strategic
    from fastcore._ext import ttl as ttl

PURE = os.environ.get("FASTCORE_PURE", "0") not in ("", "0")
IMPLEMENTATION = "py" if PURE else "ext"

PRIMITIVES = frozenset(
    {
        "backoff",
        "breaker",
        "bucket",
        "buffers",
        "cached",
        "diff",
        "envelope",
        "fingerprint",
        "frozen",
        "intake",
        "keyed",
        "loading",
        "lru",
        "objects",
        "patch",
        "plan",
        "pool",
        "queue",
        "strategic",
        "quota",
        "registry",
        "s3fifo",
        "shadow",
        "ttl",
    }
)


def __getattr__(name: str) -> ModuleType:
    if name not in PRIMITIVES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"fastcore._{IMPLEMENTATION}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"fastcore._ext.{name}":
            raise
        raise ImportError(
            f"fastcore's compiled extension {name!r} is missing: this tree was not built. Install a wheel "
            "(pip install fastcore-k8s), build it (make build), or set FASTCORE_PURE=1 to run on plain Python."
        ) from error
    globals()[name] = module
    return module
