"""The page in a notebook, by anywidget: a frame whose conditions Python sees and sets."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from chainrule.errors import MissingPackageError
from chainrule.explore.description import describe
from chainrule.explore.page import render_page
from chainrule.model import AutoregressiveModel
from chainrule.schema import Schema

__all__ = ["show_widget"]


def show_widget(models: Sequence[AutoregressiveModel], schema: Schema, title: str) -> Any:
    """Return the page as a Jupyter widget.

    Its trait ``given`` holds what is set, as `window.chainrule.ask` takes it; setting it sets the page.

    Parameters
    ----------
    models, schema
        As in `describe`.
    title : str

    Raises
    ------
    MissingPackageError
        If `anywidget` is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise MissingPackageError(
            "the page in a notebook needs anywidget, which is not installed: "
            "pip install 'chainrule[notebook]', or give a path to write the page to"
        ) from error

    class ExploreWidget(anywidget.AnyWidget):
        """The page in a frame of its own."""

        _esm = files("chainrule.explore").joinpath("js", "widget.js").read_text(encoding="utf-8")
        page = traitlets.Unicode().tag(sync=True)
        given = traitlets.Dict().tag(sync=True)

    return ExploreWidget(page=render_page(describe(models, schema), title))
