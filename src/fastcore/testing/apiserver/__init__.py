"""An embedded Kubernetes API server: real HTTP on loopback, everything in memory, nothing to install."""

try:
    from fastcore.testing.apiserver.api import Settings
    from fastcore.testing.apiserver.command import main
    from fastcore.testing.apiserver.server import APIServer
except ModuleNotFoundError as error:
    error.add_note("fastcore.testing.apiserver needs more packages: pip install 'fastcore-k8s[controller]'")
    raise

__all__ = ["APIServer", "Settings", "main"]
