"""The figures that hold drawn rows against real ones: columns, pairs of columns, neighbours, classifiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.dates import AutoDateFormatter, AutoDateLocator

from chainrule.report.line_plots import point_picture
from chainrule.report.numbers import measured_text, number, short
from chainrule.report.rows import code_values
from chainrule.report.style import INK, MUTED, REAL, Picture, figure, ticks, vector_picture

if TYPE_CHECKING:
    from chainrule.metrics.fidelity import Fidelity, FidelityReport
    from chainrule.schema import ColumnType, Schema

__all__ = ["association_maps", "classifier_areas", "marginal_panels", "nearest_rows"]

_N_PANELS, _N_ACROSS = 16, 4
_MAX_BARS = 6
_MAX_BINS = 36
_MAX_NAMED_COLUMNS = 40
_SECONDS_OF_DAY = 86_400
_NEGATIVE, _POSITIVE = to_rgb("#0072B2"), to_rgb("#D55E00")
# Nothing at 0, so that the page shows through, light or dark.
_SIGNED = LinearSegmentedColormap.from_list(
    "signed",
    [(0.0, (*_NEGATIVE, 1.0)), (0.5, (*_NEGATIVE, 0.0)), (0.5, (*_POSITIVE, 0.0)), (1.0, (*_POSITIVE, 1.0))],
)


def marginal_panels(
    schema: Schema, test: np.ndarray, drawn: Fidelity, model: str, colour: str, **words: Any
) -> Picture:
    """Return the distribution of each column in real and drawn rows; of many columns those furthest apart."""
    columns = panel_columns(drawn)
    real, ours = code_values(schema, test), code_values(schema, drawn.codes)
    n_down = math.ceil(len(columns) / _N_ACROSS)
    n_across = min(len(columns), _N_ACROSS)
    canvas, axes = figure(2.6 * n_across, 1.75 * n_down, nrows=n_down, ncols=n_across, squeeze=False)
    canvas.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    for axis, d in zip(axes.flat, columns, strict=False):
        draw = _histogram if schema.variables[d].is_numeric else _bars
        draw(axis, schema.variables[d], _there(real[:, d]), _there(ours[:, d]), colour)
        axis.set_title(short(schema.names[d], 20), fontsize=9)
        axis.set_title(
            number(drawn.marginals[d].distance, 3), loc="right", fontsize=8, color=MUTED, weight="normal"
        )
    for axis in axes.flat[len(columns) :]:
        axis.axis("off")
    furthest = max(columns, key=lambda d: np.nan_to_num(drawn.marginals[d].distance))
    alt = (
        f"Distributions of {len(columns)} columns in real test rows and in rows drawn from {model}. Furthest "
        f"apart: {schema.names[furthest]}, distance {number(drawn.marginals[furthest].distance, 3)}."
    )
    return vector_picture(canvas, alt, **words)


def panel_columns(drawn: Fidelity) -> list[int]:
    """Return the columns that get a panel, in the order of the table."""
    distances = np.nan_to_num([marginal.distance for marginal in drawn.marginals])
    return sorted(int(d) for d in np.argsort(-distances, kind="stable")[:_N_PANELS])


def _bars(axis: Any, variable: ColumnType, real: np.ndarray, drawn: np.ndarray, colour: str) -> None:
    """Draw the shares of the most frequent levels: grey bars for real rows, coloured lines for drawn ones."""
    levels = list(variable.levels or ())
    n_levels = len(levels)
    shares = [
        np.bincount(values.astype(int), minlength=n_levels) / max(len(values), 1) for values in (real, drawn)
    ]
    shown = np.argsort(-(shares[0] + shares[1]), kind="stable")
    shown = shown if n_levels <= _MAX_BARS else shown[: _MAX_BARS - 1]
    names = [short(str(levels[level]), 14) for level in shown]
    heights = [
        [*share[shown], *([1 - share[shown].sum()] if n_levels > len(shown) else [])] for share in shares
    ]
    if n_levels > len(shown):
        names.append(f"{n_levels - len(shown)} others")
    places = np.arange(len(names))
    axis.barh(places, heights[0], height=0.72, color=REAL, alpha=0.45)
    axis.vlines(heights[1], places - 0.42, places + 0.42, color=colour, linewidth=2.4)
    axis.set_ylim(max(len(names), 4) - 0.4, -0.6)
    axis.set_xlim(0, 1.05 * max(*heights[0], *heights[1], 1e-9))
    axis.set_yticks(places, names, fontsize=7.5)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=7.5)
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_locator(ticks(3))
    axis.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")


def _histogram(axis: Any, variable: ColumnType, real: np.ndarray, drawn: np.ndarray, colour: str) -> None:
    edges = _edges(variable, real, drawn)
    heights = [
        np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / max(len(values), 1)
        for values in (real, drawn)
    ]
    if max(heights[0].max(), heights[1].max()) > 0.5:
        # One bin would press all others flat.
        heights = [np.sqrt(height) for height in heights]
    if variable.unit:
        edges = edges / (_SECONDS_OF_DAY if variable.unit == "seconds" else 1)  # matplotlib counts days
    axis.stairs(heights[0], edges, fill=True, color=REAL, alpha=0.45)
    axis.stairs(heights[1], edges, color=colour, linewidth=1.4)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="x", labelsize=7.5)
    axis.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=5) if variable.unit else ticks(4))
    if variable.unit:
        axis.xaxis.set_major_formatter(AutoDateFormatter(axis.xaxis.get_major_locator()))


def _edges(variable: ColumnType, real: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the edges of bins: more for more rows, and wide enough to show where drawn values go too far."""
    values = real if len(real) else drawn
    if not len(values):
        return np.linspace(0, 1, _MAX_BINS + 1)
    low, high = (float(end) for end in np.quantile(values, [0.005, 0.995]))
    if len(drawn):
        far_low, far_high = (float(end) for end in np.quantile(drawn, [0.005, 0.995]))
        margin = 0.25 * (high - low)
        low, high = max(min(low, far_low), low - margin), min(max(high, far_high), high + margin)
    n_bins = int(np.clip(2 * math.sqrt(min(len(real), len(drawn))), 8, _MAX_BINS))
    if variable.is_discrete:
        width = max(1, math.ceil((high - low + 1) / n_bins))
        return np.arange(math.floor(low), math.ceil(high) + width + 1, width) - 0.5
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, n_bins + 1)


def association_maps(found: FidelityReport, model: str, **words: Any) -> Picture:
    """Return how strongly pairs of columns go together in real rows, in drawn ones, and the difference."""
    drawn = found.models[model].associations
    apart = drawn - found.associations
    most = max(0.1, math.ceil(10 * np.abs(apart).max()) / 10)
    n = len(found.columns)
    is_named = n <= _MAX_NAMED_COLUMNS
    names = [short(name, 16) for name in found.columns] if is_named else []
    side = float(np.clip(0.19 * n, 2.4, 3.4))
    canvas, axes = figure(3 * side + 2.6, side + (1.5 if is_named else 0.7), ncols=3)
    real_axis, drawn_axis, apart_axis = axes
    _matrix(real_axis, "Real test rows", found.associations, 1.0, names)
    shades = _matrix(drawn_axis, f"Drawn from {model}", drawn, 1.0, names)
    _scale(canvas, drawn_axis, shades, 1.0)
    _scale(canvas, apart_axis, _matrix(apart_axis, "Difference", apart, most, names), most)
    real_axis.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=7.5)
    error = number(found.models[model].association_difference, 3)
    alt = (
        f"Matrices of the associations between {n} columns, in real test rows and in rows drawn from "
        f"{model}; mean absolute difference {error}."
    )
    return vector_picture(canvas, alt, **words)


def _matrix(axis: Any, title: str, matrix: np.ndarray, most: float, names: Sequence[str]) -> Any:
    """Draw a matrix from -most to most without its diagonal, on which each column meets itself."""
    n = len(matrix)
    shown = np.where(np.eye(n, dtype=bool), np.nan, matrix)
    shades = axis.pcolormesh(shown, cmap=_SIGNED, norm=Normalize(-most, most), rasterized=True)
    axis.set(xlim=(0, n), ylim=(n, 0), aspect="equal")
    axis.set_title(title)
    axis.spines[:].set_visible(True)
    axis.tick_params(length=0)
    axis.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90, fontsize=7.5)
    axis.set_yticks([])
    return shades


def _scale(canvas: Any, axis: Any, shades: Any, most: float) -> None:
    bar = canvas.colorbar(shades, ax=axis, fraction=0.05, pad=0.03, shrink=0.8)
    bar.outline.set_visible(False)
    bar.set_ticks([-most, 0, most], labels=[f"−{most:g}", "0", f"{most:g}"])
    bar.ax.tick_params(labelsize=7.5, length=0)


def nearest_rows(
    found: FidelityReport, order: Sequence[str], colours: Mapping[str, str], **words: Any
) -> Picture:
    """Return how far drawn rows, and test rows, lie from their nearest training row."""
    sets = [("real test rows", found.real.distances_to_closest, REAL, 2.6)]
    sets += [(name, found.models[name].distances_to_closest, colours[name], 1.6) for name in order]
    canvas, axes = figure(4.6, 3.2)
    furthest = 0.0
    for name, distances, colour, width in sets:
        shares = np.arange(1, len(distances) + 1) / len(distances)
        across = [0, *np.sort(distances)]
        axes.step(across, [0, *shares], where="post", color=colour, linewidth=width, label=name)
        furthest = max(furthest, float(np.quantile(distances, 0.99)))
    axes.set(xlim=(0, furthest or 1), ylim=(0, 1.01))
    axes.set_xlabel("distance to the nearest training row")
    axes.set_ylabel("share of rows")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.xaxis.set_major_locator(ticks(5))
    axes.grid()
    axes.legend(loc="lower right")
    medians = ", ".join(
        f"{name} {number(drawn.dcr, 3)}"
        for name, drawn in (("real test rows", found.real), *found.models.items())
    )
    alt = f"Distribution functions of the distance to the nearest training row. Medians: {medians}."
    return vector_picture(canvas, alt, **words)


def classifier_areas(
    found: FidelityReport, order: Sequence[str], colours: Mapping[str, str], title: str, **words: Any
) -> Picture | None:
    """Return the area under the ROC curve of classifiers trained on drawn rows, beside that of real rows."""
    real = found.real.tstr_auc
    if real is None:
        return None
    areas = {"real rows": real.summary}
    areas |= {name: area.summary for name in order if (area := found.models[name].tstr_auc) is not None}
    figures = "; ".join(f"{name} {measured_text(area, 3)}" for name, area in areas.items())
    return point_picture(
        title,
        list(areas),
        list(areas.values()),
        xlabel="area under the ROC curve, on real test rows",
        alt=f"Areas of classifiers of {found.target} by the rows that they were trained on: {figures}.",
        colours=[INK, *(colours[name] for name in order)],
        reference=real.value,
        **words,
    )


def _there(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]
