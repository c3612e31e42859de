"""Compiled primitives for Kubernetes controllers, and a controller runtime on top of them."""

from fastcore._impl import IMPLEMENTATION
from fastcore._version import __version__

__all__ = ["IMPLEMENTATION", "__version__"]
