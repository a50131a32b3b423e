"""The page on which one sets some columns and watches the rest: one HTML file, or a widget in a notebook.

The Python side describes a model of any order as plain data and puts the page together; the forward pass,
conditioning and drawing are JavaScript (`js/`), which runs in a worker of the page.
"""

from __future__ import annotations

from chainrule.explore.description import Description, describe
from chainrule.explore.page import render_page, write_page
from chainrule.explore.widget import show_widget

__all__ = ["Description", "describe", "render_page", "show_widget", "write_page"]
