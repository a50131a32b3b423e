"""Templates to pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["render_page"]


def render_page(template: str, page: Mapping[str, Any]) -> str:
    """Return a template of this package as HTML; a name that `page` does not hold is an error."""
    environment = Environment(
        loader=PackageLoader("chainrule.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(page)
