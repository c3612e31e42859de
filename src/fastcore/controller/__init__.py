"""The controller runtime: from the API server's bytes to a reconciler and back."""

from fastcore.controller.model import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    EVENT,
    LEASE,
    NAMESPACE,
    SECRET,
    Kind,
    Request,
    Result,
    TerminalError,
)

__all__ = [
    "CONFIG_MAP",
    "CUSTOM_RESOURCE_DEFINITION",
    "DEPLOYMENT",
    "EVENT",
    "LEASE",
    "NAMESPACE",
    "SECRET",
    "Kind",
    "Request",
    "Result",
    "TerminalError",
]
