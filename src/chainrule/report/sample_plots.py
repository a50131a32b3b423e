"""The figures that put samples beside real rows: images, planes, pairs of columns, rows of bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb

from chainrule.report.numbers import short
from chainrule.report.rows import one_hot, plot_values
from chainrule.report.style import (
    INK,
    MAP,
    MUTED,
    REAL,
    Picture,
    figure,
    ticks,
    vector_picture,
)

if TYPE_CHECKING:
    from chainrule.report.comparison import ModelResult
    from chainrule.schema import Schema

__all__ = [
    "bit_rows",
    "correlated_columns",
    "correlations",
    "density_maps",
    "is_fine_grid",
    "pair_plot",
    "plane_scatters",
]

_MAX_INDICATORS = 150
_MAX_LEVELS = 20
_MAX_ROWS = 5000
_MAX_GRID = 200
_CONTINUOUS_GRID = 140
_MAX_PAIR_POINTS = 400
# A grey for points in a raster, which cannot follow the page: it suits light and dark.
_GREY = "#7d7d7d"


def bit_rows(codes: np.ndarray, colour: str, alt: str, labels: Sequence[str] = (), **words: Any) -> Picture:
    """Return rows of binary values (n, D) as a matrix: a cell is filled where the value is one."""
    n, width = codes.shape
    canvas, axes = figure(4.6, 0.5 + (0.22 if labels else 0.085) * n)
    shade = np.zeros((n, width, 4))
    shade[..., :3] = to_rgb(colour)
    shade[..., 3] = codes > 0.5
    axes.imshow(shade, aspect="auto", interpolation="none", extent=(0.5, width + 0.5, n - 0.5, -0.5))
    axes.spines[:].set_visible(True)
    axes.xaxis.set_major_locator(ticks(6, integer=True))
    axes.set_xlabel("variable")
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    return vector_picture(canvas, alt, **words)


def is_fine_grid(schema: Schema) -> bool:
    """Return whether points would fall on so fine a grid of levels that counts show more than points."""
    return schema.is_discrete and all(count > 30 for count in schema.n_codes)


def plane_scatters(
    schema: Schema, real: Any, results: Sequence[ModelResult], colours: Mapping[str, str]
) -> list[Picture]:
    """Return, for data of two variables, real rows alone and then each model's samples over them."""
    truth = plot_values(schema, real)
    drawn = {result.model: plot_values(schema, result.samples) for result in results}
    if is_fine_grid(schema):
        return _plane_histograms(schema, truth, drawn)
    limits = [_limits(truth[:, axis]) for axis in range(2)]
    # As many of one as of the other, or the larger set would hide the smaller.
    shown = min(2000, len(truth), *(len(values) for values in drawn.values()))
    spread = np.random.default_rng(0)
    pictures = []
    for name in ("real", *drawn):
        canvas, axes = figure(3.5, 3.3)
        if name in drawn:
            points = _jittered(drawn[name][:shown], schema, spread)
            axes.scatter(*points.T, s=11, color=colours[name], alpha=0.55, linewidths=0, rasterized=True)
        points = _jittered(truth[:shown], schema, spread)
        look = {"s": 11, "alpha": 0.8} if name == "real" else {"s": 5, "alpha": 0.9}
        axes.scatter(*points.T, **look, color=_GREY, linewidths=0, rasterized=True)
        _plane_axes(axes, schema, limits)
        title = "Real test rows" if name == "real" else name
        what = "real test rows" if name == "real" else f"samples of {name} with real test rows over them"
        key = REAL if name == "real" else colours[name]
        pictures.append(vector_picture(canvas, f"Scatter of {what}, two variables.", title=title, key=key))
    return pictures


def density_maps(schema: Schema, real: Any, results: Sequence[ModelResult]) -> list[Picture]:
    """Return each model's log-probability or log-density over the plane, all on one scale of colours."""
    points, codes, (n_across, n_up), limits = _plane_grid(schema, plot_values(schema, real))
    rows = schema.decode(codes)
    maps = {r.model: r.estimator.score_samples(rows).reshape(n_up, n_across) for r in results}
    highest = max(float(values[np.isfinite(values)].max(initial=-math.inf)) for values in maps.values())
    if not math.isfinite(highest):
        return []
    # What is hardly ever seen shares one colour; the leader decides where the rest of the scale lies.
    lowest = max(highest - 9, float(np.quantile(next(iter(maps.values())), 0.02)))
    unit = "log-probability (nats)" if schema.is_discrete else "log-density (nats)"
    pictures = []
    for name, values in maps.items():
        canvas, axes = figure(3.9, 3.3)
        image = axes.pcolormesh(
            points[0], points[1], np.where(np.isfinite(values), values, highest - 99), cmap=MAP,
            vmin=lowest, vmax=highest, shading="nearest", rasterized=True,
        )  # fmt: skip
        _plane_axes(axes, schema, limits)
        bar = canvas.colorbar(image, ax=axes, extend="min", fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        alt = f"Map of the {unit} of {name} over the two variables, highest {values.max():.2f} nats."
        pictures.append(vector_picture(canvas, alt, title=name))
    return pictures


def pair_plot(schema: Schema, columns: Sequence[int], real: Any, result: ModelResult, colour: str) -> Picture:
    """Return the chosen columns in pairs: real rows and the model's samples over each other."""
    truth, drawn = plot_values(schema, real)[:, columns], plot_values(schema, result.samples)[:, columns]
    points, shades = _shuffled(truth, drawn, colour)
    names = [schema.variables[column].name for column in columns]
    n = len(columns)
    limits = [_limits(truth[:, column]) for column in range(n)]
    side = 1.55 if n > 3 else 2.1
    canvas, axes = figure(side * n, side * n, nrows=n, ncols=n, squeeze=False)
    for row, column in np.ndindex(n, n):
        axis = axes[row, column]
        axis.set_xlim(*limits[column])
        if column > row:
            _correlation_cell(axis, truth[:, [column, row]], drawn[:, [column, row]], colour)
            continue
        if column == row:
            edges = np.linspace(*limits[row], 25)
            axis.hist(truth[:, row], edges, density=True, color=REAL, alpha=0.45)
            axis.hist(drawn[:, row], edges, density=True, histtype="step", color=colour, linewidth=1.4)
            axis.set_yticks([])
        else:
            axis.set_ylim(*limits[row])
            look = {"s": 4, "alpha": 0.7, "linewidths": 0, "rasterized": True}
            axis.scatter(points[:, column], points[:, row], c=shades, **look)
            axis.yaxis.set_major_locator(ticks(3))
        axis.xaxis.set_major_locator(ticks(3))
        axis.tick_params(labelbottom=row == n - 1, labelleft=column == 0 and row > 0, labelsize=7.5)
        if row == n - 1:
            axis.set_xlabel(short(names[column]), fontsize=8.5)
        if column == 0:
            axis.set_ylabel(short(names[row]), fontsize=8.5)
    return vector_picture(
        canvas,
        f"Pair plot of the columns {', '.join(names)}: real test rows and samples of {result.model}.",
        dpi=144,
        title=f"{result.model}: samples and real rows in pairs of columns",
        key=colour,
        caption="Grey: real test rows; coloured: samples. Above the diagonal the correlation of each pair, "
        "in the real rows and in the samples.",
    )


def correlations(
    schema: Schema, real: Any, results: Sequence[ModelResult], colours: Mapping[str, str]
) -> list[Picture]:
    """Return one picture per model: the correlation of each pair of columns, in real rows and in samples."""
    columns = correlated_columns(schema)
    if len(columns) < 2:
        return []
    values, origins = one_hot(schema, real, columns, _MAX_ROWS)
    truth = _correlation_matrix(values)
    # Levels of one variable exclude each other in any model: such pairs would say nothing.
    pairs = np.triu(origins[:, None] != origins[None, :]) & np.isfinite(truth)
    pictures = []
    for result in results:
        drawn = _correlation_matrix(one_hot(schema, result.samples, columns, _MAX_ROWS)[0])
        usable = pairs & np.isfinite(drawn)
        if usable.sum() >= 3:
            picture = _correlation_scatter(truth[usable], drawn[usable], result.model, colours[result.model])
            pictures.append(picture)
    return pictures


def correlated_columns(schema: Schema) -> list[int]:
    """Return the first columns, leaving out categorical ones of many levels, that make a readable picture."""
    columns, total = [], 0
    for column, variable in enumerate(schema.variables):
        width = variable.n_indicators
        if width > _MAX_LEVELS:
            continue
        total += width
        if total > _MAX_INDICATORS:
            break
        columns.append(column)
    return columns


def _correlation_scatter(across: np.ndarray, up: np.ndarray, model: str, colour: str) -> Picture:
    error = float(np.sqrt(np.mean((across - up) ** 2)))
    canvas, axes = figure(2.9, 2.9)
    axes.axline((0, 0), slope=1, color=MUTED, linewidth=0.9)
    axes.scatter(across, up, s=11, color=colour, alpha=0.55, linewidths=0, rasterized=True)
    # The same limits for each model, with room for the samples.
    limits = (min(-0.25, 1.3 * float(across.min())), max(0.25, min(1.3 * float(across.max()), 1.05)))
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="real rows", ylabel="samples")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticks(4))
    axes.grid()
    return vector_picture(
        canvas,
        f"Pairwise correlations: samples of {model} against real rows; typical difference {error:.3f}.",
        title=model,
        key=colour,
        caption=f"Typical difference {error:.3f} over {len(up)} pairs.",
    )


def _plane_histograms(schema: Schema, truth: np.ndarray, drawn: Mapping[str, np.ndarray]) -> list[Picture]:
    """Count rows per block of levels; blocks are as large as the smallest set of rows needs."""
    fewest = min([len(truth), *(len(values) for values in drawn.values())])
    # As many real rows as drawn ones: more would look smoother for that reason alone.
    truth = truth[np.linspace(0, len(truth) - 1, fewest).astype(int)]
    n_blocks = int(np.clip(math.sqrt(fewest) * 0.9, 20, 60))
    edges = []
    for variable in schema.variables:
        first, last = variable.numbers(np.array([0, variable.n_codes - 1]))
        n_edges = min(n_blocks, int(variable.n_codes)) + 1
        edges.append(np.linspace(first - 0.5, last + 0.5, n_edges))
    sets = {"Real test rows": truth} | {name: values for name, values in drawn.items()}
    shares = {
        name: np.histogram2d(values[:, 0], values[:, 1], bins=edges)[0] / len(values)
        for name, values in sets.items()
    }
    top = float(np.quantile(shares["Real test rows"], 0.995)) or None
    pictures = []
    for name, share in shares.items():
        canvas, axes = figure(3.5, 3.3)
        axes.pcolormesh(*edges, share.T, cmap=MAP, vmin=0, vmax=top, rasterized=True)
        _plane_axes(axes, schema, [(edge[0], edge[-1]) for edge in edges])
        alt = f"Two-dimensional histogram. {name}, {len(sets[name])} rows."
        pictures.append(vector_picture(canvas, alt, title=name))
    return pictures


def _plane_grid(
    schema: Schema, truth: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, tuple[int, int], list[tuple[float, float]]]:
    """Return the grid's values per axis, its codes (n, 2), its size and the limits of the axes."""
    values: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    limits: list[tuple[float, float]] = []
    for axis, variable in enumerate(schema.variables):
        if variable.levels is None:
            limits.append(_limits(truth[:, axis]))
            grid = np.linspace(*limits[-1], _CONTINUOUS_GRID)
            values.append(np.unique(grid.clip(0).round()) if variable.is_discrete else grid)
            codes.append(variable.codes_of_numbers(values[-1]))
        else:
            count = len(variable.levels)
            codes.append(np.unique(np.linspace(0, count - 1, min(count, _MAX_GRID)).round()))
            values.append(variable.numbers(codes[-1]))
            limits.append((values[-1][0] - 0.5, values[-1][-1] + 0.5))
    across, up = np.meshgrid(*codes)
    grid = np.stack([across.ravel(), up.ravel()], axis=1).astype(np.float32)
    return values, grid, (len(codes[0]), len(codes[1])), limits


def _plane_axes(axes: Any, schema: Schema, limits: Sequence[tuple[float, float]]) -> None:
    first, second = schema.variables
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.set_xlabel(short(first.name))
    axes.set_ylabel(short(second.name))
    for axis, variable in ((axes.xaxis, first), (axes.yaxis, second)):
        if not variable.is_numeric and variable.levels and len(variable.levels) <= 8:
            axis.set_ticks(range(len(variable.levels)), [short(str(level)) for level in variable.levels])
        else:
            axis.set_major_locator(ticks(5))


def _correlation_cell(axis: Any, truth: np.ndarray, drawn: np.ndarray, colour: str) -> None:
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.axis("off")
    pairs = ((0.6, truth, INK, "real"), (0.36, drawn, colour, "model"))
    for height, values, shade, word in pairs:
        value = _correlation_matrix(values)[0, 1]
        text = "n/a" if not math.isfinite(value) else f"{value:+.2f}".replace("-", "−")
        axis.text(0.5, height, f"{text} {word}", ha="center", va="center", fontsize=8.5, color=shade)


def _shuffled(truth: np.ndarray, drawn: np.ndarray, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """Return as many real as drawn points in random order, so that neither set hides the other."""
    shown = min(_MAX_PAIR_POINTS, len(truth), len(drawn))
    points = np.concatenate([truth[:shown], drawn[:shown]])
    shades = np.repeat([_GREY, colour], shown)
    order = np.random.default_rng(0).permutation(2 * shown)
    return points[order], shades[order]


def _correlation_matrix(values: np.ndarray) -> np.ndarray:
    if len(values) < 3:
        return np.full((values.shape[1], values.shape[1]), math.nan)
    if np.isnan(values).any():  # by the rows that have both of a pair
        known = np.ma.corrcoef(np.ma.masked_invalid(values), rowvar=False)
        return np.ma.filled(known, math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(values, rowvar=False).reshape(values.shape[1], values.shape[1])


def _jittered(values: np.ndarray, schema: Schema, spread: np.random.Generator) -> np.ndarray:
    """Points of few levels would hide each other: they are moved a little, in the picture only."""
    moved = values.copy()
    for axis, count in enumerate(schema.n_codes):
        if count <= 60:
            moved[:, axis] += spread.uniform(-0.3, 0.3, len(values))
    return moved


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return limits that hold 99.6 % of the values, so that one outlier does not shrink the rest."""
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(value) for value in np.quantile(known, [0.002, 0.998]))
    margin = 0.08 * (high - low) or 0.5
    return low - margin, high + margin
