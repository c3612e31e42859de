"""The controller runtime: from the API server's bytes to a reconciler and back."""

from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig, ConfigError
from fastcore.controller.context import Context
from fastcore.controller.controller import CacheSyncTimeout, ReconcileTimeout
from fastcore.controller.errors import ApiError
from fastcore.controller.manager import Manager
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
from fastcore.controller.options import Options
from fastcore.controller.workspace import Workspace, Workspaces

__all__ = [
    "CONFIG_MAP",
    "CUSTOM_RESOURCE_DEFINITION",
    "DEPLOYMENT",
    "EVENT",
    "LEASE",
    "NAMESPACE",
    "SECRET",
    "ApiError",
    "CacheSyncTimeout",
    "Client",
    "ClientConfig",
    "ConfigError",
    "Context",
    "ControllerBuilder",
    "Kind",
    "Manager",
    "Options",
    "ReconcileTimeout",
    "Request",
    "Result",
    "TerminalError",
    "Workspace",
    "Workspaces",
]
