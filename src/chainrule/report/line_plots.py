"""Figures of all reports: lines over something, such as learning curves, and points with error bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.metrics.statistics import Summary
from chainrule.report.style import MUTED, RULE, Picture, figure, ticks, vector_picture

__all__ = ["COLOURS", "Line", "point_picture", "line_picture"]

# Strong colours that colour-blind readers can tell apart (Okabe and Ito), in the order of their use.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#C9980B", "#332288", "#56B4E9", "#8C8C6B")


@dataclass(frozen=True)
class Line:
    """One line of a figure: points, and the standard errors of the upper coordinate where they have one.

    A line whose name begins with an underscore has no entry in the legend.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    errors: Sequence[float] = field(default_factory=list)
    dashed: bool = False
    markers: bool = False


def line_picture(
    title: str,
    lines: Sequence[Line],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    names: Sequence[str] = (),
    log: bool = False,
    reference: tuple[str, float] | None = None,
    limits: tuple[float, float] | None = None,
    width: float = 4.6,
    **words: Any,
) -> Picture:
    """Return lines over a parameter or over epochs, with bars of two standard errors where they have any.

    Parameters
    ----------
    title, xlabel, ylabel, alt : str
    lines : sequence of Line
    names : sequence of str
        Names of the places 0, 1, ... for a parameter that is no number.
    log : bool
        Whether the lower axis is logarithmic to base 2; the places are those of the points.
    reference : tuple of str and float, optional
        A level to draw across, such as the entropy, and its name.
    limits : tuple of float, optional
        Of the upper axis.
    width : float
        In inches.
    **words
        Further words of the `Picture`, such as its caption.
    """
    canvas, axes = figure(width, 2.9)
    if reference is not None:
        axes.axhline(reference[1], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label=reference[0])
    for line in lines:
        look: dict[str, Any] = {"color": line.colour, "label": line.name, "markersize": 5}
        look["linestyle"] = (0, (4, 2)) if line.dashed else "-"
        look["marker"] = "o" if line.markers or len(line.x) < 3 else None
        if len(line.errors):
            bars = 2 * np.nan_to_num(np.asarray(line.errors, dtype=np.float64))
            axes.errorbar(line.x, line.y, yerr=bars, capsize=3, elinewidth=1, **look)
        else:
            axes.plot(line.x, line.y, **look)
    if names:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.4, len(names) - 0.6)
    elif log:
        places = sorted({x for line in lines for x in line.x})
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
    else:
        whole = all(float(place).is_integer() for line in lines for place in line.x)
        axes.xaxis.set_major_locator(ticks(6, integer=whole))
    axes.yaxis.set_major_locator(ticks(5))
    if limits is not None:
        axes.set_ylim(*limits)
    axes.grid(axis="y")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if sum(not line.name.startswith("_") for line in lines) + (reference is not None) > 1:
        canvas.legend(loc="outside upper left", ncols=3, columnspacing=1.2)
    return vector_picture(canvas, alt, title=title, **words)


def point_picture(
    title: str,
    names: Sequence[str],
    levels: Sequence[Summary],
    *,
    xlabel: str,
    alt: str,
    colours: Sequence[str] = (),
    reference: float | None = 0.0,
    **words: Any,
) -> Picture:
    """Return one point per name, with a bar of two standard errors either way, the names downwards.

    `reference` is where a line is drawn: at zero by default, as differences need one.
    """
    canvas, axes = figure(4.8, max(2.2, 0.9 + 0.4 * len(names)))
    if reference is not None:
        axes.axvline(reference, color=MUTED, linewidth=0.8)
    for place, level in enumerate(levels):
        bar = 2 * level.standard_error if math.isfinite(level.standard_error) else 0.0
        axes.axhline(place, color=RULE, linewidth=0.6, zorder=0)
        colour = colours[place] if colours else COLOURS[0]
        axes.errorbar(level.mean, place, xerr=bar, fmt="o", markersize=6, capsize=3, color=colour)
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(ticks(5))
    axes.set_xlabel(xlabel)
    return vector_picture(canvas, alt, title=title, **words)
