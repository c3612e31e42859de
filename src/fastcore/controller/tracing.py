"""Spans of reconciles, for those who give a tracer; the runtime itself needs no tracing library."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fastcore.controller.model import Request

_NO_SPAN: AbstractContextManager[None] = nullcontext()


def span(tracer: Any, controller: str, request: Request) -> AbstractContextManager[Any]:
    """A span around one reconcile, or nothing without a tracer.

    Args:
        tracer: of OpenTelemetry, as `opentelemetry.trace.get_tracer("my-controller")`.
        controller: the controller's name.
        request: what is reconciled.
    """
    if tracer is None:
        return _NO_SPAN
    attributes = {
        "fastcore.controller": controller,
        "fastcore.workspace": request.workspace,
        "k8s.namespace.name": request.namespace,
        "k8s.object.name": request.name,
    }
    manager: AbstractContextManager[Any] = tracer.start_as_current_span(
        f"reconcile {controller}", attributes=attributes
    )
    return manager
