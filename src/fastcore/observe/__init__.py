"""What the people who operate a controller look at: metrics, health and readiness over HTTP."""

from fastcore.observe.local import local
from fastcore.observe.pages import checks_page, metrics_page
from fastcore.observe.server import HttpRequest, HttpResponse, HttpServer, Page

__all__ = ["HttpRequest", "HttpResponse", "HttpServer", "Page", "checks_page", "local", "metrics_page"]
