"""The figures about answers: a clustered map of dependence, reliability, transforms of hidden cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binom

from chainrule.report.numbers import number, short
from chainrule.report.style import INK, MUTED, REAL, Picture, figure, vector_picture

if TYPE_CHECKING:
    from chainrule.metrics.calibration import ColumnCalibration
    from chainrule.report.model_answers import ModelAnswers

__all__ = ["dependence_maps", "reliability_curves", "transform_histograms"]

_N_ACROSS, _N_PANELS = 5, 20
_MAX_NAMED_BELOW = 40  # columns of a map
_TREE = 0.16  # its height, as a share of the map's
_BLUE = to_rgb("#0072B2")
# Nothing at 0, so that the page shows through, light or dark.
_UP = LinearSegmentedColormap.from_list("up", [(0.0, (*_BLUE, 0.0)), (1.0, (*_BLUE, 1.0))])
_CELLS_PER_BAR = 25


def dependence_maps(answers: ModelAnswers, **words: Any) -> Picture:
    """Return the dependence of columns under a model and in rows, like columns beside each other."""
    ours, rows = answers.dependence.normalised, answers.rows_dependence
    tree = _tree(ours)
    order = np.array(tree["leaves"], dtype=int)
    names = [short(answers.dependence.names[d], 16) for d in order]
    n = len(order)
    side = float(np.clip(0.24 * n, 2.6, 5.0))
    canvas, axes = figure(2 * side + 2.2, (1 + _TREE) * side + 1.1, ncols=2)
    size = float(np.clip(72 * side / n * 0.8, 4.5, 8.0))
    maps = (("Model: " + answers.model, ours), ("Training rows", rows))
    for axis, (title, matrix) in zip(axes, maps, strict=True):
        shades = _map(axis, title, matrix[np.ix_(order, order)], names, size)
        _draw_tree(axis, tree, n)
    axes[0].set_yticks(np.arange(n) + 0.5, names, fontsize=size)
    bar = canvas.colorbar(shades, ax=axes, fraction=0.03, pad=0.02, shrink=0.7)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.ax.tick_params(labelsize=8, length=0)
    pairs = answers.dependence.pairs()
    strongest = f" Strongest: {pairs[0].first} and {pairs[0].second}." if pairs else ""
    apart = np.abs(ours - rows)[np.triu_indices(n, 1)].mean()
    alt = (
        f"Maps of the dependence between {n} columns under {answers.model} and in training rows; mean "
        f"absolute difference {number(float(apart), 3)}.{strongest}"
    )
    return vector_picture(canvas, alt, **words)


def _tree(normalised: np.ndarray) -> dict[str, Any]:
    """Return the tree of columns, the most dependent joined first (average linkage)."""
    apart = 1 - (normalised + normalised.T) / 2
    np.fill_diagonal(apart, 0.0)
    joined = linkage(squareform(apart, checks=False), "average", optimal_ordering=len(apart) <= 200)
    tree: dict[str, Any] = dendrogram(joined, no_plot=True)
    return tree


def _map(axis: Any, title: str, matrix: np.ndarray, names: Sequence[str], size: float) -> Any:
    n = len(matrix)
    shown = np.where(np.eye(n, dtype=bool), np.nan, matrix)
    shades = axis.pcolormesh(shown, cmap=_UP, vmin=0, vmax=1, rasterized=True)
    axis.set(xlim=(0, n), ylim=(n, -_TREE * n), aspect="equal")
    axis.set_title(title)
    axis.spines[:].set_visible(False)
    axis.plot([0, n, n, 0, 0], [0, 0, n, n, 0], color=MUTED, linewidth=0.7, clip_on=False)
    axis.tick_params(length=0)
    is_named_below = n <= _MAX_NAMED_BELOW
    axis.set_xticks(
        np.arange(n) + 0.5 if is_named_below else [], names if is_named_below else [], rotation=90
    )
    axis.tick_params(axis="x", labelsize=size)
    axis.set_yticks([])
    return shades


def _draw_tree(axis: Any, tree: dict[str, Any], n: int) -> None:
    """Draw above a map which columns were joined, and how far apart they are: 1 at its top."""
    for across, up in zip(tree["icoord"], tree["dcoord"], strict=True):
        axis.plot(np.array(across) / 10, -0.95 * _TREE * n * np.array(up), color=MUTED, linewidth=0.8)


def reliability_curves(columns: Sequence[ColumnCalibration], colour: str, **words: Any) -> Picture:
    """Return probabilities of levels against how often these stood there, a panel for each column."""
    shown = _furthest(columns)
    alt = (
        f"Reliability of {len(shown)} columns: predicted probability across, observed frequency upwards. "
        f"{_gaps(shown)}"
    )
    return _panels(shown, _reliability, colour, alt, ("predicted probability", "observed frequency"), **words)


def transform_histograms(columns: Sequence[ColumnCalibration], colour: str, **words: Any) -> Picture:
    """Return the places of hidden values in their distributions, a histogram for each column."""
    shown = _furthest(columns)
    alt = f"Histograms of the probability integral transform of {len(shown)} columns. {_gaps(shown)}"
    axes = ("place in its distribution", "cells, 1 as expected")
    return _panels(shown, _transform, colour, alt, axes, **words)


def _furthest(columns: Sequence[ColumnCalibration]) -> list[ColumnCalibration]:
    """Return the columns that get a panel: those that are least calibrated, in the order of the table."""
    ranked = sorted(columns, key=lambda each: each.gap / max(each.gap_by_chance, 1e-12), reverse=True)
    kept = {each.column for each in ranked[:_N_PANELS]}
    return [each for each in columns if each.column in kept]


def _gaps(columns: Sequence[ColumnCalibration]) -> str:
    gaps = "; ".join(f"{each.column} {number(each.gap, 3)}" for each in columns)
    return f"Gaps: {gaps}."


def _panels(
    columns: Sequence[ColumnCalibration],
    draw: Callable[[Any, ColumnCalibration, str], None],
    colour: str,
    alt: str,
    labels: tuple[str, str],
    **words: Any,
) -> Picture:
    n_down = math.ceil(len(columns) / _N_ACROSS)
    size = 2.1 * _N_ACROSS + 0.4, 1.9 * n_down + 0.3
    canvas, axes = figure(*size, nrows=n_down, ncols=_N_ACROSS, squeeze=False)
    canvas.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    for axis, column in zip(axes.flat, columns, strict=False):
        draw(axis, column, colour)
        axis.set_title(short(column.column, 20), fontsize=9)
        axis.tick_params(labelsize=7.5)
    for axis in axes.flat[len(columns) :]:
        axis.axis("off")
    canvas.supxlabel(labels[0], fontsize=9, color=INK)
    canvas.supylabel(labels[1], fontsize=9, color=INK)
    return vector_picture(canvas, alt, **words)


def _reliability(axis: Any, column: ColumnCalibration, colour: str) -> None:
    found = column.reliability
    assert found is not None
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9)
    low, high = ((found.predicted + sign * 1.96 * found.error).clip(0, 1) for sign in (-1, 1))
    axis.fill_between(found.predicted, low, high, color=REAL, alpha=0.35, linewidth=0)
    axis.plot(found.predicted, found.observed, "o-", color=colour, markersize=3.6, linewidth=1.2)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _transform(axis: Any, column: ColumnCalibration, colour: str) -> None:
    assert column.transform is not None
    n = len(column.transform)
    n_bars = int(np.clip(n // _CELLS_PER_BAR, 4, 20))
    counts, edges = np.histogram(column.transform, n_bars, (0, 1))
    low, high = binom.ppf([0.025, 0.975], n, 1 / n_bars) * n_bars / n
    axis.axhspan(low, high, color=REAL, alpha=0.35, linewidth=0)
    axis.axhline(1, color=MUTED, linewidth=0.9)
    axis.stairs(counts * n_bars / n, edges, fill=True, color=colour, alpha=0.3)
    axis.stairs(counts * n_bars / n, edges, color=colour, linewidth=1.3)
    highest = max(float(high), float(counts.max()) * n_bars / n)
    axis.set(xlim=(0, 1), ylim=(0, max(1.8, 1.08 * highest)))
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.set_yticks([0, 1], ["0", "1"])
