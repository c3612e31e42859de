"""The reference controller: a WebApp becomes a ConfigMap and a Deployment, and its status says how they are."""

from pathlib import Path

from fastcore.controller.model import Resource
from fastcore.reference.reconciler import build
from fastcore.reference.webapp import WEBAPP

__all__ = ["MANIFESTS", "MONITORING", "WEBAPP", "build", "crd"]

MANIFESTS = Path(__file__).parent / "manifests"
"""The folder with crd.yaml, rbac.yaml, deployment.yaml, service.yaml and a sample, webapp.yaml."""

MONITORING = Path(__file__).parent / "monitoring"
"""The folder with alerts.yaml, a PrometheusRule, and dashboard.json for Grafana; both fit every controller."""


def crd() -> Resource:
    """The CustomResourceDefinition of WebApp."""
    import yaml

    definition: Resource = yaml.safe_load((MANIFESTS / "crd.yaml").read_text(encoding="utf-8"))
    return definition
