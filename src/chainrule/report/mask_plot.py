"""The masks of a small MADE as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from matplotlib.patches import FancyBboxPatch

from chainrule.masks import even_degrees, hidden_mask, input_mask, output_mask
from chainrule.report.style import INK, MUTED, RULE, Picture, drawing, figure, vector_picture

__all__ = ["mask_matrices", "mask_picture"]

_BLUE = "#0072B2"
_INCHES_PER_CELL = 0.27
_CAPTION = (
    "Each hidden unit carries a degree, the number of leading variables that it may see, and a connection (a "
    "filled square) is kept only where the rule under its matrix holds; degrees stand beside units, ranks "
    "beside variables. The product of the masks counts the paths from each variable to each conditional: all "
    "lie below the diagonal, so no conditional sees its own variable or a later one, and the product of the "
    "conditionals is a probability distribution."
)
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class _Panel:
    """One matrix with its labels; `sign` stands in front of it, `gap` cells lie to its left."""

    title: str
    rule: str
    matrix: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    sign: str = ""
    gap: float = 2.7


def mask_matrices(
    n_variables: int, n_units: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the degrees of both hidden layers, the output, hidden and input mask, and their product."""
    rank = torch.arange(n_variables)
    degrees = even_degrees(n_units, n_variables)
    out, between, into = output_mask(degrees, rank), hidden_mask(degrees, degrees), input_mask(rank, degrees)
    paths = out.int() @ between.int() @ into.int()
    return degrees.numpy(), out.numpy(), between.numpy(), into.numpy(), paths.numpy()


@cache
def mask_picture(n_variables: int = 6, n_units: int = 8) -> Picture:
    """Return the three masks of a MADE with two hidden layers, and their product, as matrices.

    No data enter, so that the picture is drawn once, however many reports are written.
    """
    degrees, out, between, into, paths = mask_matrices(n_variables, n_units)
    variables = [f"x{number}".translate(_SUBSCRIPT) for number in range(1, n_variables + 1)]
    predicted = [f"p({name})" for name in variables]
    units = [str(int(degree)) for degree in degrees]
    panels = [
        _Panel("Output mask", "rank ≥ degree", out, predicted, units, gap=3.2),
        _Panel("Hidden mask", "degree ≥ degree below", between, units, units, "×"),
        _Panel("Input mask", "degree > rank", into, units, variables, "×"),
        _Panel("Dependencies", "number of paths", paths, predicted, variables, "=", gap=5.0),
    ]
    with drawing():
        return vector_picture(
            _drawn(panels),
            f"Masks of a MADE with {n_variables} variables and two hidden layers of {n_units} units: the "
            "product of output, hidden and input mask is strictly lower triangular, so that each conditional "
            "depends on all earlier variables and on no later one.",
            caption=_CAPTION,
        )


def _drawn(panels: Sequence[_Panel]) -> Any:
    """Draw all matrices in one frame, so that every cell has the same size."""
    tallest = max(panel.matrix.shape[0] for panel in panels)
    width = sum(panel.gap + panel.matrix.shape[1] for panel in panels)
    top, bottom = -2.0, tallest + 2.4
    canvas, axes = figure(width * _INCHES_PER_CELL, (bottom - top) * _INCHES_PER_CELL)
    canvas.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(bottom, top))
    axes.axis("off")
    left = 0.0
    for panel in panels:
        left += panel.gap
        _place(axes, panel, left, (tallest - panel.matrix.shape[0]) / 2)
        sign = left - panel.gap + (0.8 if panel.sign else 0)
        axes.text(sign, tallest / 2, panel.sign, fontsize=17, ha="center", va="center")
        left += panel.matrix.shape[1]
    return canvas


def _place(axes: Any, panel: _Panel, left: float, top: float) -> None:
    n_rows, n_columns = panel.matrix.shape
    for row, column in np.ndindex(n_rows, n_columns):
        value = int(panel.matrix[row, column])
        strength = value / max(int(panel.matrix.max()), 1)
        # Opacity, not a mixed colour, so that the squares suit a light and a dark page.
        look: dict[str, Any] = {"facecolor": _BLUE, "edgecolor": "none", "alpha": 0.2 + 0.8 * strength}
        if not value:
            look = {"facecolor": "none", "edgecolor": RULE, "linewidth": 0.8}
        corner = (left + column + 0.1, top + row + 0.1)
        axes.add_patch(FancyBboxPatch(corner, 0.8, 0.8, boxstyle="round,pad=0,rounding_size=0.12", **look))
        if value and panel.matrix.max() > 1:
            ink = "#ffffff" if strength > 0.5 else INK
            middle = {"ha": "center", "va": "center_baseline"}
            axes.text(left + column + 0.5, top + row + 0.53, str(value), fontsize=7.5, color=ink, **middle)
    _label(axes, panel, left, top)


def _label(axes: Any, panel: _Panel, left: float, top: float) -> None:
    """Write degrees beside units, and name and rank beside variables."""
    bottom = top + panel.matrix.shape[0]
    beside: dict[str, Any] = {"fontsize": 8.5, "ha": "right", "va": "center_baseline"}
    below: dict[str, Any] = {"fontsize": 8.5, "ha": "center", "va": "top"}
    for row, label in enumerate(panel.rows):
        if label.isdecimal():
            axes.text(left - 0.2, top + row + 0.53, label, **beside)
        else:
            axes.text(left - 0.2, top + row + 0.53, str(row), color=MUTED, **beside)
            axes.text(left - 0.8, top + row + 0.53, label, **beside)
    for column, label in enumerate(panel.columns):
        axes.text(left + column + 0.5, bottom + 0.15, label, **below)
        if not label.isdecimal():
            axes.text(left + column + 0.5, bottom + 0.8, str(column), color=MUTED, **below)
    rule = bottom + (0.9 if panel.columns[0].isdecimal() else 1.55)
    axes.text(left + 0.1, top - 0.5, panel.title, fontsize=10, fontweight="bold")
    axes.text(left + 0.1, rule, panel.rule, fontsize=8.5, color=MUTED, va="top")
