"""The pages that a manager serves to operators."""

from typing import TYPE_CHECKING

from fastcore.observe import HttpServer, checks_page, metrics_page

if TYPE_CHECKING:
    from fastcore.controller.manager import Manager


def add_pages(server: HttpServer, manager: "Manager") -> None:
    """Route every page of `manager`: metrics, health and readiness."""
    server.route("/metrics", metrics_page(manager.export()))
    server.route("/healthz", checks_page(manager.health))
    server.route("/readyz", checks_page(manager.readiness))
