"""The pages that a manager serves to operators."""

from typing import TYPE_CHECKING

from fastcore.controller.debug_pages import FLIGHT, WHY, flight_page, why_page
from fastcore.controller.overview import tables
from fastcore.observe import HttpServer, checks_page, local, metrics_page
from fastcore.observe.dashboard import Overview, add_dashboard
from fastcore.observe.logs import Levels
from fastcore.observe.logs.pages import LOGLEVEL, loglevel_page
from fastcore.observe.profiles import PREFIX, profile_pages

if TYPE_CHECKING:
    from fastcore.controller.manager import Manager


def add_pages(server: HttpServer, manager: "Manager", levels: Levels) -> None:
    """Route every page of `manager`: metrics, health, readiness, and those for debugging.

    Args:
        server: gets the pages.
        manager: whose they are.
        levels: changes what is logged; the caller closes it.
    """
    registry = manager.export()
    server.route("/metrics", metrics_page(registry))
    server.route("/healthz", checks_page(manager.health))
    server.route("/readyz", checks_page(manager.readiness))
    server.route_below(WHY, why_page(manager))
    server.route(FLIGHT, flight_page(manager))
    add_dashboard(server, Overview(registry, lambda: tables(manager)), local)
    server.route_below(PREFIX, local(profile_pages()))
    server.route(LOGLEVEL, local(loglevel_page(levels)), put=True)
