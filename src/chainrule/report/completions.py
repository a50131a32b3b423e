"""Pictures of what models make of rows of which a part is hidden."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.estimators.binned_distribution import BinnedDistribution
from chainrule.estimators.conditional_query import ConditionalQuery
from chainrule.report.images import image_grid
from chainrule.report.numbers import short
from chainrule.report.rows import code_values, pixel_shades, take_rows
from chainrule.report.style import INK, MUTED, REAL, Picture, figure, ticks, vector_picture

if TYPE_CHECKING:
    from chainrule.estimators.autoregressive import AutoregressiveEstimator
    from chainrule.estimators.conditional_distribution import ConditionalDistribution
    from chainrule.schema import ColumnType

__all__ = ["conditional_bars", "image_completions", "most_predictable_columns"]

_N_DRAWS = 5
_COMPLETIONS = "From left to right: a test row, what of it is given, and draws of the rest."
_MAX_COLUMNS_TRIED, _MAX_ROWS_TRIED = 40, 200
_MAX_BARS = 6
_MAX_ORDINAL_BARS = 40
_N_GRID = 120
# Nats per row that a column's distribution must change by, for its picture to be worth looking at.
_MIN_GAIN = 1e-4


def image_completions(
    estimator: AutoregressiveEstimator,
    codes: np.ndarray,
    reference: np.ndarray,
    shape: tuple[int, ...],
    alt: str,
    **words: Any,
) -> Picture:
    """Return images, their upper halves, and several draws of the lower half given the upper one.

    Parameters
    ----------
    estimator : AutoregressiveEstimator
        Answers any query.
    codes : ndarray (n, D)
        Images; NaN where a pixel is missing.
    reference : ndarray (m, D)
        Codes of real rows, which set the range of continuous shades.
    shape : tuple of int
        Height and width, and 3 of images in colour.
    """
    schema = estimator.schema_
    given = _upper_half(shape)
    known = np.repeat(given & ~np.isnan(codes), _N_DRAWS, axis=0)
    query = ConditionalQuery(np.repeat(codes, _N_DRAWS, axis=0), known, ~known)
    engine = estimator.query_engine()
    # One pass for all draws of all rows.
    drawn = engine.sample(query, engine.torch_generator(np.random.default_rng(0)))
    real = pixel_shades(schema, codes, reference)
    half = np.where(given, real, np.nan)
    draws = pixel_shades(schema, drawn, reference).reshape(len(codes), _N_DRAWS, -1)
    images = np.concatenate([real[:, None], half[:, None], draws], axis=1).reshape(-1, given.size)
    return image_grid(images, shape, 2 + _N_DRAWS, alt, width=520, caption=_COMPLETIONS, **words)


def _upper_half(shape: tuple[int, ...]) -> np.ndarray:
    """Return which variables are given, bool (D,): the upper half, or the left one of a single line."""
    image = np.zeros(shape, dtype=bool)
    given = image[: len(image) // 2] if len(image) > 1 else image[:, : image.shape[1] // 2]
    given[...] = True
    return image.ravel()


def most_predictable_columns(estimator: AutoregressiveEstimator, rows: Any, n: int) -> list[int]:
    """Return the columns about which the others tell most, on some rows, in the order of the table.

    Of a wide table only some columns are tried, evenly from first to last.
    """
    n_variables = estimator.schema_.n_variables
    tried = np.unique(np.linspace(0, n_variables - 1, min(n_variables, _MAX_COLUMNS_TRIED)).astype(int))
    rows = take_rows(rows, np.linspace(0, len(rows) - 1, min(len(rows), _MAX_ROWS_TRIED)).astype(int))
    values = code_values(estimator.schema_, estimator.schema_.encode(rows, missing=True, unseen=np.nan))
    gains = {int(d): _gain(estimator.conditional(rows, int(d)).as_numbers(), values[:, d]) for d in tried}
    best = sorted(gains, key=lambda d: gains[d], reverse=True)[:n]
    return sorted(d for d in best if gains[d] > _MIN_GAIN)


def _gain(distribution: ConditionalDistribution, values: np.ndarray) -> float:
    """Return about how many nats the others tell of a column: by how much its distribution changes by row."""
    if distribution.levels is not None:
        if isinstance(distribution, BinnedDistribution):
            probabilities = distribution.bin_probabilities
        else:
            probabilities = distribution.probabilities
        return _entropy(probabilities.mean(axis=0)) - float(np.mean([_entropy(row) for row in probabilities]))
    within = np.mean(distribution.quantile(0.84) - distribution.quantile(0.16)) / 2
    whole = (np.nanquantile(values, 0.84) - np.nanquantile(values, 0.16)) / 2
    return math.log(max(whole, 1e-12) / max(float(within), 1e-12))


def _entropy(probabilities: np.ndarray) -> float:
    positive = probabilities[probabilities > 0]
    return -float((positive * np.log(positive)).sum())


def conditional_bars(
    estimator: AutoregressiveEstimator,
    rows: Any,
    numbers: Sequence[int],
    columns: Sequence[int],
    background: np.ndarray,
    colour: str,
    alt: str,
    **words: Any,
) -> Picture:
    """Return p(column | all others) for some rows downwards and columns across, with the true values.

    Parameters
    ----------
    estimator : AutoregressiveEstimator
        Answers any query.
    rows : array or DataFrame
        Those to show.
    numbers : sequence of int
        Their numbers among the test rows, from 0.
    columns : sequence of int
    background : ndarray (n, D)
        Codes of all test rows: what each column looks like where nothing is known.
    colour : str
        Of the model.
    """
    schema = estimator.schema_
    codes = schema.encode(rows, missing=True, unseen=np.nan)
    n_down, n_across = len(rows), len(columns)
    canvas, axes = figure(2.5 * n_across, 1.25 * n_down + 0.3, nrows=n_down, ncols=n_across, squeeze=False)
    for across, d in enumerate(columns):
        distribution = estimator.conditional(rows, d).as_numbers()
        own = background[:, d][~np.isnan(background[:, d])]
        draw = _picture_of(schema.variables[d])
        draw(axes[:, across], schema.variables[d], distribution, codes[:, d], own, colour)
        axes[0, across].set_title(short(schema.names[d], 24))
    for down, number in enumerate(numbers):
        axes[down, 0].set_ylabel(f"test row {number + 1}", color=MUTED)
    return vector_picture(canvas, alt, **words)


def _level_bars(
    axes: np.ndarray,
    variable: ColumnType,
    distribution: ConditionalDistribution,
    truth: np.ndarray,
    background: np.ndarray,
    colour: str,
) -> None:
    """Draw the probabilities of levels as bars, one below the other."""
    probabilities = distribution.probabilities
    levels = list(variable.levels or ())
    shares = np.bincount(background.astype(int), minlength=len(levels)) / max(len(background), 1)
    shown = _levels_to_show(probabilities, truth)
    names = [short(str(levels[level]), 14) for level in shown]
    n_others = len(levels) - len(shown)
    if n_others:
        names.append(f"{n_others} others")
    for axis, mine, true in zip(axes, probabilities, truth, strict=True):
        for values, draw in ((mine, _bar), (shares, _tick)):
            heights = [*values[shown], *([1 - values[shown].sum()] if n_others else [])]
            for place, height in enumerate(heights):
                draw(axis, place, max(float(height), 0.0), colour)
        if not np.isnan(true):
            _dot(axis, 0, shown.index(int(true)))
        axis.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6))
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.set_yticks(range(len(names)), names)
        axis.tick_params(axis="y", length=0, pad=8)
        axis.tick_params(labelbottom=axis is axes[-1])
        axis.grid(axis="x")


def _levels_to_show(probabilities: np.ndarray, truth: np.ndarray) -> list[int]:
    """Return the levels that get a bar: the true ones, and the most probable."""
    if probabilities.shape[1] <= _MAX_BARS:
        return list(range(probabilities.shape[1]))
    needed = [int(code) for code in np.unique(truth[~np.isnan(truth)])]
    probable = np.argsort(-probabilities.mean(axis=0), kind="stable").tolist()
    return sorted(list(dict.fromkeys([*needed, *probable]))[: max(_MAX_BARS - 1, len(needed))])


def _bar(axis: Any, place: int, height: float, colour: str) -> None:
    axis.barh(place, height, height=0.66, color=colour, alpha=0.75)


def _tick(axis: Any, place: int, height: float, colour: str) -> None:
    axis.plot([height, height], [place - 0.42, place + 0.42], color=REAL, linewidth=2, solid_capstyle="butt")


def _dot(axis: Any, across: float, up: float) -> None:
    axis.plot(across, up, "o", color=INK, markersize=6, clip_on=False, zorder=6)


def _picture_of(variable: ColumnType) -> Callable[..., None]:
    """Return the function that draws distributions of a variable."""
    if not variable.is_numeric:
        return _level_bars
    return _ordinal_bars if variable.is_discrete else _densities


def _ordinal_bars(
    axes: np.ndarray,
    variable: ColumnType,
    distribution: ConditionalDistribution,
    truth: np.ndarray,
    background: np.ndarray,
    colour: str,
) -> None:
    """Draw the probabilities of whole numbers as bars side by side."""
    true, seen = variable.numbers(truth), variable.numbers(background)
    ends = [
        distribution.quantile(0.005),
        distribution.quantile(0.995),
        true,
        np.quantile(seen, [0.005, 0.995]),
    ]
    low, high = int(np.nanmin(np.concatenate(ends))), int(np.nanmax(np.concatenate(ends)))
    width = max(1, math.ceil((high - low + 1) / _MAX_ORDINAL_BARS))
    coarse = np.arange(low, high + 1 + width, width) - 0.5
    if distribution.levels is None or isinstance(distribution, BinnedDistribution):
        edges = coarse
        heights = np.diff([distribution.cdf(edge) for edge in edges], axis=0).T / width
    else:
        edges = np.arange(low, high + 2) - 0.5
        first, last = variable.codes_of_numbers(np.array([low, high])).astype(int)
        heights = distribution.probabilities[:, first : last + 1]
    for mine, axis, value in zip(heights, axes, true, strict=True):
        axis.stairs(mine, edges, fill=True, color=colour, alpha=0.75)
        counts, _ = np.histogram(seen, coarse)
        axis.stairs(counts / max(len(seen), 1) / width, coarse, color=REAL, linewidth=1.2)
        _value_axis(axis, axis is axes[-1], (edges[0], edges[-1]), float(value))


def _densities(
    axes: np.ndarray,
    variable: ColumnType,
    distribution: ConditionalDistribution,
    truth: np.ndarray,
    background: np.ndarray,
    colour: str,
) -> None:
    """Draw densities as curves, with the middle 90 % filled."""
    true, seen = variable.numbers(truth), variable.numbers(background)
    levels = [0.005, 0.02, 0.05, *np.linspace(0.1, 0.9, 17), 0.95, 0.98, 0.995]
    quantiles = np.stack([distribution.quantile(float(q)) for q in levels])
    limits = np.nanquantile(seen, [0.005, 0.995])
    low = min(float(np.nanmin(quantiles)), float(np.nanmin(true, initial=np.inf)), float(limits[0]))
    high = max(float(np.nanmax(quantiles)), float(np.nanmax(true, initial=-np.inf)), float(limits[1]))
    even = np.linspace(low, high, _N_GRID)[:, None]
    # A narrow peak between two points of an even grid would be lost; its quantiles lie inside it.
    grid = np.sort(np.concatenate([np.broadcast_to(even, (_N_GRID, len(truth))), quantiles]), axis=0)
    heights = np.exp([distribution.log_prob(points) for points in grid])
    edges = np.linspace(low, high, 25)
    counts, _ = np.histogram(seen, edges)
    shares = counts / max(len(seen), 1) / (edges[1] - edges[0])
    for row, axis in enumerate(axes):
        points, height = grid[:, row], heights[:, row]
        inner = (points >= quantiles[2, row]) & (points <= quantiles[-3, row])
        axis.fill_between(points[inner], height[inner], color=colour, alpha=0.35, linewidth=0)
        axis.plot(points, height, color=colour, linewidth=1.4)
        axis.stairs(shares, edges, color=REAL, linewidth=1.2)
        _value_axis(axis, axis is axes[-1], (low, high), float(true[row]))


def _value_axis(axis: Any, is_last: bool, limits: tuple[float, float], true: float) -> None:
    axis.set_xlim(*limits)
    axis.set_ylim(bottom=0)
    if not math.isnan(true):
        _dot(axis, true, 0)
    axis.xaxis.set_major_locator(ticks(4))
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.tick_params(labelbottom=is_last)
