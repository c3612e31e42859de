"""An embedded Kubernetes API server: real HTTP on loopback, everything in memory, nothing to install."""

from fastcore.testing.apiserver.command import main
from fastcore.testing.apiserver.server import APIServer

__all__ = ["APIServer", "main"]
