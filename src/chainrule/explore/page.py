"""The page: template, style, scripts and a model's description in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from chainrule.explore.description import Description, describe
from chainrule.model import AutoregressiveModel
from chainrule.schema import Schema
from chainrule.storage import write_bytes
from chainrule.templates import template_of

__all__ = ["render_page", "write_page"]

# In the order in which they are joined: each file uses what stands before it.
_WORKER = (
    "dates",
    "numerics",
    "families",
    "networks",
    "columns",
    "inference",
    "posteriors",
    "answers",
    "worker",
)
_PAGE = ("dates", "text", "client", "evidence", "bars", "curve", "monitors", "panels", "app")


def render_page(description: Description, title: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    description : Description
    title : str
        The heading, such as the name of the data.
    """
    scripts = {
        "chart_script": _text("vendor", "uPlot.iife.min.js"),
        "page_script": _in_one_scope(_PAGE),
    }
    return template_of("chainrule.explore", "page.html.j2").render(
        title=title,
        style=_text("vendor", "uPlot.min.css") + _text("style.css"),
        licence=_text("vendor", "uPlot.LICENSE.txt"),
        hashes=" ".join(_hash(script) for script in scripts.values()),
        worker_source=_data(_in_one_scope(_WORKER)),
        model=_data(description.to_dict()),
        **scripts,
    )


def write_page(models: Sequence[AutoregressiveModel], schema: Schema, path: str | Path, title: str) -> None:
    """Write the page of a model of any order into a file.

    Parameters
    ----------
    models, schema
        As in `describe`.
    path : str or Path
    title : str

    Raises
    ------
    QueryError
        If the model has what the page cannot compute.
    OSError
        If the file cannot be written; the folder must exist.
    """
    write_bytes(Path(path), render_page(describe(models, schema), title).encode())


def _text(*names: str) -> str:
    return files("chainrule.explore").joinpath(*names).read_text(encoding="utf-8")


def _in_one_scope(names: Sequence[str]) -> str:
    """Return scripts joined in one function, so that nothing of theirs is global."""
    sources = "\n".join(_text("js", f"{name}.js") for name in names)
    return f'(() => {{\n"use strict";\n{sources}}})();\n'


def _data(value: Any) -> str:
    """Return JSON that no HTML parser takes for a tag."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _hash(script: str) -> str:
    """Return by what a page's policy knows a script that may run: no other one does."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
