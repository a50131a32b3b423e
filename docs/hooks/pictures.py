"""The drawn pictures of the explanations, made from the masks and orders that the library uses."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import torch

from chainrule.masks import dependencies, even_degrees, input_mask, output_mask
from chainrule.orders import rank_of
from chainrule.report.mask_plot import mask_picture
from chainrule.report.style import INK, MUTED, RULE, Picture, drawing, figure, vector_picture

__all__ = ["chain", "dependency_matrices", "made_network", "masks", "nade_states"]

_BLUE, _ORANGE = "#0072B2", "#D55E00"
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _name(number: int) -> str:
    return f"x{number + 1}".translate(_SUBSCRIPT)


def _conditional(number: int, before: Sequence[int]) -> str:
    given = ", ".join(map(_name, before))
    return f"p({_name(number)} | {given})" if given else f"p({_name(number)})"


def _html(picture: Picture) -> str:
    """Return the drawing itself, not an image, so that it follows the colours of the page."""
    drawn = base64.b64decode(picture.source.partition(",")[2]).decode("utf-8")
    svg = drawn[drawn.index("<svg") :]
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return f'<figure class="drawn" role="img" aria-label="{escape(picture.alt)}">{svg}{caption}</figure>'


def _canvas(width: float, height: float, columns: float, rows: float) -> tuple[Any, Any]:
    canvas, axes = figure(width, height)
    canvas.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")
    return canvas, axes


def _node(axes: Any, x: float, y: float, text: str, colour: str = INK, radius: float = 0.3) -> None:
    from matplotlib.patches import Ellipse

    # The canvas has as many inches to a unit in both directions, so a circle is round.
    axes.add_patch(Ellipse((x, y), 2 * radius, 2 * radius, facecolor="none", edgecolor=colour, linewidth=1.3))
    axes.text(x, y, text, ha="center", va="center", fontsize=9)


def _label(axes: Any, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, ha="center", fontsize=8, color=MUTED)


def _edge(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str, **look: Any) -> None:
    (x0, y0), (x1, y1) = start, end
    length = float(np.hypot(x1 - x0, y1 - y0))
    dx, dy = 0.3 * (x1 - x0) / length, 0.3 * (y1 - y0) / length
    axes.plot([x0 + dx, x1 - dx], [y0 + dy, y1 - dy], color=colour, **{"linewidth": 0.9, **look})


def chain(n_variables: int = 4) -> str:
    """Return the variables in a row, each with lines from all that come before it."""
    with drawing():
        canvas, axes = _canvas(6.2, 1.75, 6.2 / 0.55, 1.75 / 0.55)
        places = np.linspace(1.2, 10.0, n_variables)
        for late in range(n_variables):
            for early in range(late):
                bend = f"arc3,rad={-0.28 if late - early > 1 else 0}"
                axes.annotate(
                    "",
                    (places[late] - 0.35, 1.55 - 0.1 * (late - early > 1)),
                    (places[early] + 0.35, 1.55 - 0.1 * (late - early > 1)),
                    arrowprops={"arrowstyle": "->", "color": _BLUE, "connectionstyle": bend, "lw": 1},
                )
            _node(axes, places[late], 1.55, _name(late), radius=0.34)
            _label(axes, places[late], 2.5, _conditional(late, range(late)))
        return _html(vector_picture(canvas, "Each variable depends on all earlier ones."))


def made_network(n_variables: int = 4, n_units: int = 6) -> str:
    """Return a MADE with one hidden layer: units with their degrees, and the connections that are kept."""
    rank, degrees = torch.arange(n_variables), even_degrees(n_units, n_variables)
    into, out = input_mask(rank, degrees).numpy(), output_mask(degrees, rank).numpy()
    with drawing():
        canvas, axes = _canvas(6.4, 3.2, 6.4 / 0.55, 3.2 / 0.55)
        left = np.linspace(2.4, 9.2, n_variables)
        middle = np.linspace(1.9, 9.7, n_units)
        for unit, variable in np.argwhere(into):
            _edge(axes, (left[variable], 4.4), (middle[unit], 2.7), _BLUE)
        for output, unit in np.argwhere(out):
            _edge(axes, (middle[unit], 2.7), (left[output], 1.0), _ORANGE)
        for number, x in enumerate(left):
            _node(axes, x, 4.4, _name(number))
            _label(axes, x, 5.1, f"rank {number}")
            _node(axes, x, 1.0, _name(number), _ORANGE)
            _label(axes, x, 0.45, _conditional(number, range(number)))
        for degree, x in zip(degrees.tolist(), middle, strict=True):
            _node(axes, x, 2.7, str(degree), _BLUE)
        for y, text in ((4.4, "inputs"), (2.7, "degrees"), (1.0, "outputs")):
            axes.text(0.1, y, text, va="center", fontsize=8.5, fontweight="bold")
        words = (
            f"A MADE with {n_variables} variables and {n_units} hidden units. A unit of degree m has "
            "connections from the variables of rank below m, and to the outputs of rank m and above."
        )
        return _html(vector_picture(canvas, words, caption=words))


def nade_states(n_variables: int = 4) -> str:
    """Return NADE's hidden states, one for each position, which grow by one variable at a time."""
    with drawing():
        canvas, axes = _canvas(6.4, 2.6, 6.4 / 0.55, 2.6 / 0.55)
        places = np.linspace(1.9, 10.0, n_variables)
        for number, x in enumerate(places):
            _label(axes, x, 0.45, _conditional(number, range(number)))
            _node(axes, x, 1.2, _name(number), _ORANGE)
            _edge(axes, (x, 2.4), (x, 1.2), _ORANGE)
            axes.text(x + 0.12, 1.85, f"V{number + 1}".translate(_SUBSCRIPT), fontsize=8, color=MUTED)
            _node(axes, x, 2.4, f"h{number}".translate(_SUBSCRIPT), _BLUE)
            if number + 1 == n_variables:
                break
            arrow = {"arrowstyle": "->", "color": _BLUE, "lw": 1}
            axes.annotate("", (places[number + 1] - 0.33, 2.4), (x + 0.33, 2.4), arrowprops=arrow)
            _node(axes, (x + places[number + 1]) / 2, 3.6, _name(number))
            _edge(axes, ((x + places[number + 1]) / 2, 3.6), ((x + places[number + 1]) / 2, 2.15), _BLUE)
            weight = f"+ W{number + 1}{_name(number)}".translate(_SUBSCRIPT)
            axes.text((x + places[number + 1]) / 2 + 0.12, 2.95, weight, fontsize=8, color=MUTED)
        for y, text in ((3.6, "inputs"), (2.4, "states"), (1.2, "outputs")):
            axes.text(0.1, y, text, va="center", fontsize=8.5, fontweight="bold")
        words = "NADE: the state before a position plus one column of weights is the state after it."
        return _html(vector_picture(canvas, words, caption=words))


def masks() -> str:
    """Return the masks of a MADE with two hidden layers, as reports show them."""
    return _html(mask_picture())


def dependency_matrices(orders: Sequence[Sequence[int]], n_units: int = 8) -> str:
    """Return, for each order, which conditional may depend on which variable."""
    n_variables = len(orders[0])
    cell = 0.27
    with drawing():
        width, height = len(orders) * (n_variables + 4.2), n_variables + 3.0
        canvas, axes = _canvas(width * cell, height * cell, width, height)
        for number, order in enumerate(orders):
            degrees = even_degrees(n_units, n_variables)
            found = dependencies(rank_of(torch.tensor(order)), [degrees, degrees], direct=False).numpy()
            left = number * (n_variables + 4.2) + 3.4
            title = "order " + ", ".join(map(_name, order))
            axes.text(left, 0.9, title, fontsize=8.5, fontweight="bold")
            for row, column in np.ndindex(*found.shape):
                colour = _BLUE if found[row, column] else RULE
                axes.add_patch(_square(left + column, 1.5 + row, colour, bool(found[row, column])))
            for each in range(n_variables):
                axes.text(left - 0.2, 2.03 + each, f"p({_name(each)})", ha="right", va="center", fontsize=8)
                _label(axes, left + each + 0.5, 2.3 + n_variables, _name(each))
        words = "Row: a conditional. Filled: the variables that it may depend on, those that come earlier."
        return _html(vector_picture(canvas, words, caption=words))


def _square(x: float, y: float, colour: str, is_filled: bool) -> Any:
    from matplotlib.patches import FancyBboxPatch

    look = {"facecolor": colour if is_filled else "none", "edgecolor": "none" if is_filled else colour}
    style = "round,pad=0,rounding_size=0.12"
    return FancyBboxPatch((x + 0.1, y + 0.1), 0.8, 0.8, boxstyle=style, linewidth=0.8, **look)
