"""The masks of a small MADE as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch

from chainrule.masks import even_degrees, hidden_mask, input_mask, output_mask
from chainrule.report.style import INK, MUTED, RULE, Picture, figure, vector_picture

__all__ = ["mask_picture"]

_BLUE = "#0072B2"
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def mask_picture(n_variables: int = 6, n_units: int = 8) -> Picture:
    """Return the three masks of a MADE with two hidden layers, and their product, as matrices."""
    rank = torch.arange(n_variables)
    degrees = even_degrees(n_units, n_variables)
    into, between, out = input_mask(rank, degrees), hidden_mask(degrees, degrees), output_mask(degrees, rank)
    paths = (out.int() @ between.int() @ into.int()).numpy()
    variables = [f"x{number}".translate(_SUBSCRIPT) for number in range(1, n_variables + 1)]
    predicted = [f"p({name})" for name in variables]
    units = [str(int(degree)) for degree in degrees]
    panels = [
        ("Output mask", "rank ≥ degree", out.numpy(), predicted, units),
        ("Hidden mask", "degree ≥ degree below", between.numpy(), units, units),
        ("Input mask", "degree > rank", into.numpy(), units, variables),
        ("Dependencies", "number of paths", paths, predicted, variables),
    ]
    widths = [matrix.shape[1] + 2.5 for _, _, matrix, _, _ in panels]
    canvas, axes = figure(10.4, 3.45, ncols=len(panels), gridspec_kw={"width_ratios": widths})
    for position, (axis, (title, rule, matrix, rows, columns)) in enumerate(zip(axes, panels, strict=True)):
        _matrix(axis, matrix, rows, columns, numbers=position == len(panels) - 1)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(rule, color=MUTED)
        if position:
            sign = "=" if position == len(panels) - 1 else "×"
            axis.text(-0.24, 0.5, sign, transform=axis.transAxes, fontsize=17, ha="center", va="center")
    axes[0].set_ylabel(f"ranks 0 to {n_variables - 1}, downwards", color=MUTED)
    return vector_picture(
        canvas,
        f"Masks of a MADE with {n_variables} variables and two hidden layers of {n_units} units: the product "
        "of output, hidden and input mask is strictly lower triangular, so that each conditional depends on "
        "all earlier variables and on no later one.",
        caption="Each hidden unit carries a degree, the number of leading variables that it may see, and a "
        "connection is kept only where the rule under its matrix holds. The product of the masks counts the "
        "paths from every variable to every conditional: all below the diagonal, none on it or above, which "
        "is what makes the product of the conditionals a probability distribution.",
    )


def _matrix(axis: Any, matrix: np.ndarray, rows: list[str], columns: list[str], *, numbers: bool) -> None:
    """Draw cells as squares: kept connections filled, removed ones as an outline."""
    strength = matrix / max(matrix.max(), 1)
    for row, column in np.ndindex(*matrix.shape):
        kept = bool(matrix[row, column])
        # Opacity, not a mixed colour, so that the squares suit a light and a dark page.
        shade = (*to_rgb(_BLUE), 0.25 + 0.75 * float(strength[row, column])) if kept else "none"
        square = {"facecolor": shade, "edgecolor": "none" if kept else RULE, "linewidth": 0.8}
        axis.add_patch(_square(column, row, **square))
        if numbers and kept:
            dark = strength[row, column] > 0.45
            axis.text(
                column, row, str(matrix[row, column]), ha="center", va="center", fontsize=7.5,
                color="#ffffff" if dark else INK,
            )  # fmt: skip
    axis.set(xlim=(-0.6, matrix.shape[1] - 0.4), ylim=(matrix.shape[0] - 0.4, -0.6), aspect="equal")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(length=0, pad=1)
    axis.spines[:].set_visible(False)


def _square(column: float, row: float, **look: Any) -> Any:
    return FancyBboxPatch(
        (column - 0.4, row - 0.4), 0.8, 0.8, boxstyle="round,pad=0,rounding_size=0.12", **look
    )
