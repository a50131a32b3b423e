"""The report of a comparison: figures, tables and a conclusion in one HTML file."""

from __future__ import annotations

from chainrule.report.html import write_report

__all__ = ["write_report"]
