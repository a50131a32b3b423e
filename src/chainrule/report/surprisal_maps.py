"""What surprises models of images where: bits per pixel as a map over the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.report.blocks import Block
from chainrule.report.numbers import count, number
from chainrule.report.query_costs import scoring_cost
from chainrule.report.rows import pixel_shades, take_rows
from chainrule.report.style import MAP, Picture, figure, vector_picture

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison, ModelResult

__all__ = ["surprisal_blocks"]

_N_MODELS = 3
_N_SINGLE = 5
# Rows of a mean: the most that one model scores in multiplications that take some twenty seconds of one core.
_N_ROWS = (1000, 300, 100, 30, 10)
_MAX_COST = 1e12
# Single pixels of single rows may cost much more than all others.
_TOP_SHARE = 0.995


def surprisal_blocks(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return maps of what each pixel costs the best networks, in bits; nothing where rows are no images.

    Parameters
    ----------
    comparison : Comparison
    colours : mapping of model name to colour
    """
    if comparison.image_shape is None or not comparison.discrete or not len(comparison.test_rows):
        return []
    networks = [r for r in comparison.ranked() if isinstance(r.estimator, AutoregressiveEstimator)]
    quick = [r for r in networks if scoring_cost(r.estimator, _N_ROWS[-1]) <= _MAX_COST][:_N_MODELS]
    maps = {result.model: _bits(result, comparison) for result in quick}
    if not maps:
        return []
    top = max(float(bits.mean(axis=0).max()) for bits in maps.values())
    highest = max(float(np.quantile(bits[:_N_SINGLE], _TOP_SHARE)) for bits in maps.values())
    pictures = [
        _picture(comparison, result, maps[result.model], (top, highest), colours[result.model])
        for result in quick
    ]
    text = (
        "What each pixel costs: −log₂ of its probability given those that come before it, in the model's "
        "order, or line by line from the top left where the model serves any. On the left the mean over test "
        "rows, beside it some of them and their own maps; the sum over all pixels is a row's negative "
        "log-likelihood. A colour means the same number of bits for all models."
    )
    return [Block("Bits per pixel", text, pictures, "wide")]


def _bits(result: ModelResult, comparison: Comparison) -> np.ndarray:
    """Return the bits of each pixel of some test rows, (n, height, width); those shown come first."""
    shape = comparison.image_shape
    assert shape is not None
    n_rows = next(n for n in _N_ROWS if scoring_cost(result.estimator, n) <= _MAX_COST)
    rows = take_rows(comparison.test_rows, _chosen(len(comparison.test_rows), n_rows))
    nats = result.estimator.score_columns(rows)
    bits = np.where(np.isfinite(nats), -nats / math.log(2), 0.0)
    return bits.reshape(len(bits), *shape[:2], -1).sum(axis=3)


def _chosen(n_rows: int, wanted: int) -> np.ndarray:
    """Return row numbers, evenly from first to last: first those that are shown, then the others."""
    shown = np.linspace(0, n_rows - 1, min(_N_SINGLE, n_rows)).astype(int)
    others = np.linspace(0, n_rows - 1, min(wanted, n_rows)).astype(int)
    return np.concatenate([np.unique(shown), np.setdiff1d(others, shown)])


def _picture(
    comparison: Comparison, result: ModelResult, bits: np.ndarray, tops: Sequence[float], colour: str
) -> Picture:
    """Return the map of means, and below each other test rows and their maps."""
    shape = comparison.image_shape
    assert shape is not None
    schema = result.estimator.schema_
    shown = take_rows(comparison.test_rows, _chosen(len(comparison.test_rows), 0))
    reference = schema.encode(comparison.train_rows, missing=True)
    shades = np.clip(pixel_shades(schema, schema.encode(shown, missing=True, unseen=np.nan), reference), 0, 1)
    n_shown = len(shades)
    canvas, axes = figure(2.9 + 1.35 * n_shown, 2.9, ncols=2, width_ratios=[2.6, 1.35 * n_shown + 0.3])
    totals = bits.sum(axis=(1, 2))
    _map(canvas, axes[0], bits.mean(axis=0), tops[0], f"mean of {count(len(bits))} test rows")
    axes[1].set_axis_off()
    grid = axes[1].get_subplotspec().subgridspec(2, n_shown, wspace=0.06, hspace=0.08)
    lower = []
    for place in range(n_shown):
        upper, below = (canvas.add_subplot(grid[line, place]) for line in (0, 1))
        image = np.nan_to_num(shades[place], nan=0.5).reshape(shape)
        upper.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")
        drawn = _image(below, bits[place], tops[1])
        below.set_xlabel(f"{number(float(totals[place]), 0)} bits")
        lower.append(below)
        for axis in (upper, below):
            _bare(axis)
    _scale(canvas, drawn, lower)
    mean = number(float(totals.mean() / bits[0].size), 4)
    alt = (
        f"Map of the bits of each pixel under {result.model}: {mean} on average, and those of some test rows."
    )
    caption = f"{mean} bits per pixel on average."
    return vector_picture(canvas, alt, title=result.model, key=colour, caption=caption)


def _map(canvas: Any, axis: Any, bits: np.ndarray, top: float, label: str) -> None:
    drawn = _image(axis, bits, top)
    axis.set_xlabel(label)
    _bare(axis)
    _scale(canvas, drawn, [axis])


def _image(axis: Any, bits: np.ndarray, top: float) -> Any:
    return axis.imshow(bits, cmap=MAP, vmin=0, vmax=max(top, 1e-9), interpolation="none", rasterized=True)


def _scale(canvas: Any, drawn: Any, axes: Sequence[Any]) -> None:
    bar = canvas.colorbar(drawn, ax=list(axes), fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)


def _bare(axis: Any) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
