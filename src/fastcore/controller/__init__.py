"""The controller runtime: from the API server's bytes to a reconciler and back.

Names are imported when they are first used: a client alone needs no manager, and the model alone no HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcore.controller.adoption import ForeignObjectError as ForeignObjectError
    from fastcore.controller.batch import Apply as Apply
    from fastcore.controller.batch import Batch as Batch
    from fastcore.controller.batch import BatchError as BatchError
    from fastcore.controller.batch import Create as Create
    from fastcore.controller.batch import Delete as Delete
    from fastcore.controller.batch import DependencyError as DependencyError
    from fastcore.controller.batch import Patch as Patch
    from fastcore.controller.batch import Update as Update
    from fastcore.controller.builder import ControllerBuilder as ControllerBuilder
    from fastcore.controller.client import Client as Client
    from fastcore.controller.config import ClientConfig as ClientConfig
    from fastcore.controller.config import ConfigError as ConfigError
    from fastcore.controller.context import Context as Context
    from fastcore.controller.context import ReconcileTimeout as ReconcileTimeout
    from fastcore.controller.controller import CacheSyncTimeout as CacheSyncTimeout
    from fastcore.controller.controller import Controller as Controller
    from fastcore.controller.engagement import WorkspaceProvider as WorkspaceProvider
    from fastcore.controller.errors import AlreadyExistsError as AlreadyExistsError
    from fastcore.controller.errors import ApiError as ApiError
    from fastcore.controller.errors import ConflictError as ConflictError
    from fastcore.controller.errors import ForbiddenError as ForbiddenError
    from fastcore.controller.errors import NotFoundError as NotFoundError
    from fastcore.controller.event_sender import EventSender as EventSender
    from fastcore.controller.event_series import SeriesRecorder as SeriesRecorder
    from fastcore.controller.events import EventRecorder as EventRecorder
    from fastcore.controller.finalizers import Finalizing as Finalizing
    from fastcore.controller.informer import Informer as Informer
    from fastcore.controller.leader import LeaderElection as LeaderElection
    from fastcore.controller.lease import LeaseLost as LeaseLost
    from fastcore.controller.manager import Manager as Manager
    from fastcore.controller.model import CONFIG_MAP as CONFIG_MAP
    from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION as CUSTOM_RESOURCE_DEFINITION
    from fastcore.controller.model import DEPLOYMENT as DEPLOYMENT
    from fastcore.controller.model import EVENT as EVENT
    from fastcore.controller.model import EVENT_SERIES as EVENT_SERIES
    from fastcore.controller.model import LEASE as LEASE
    from fastcore.controller.model import NAMESPACE as NAMESPACE
    from fastcore.controller.model import SECRET as SECRET
    from fastcore.controller.model import Kind as Kind
    from fastcore.controller.model import Request as Request
    from fastcore.controller.model import Result as Result
    from fastcore.controller.model import TerminalError as TerminalError
    from fastcore.controller.options import Options as Options
    from fastcore.controller.planner import PlanError as PlanError
    from fastcore.controller.predicates import AnnotationChanged as AnnotationChanged
    from fastcore.controller.predicates import DeletionChanged as DeletionChanged
    from fastcore.controller.predicates import FinalizerChanged as FinalizerChanged
    from fastcore.controller.predicates import GenerationChanged as GenerationChanged
    from fastcore.controller.predicates import LabelChanged as LabelChanged
    from fastcore.controller.predicates import Predicate as Predicate
    from fastcore.controller.predicates import ResourceVersionChanged as ResourceVersionChanged
    from fastcore.controller.predicates import SpecOrMetadataChanged as SpecOrMetadataChanged
    from fastcore.controller.predicates import Where as Where
    from fastcore.controller.providers import KubeconfigContexts as KubeconfigContexts
    from fastcore.controller.providers import NamesInFile as NamesInFile
    from fastcore.controller.providers import ObjectWorkspaces as ObjectWorkspaces
    from fastcore.controller.retry import retry_on_conflict as retry_on_conflict
    from fastcore.controller.shard import Sharding as Sharding
    from fastcore.controller.shard_selector import ShardSelector as ShardSelector
    from fastcore.controller.workspace import Workspace as Workspace
    from fastcore.controller.workspace import Workspaces as Workspaces

_NAMES = {
    "adoption": ("ForeignObjectError",),
    "batch": ("Apply", "Batch", "BatchError", "Create", "Delete", "DependencyError", "Patch", "Update"),
    "builder": ("ControllerBuilder",),
    "client": ("Client",),
    "config": ("ClientConfig", "ConfigError"),
    "context": ("Context", "ReconcileTimeout"),
    "controller": ("CacheSyncTimeout", "Controller"),
    "errors": ("AlreadyExistsError", "ApiError", "ConflictError", "ForbiddenError", "NotFoundError"),
    "event_sender": ("EventSender",),
    "event_series": ("SeriesRecorder",),
    "events": ("EventRecorder",),
    "finalizers": ("Finalizing",),
    "informer": ("Informer",),
    "leader": ("LeaderElection",),
    "lease": ("LeaseLost",),
    "manager": ("Manager",),
    "model": (
        "CONFIG_MAP", "CUSTOM_RESOURCE_DEFINITION", "DEPLOYMENT", "EVENT", "EVENT_SERIES", "LEASE", "NAMESPACE",
        "SECRET", "Kind", "Request", "Result", "TerminalError",
    ),
    "options": ("Options",),
    "planner": ("PlanError",),
    "predicates": (
        "AnnotationChanged", "DeletionChanged", "FinalizerChanged", "GenerationChanged", "LabelChanged", "Predicate",
        "ResourceVersionChanged", "SpecOrMetadataChanged", "Where",
    ),
    "retry": ("retry_on_conflict",),
    "shard": ("Sharding",),
    "engagement": ("WorkspaceProvider",),
    "providers": ("KubeconfigContexts", "NamesInFile", "ObjectWorkspaces"),
    "shard_selector": ("ShardSelector",),
    "workspace": ("Workspace", "Workspaces"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        error.add_note("fastcore.controller needs more packages: pip install 'fastcore-k8s[controller]'")
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
