"""The report of a benchmark: one HTML page that holds its data, its program and its pictures, and loads nothing."""

from __future__ import annotations

from tinify.evaluation.report.merge import Merged, merge
from tinify.evaluation.report.page import embedded, page
from tinify.evaluation.report.panels import Panel, Side, panel

__all__ = ["Merged", "Panel", "Side", "embedded", "merge", "page", "panel"]
