"""A small live dashboard of this process: what its metrics say, in words and rates."""

from fastcore.observe.dashboard.overview import OVERVIEW, Column, Overview, Table
from fastcore.observe.dashboard.pages import DASHBOARD, add_dashboard

__all__ = ["DASHBOARD", "OVERVIEW", "Column", "Overview", "Table", "add_dashboard"]
