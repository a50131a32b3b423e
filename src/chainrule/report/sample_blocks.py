"""The parts of a report that show rows: samples beside real ones, and the most and least probable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.report import sample_plots
from chainrule.report.blocks import Block
from chainrule.report.comparison import Comparison
from chainrule.report.images import image_grid, single_images
from chainrule.report.numbers import number
from chainrule.report.query_costs import pass_cost
from chainrule.report.rows import pixel_shades, take_rows, text_table
from chainrule.report.style import INK
from chainrule.schema import Schema
from chainrule.supports import Binary, Grid, Levels

__all__ = ["extreme_blocks", "sample_blocks"]

_N_GRID_IMAGES = 64
_TEMPERATURES = (0.7, 1.0, 1.3)
_WITH_LEVELS = (Binary, Levels, Grid)
# Multiplications of all that is drawn at other temperatures: some twenty seconds of one core.
_MAX_COST = 1e12
_N_EXTREME_IMAGES = 10
_N_EXTREME_ROWS = 6
_N_TABLE_ROWS, _N_BIT_ROWS = 5, 32
_MAX_BITS_IN_TABLE = 12
_MAX_PAIR_COLUMNS = 6
_MAX_NARROW_COLUMNS = 3  # of a pair plot that would be too large over the whole width


def sample_blocks(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return rows drawn from each model beside real ones: images, a plane, or pairs of columns and a table.

    Parameters
    ----------
    comparison : Comparison
    colours : mapping of model name to colour
    """
    ranked = comparison.ranked()
    if not ranked:
        return []
    schema: Schema = ranked[0].estimator.schema_
    if comparison.image_shape:
        return [_image_samples(comparison, schema, colours), *_tempered_samples(comparison, colours)]
    if comparison.n_variables == 2:
        return _plane_samples(comparison, schema, colours)
    return [*_pair_plots(comparison, schema, colours), *_table_samples(comparison, schema, colours)]


def _image_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> Block:
    shape, real = comparison.image_shape, _first(comparison.train_rows, _N_GRID_IMAGES)
    assert shape is not None
    pictures = [
        image_grid(
            _shades(schema, real, real),
            shape,
            None,
            "Grid of real training images.",
            title="Real training rows",
        )
    ]
    pictures += [
        image_grid(
            _shades(schema, _first(result.samples, _N_GRID_IMAGES), real),
            shape,
            None,
            f"Grid of images drawn from {result.model}.",
            title=result.model,
            key=colours[result.model],
        )
        for result in comparison.ranked()
    ]
    text = "Real images first, then independent draws from each model, not chosen by hand."
    return Block(text=text, pictures=pictures, layout="images")


def _tempered_samples(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return images drawn from the best network whose pixels have levels, at several temperatures."""
    networks = [result for result in comparison.ranked() if _can_be_tempered(result.estimator)]
    if not networks:
        return []
    best, shape = networks[0], comparison.image_shape
    assert shape is not None
    schema: Schema = best.estimator.schema_
    known = schema.encode(comparison.train_rows, missing=True)
    pictures = [
        image_grid(
            pixel_shades(schema, _tempered_draws(best.estimator, temperature), known),
            shape,
            None,
            f"Grid of images drawn from {best.model} at temperature {temperature}.",
            title=f"{best.model}, temperature {temperature}",
            key=colours[best.model],
        )
        for temperature in _TEMPERATURES
    ]
    text = (
        "Each pixel is drawn from p^(1/T), normalised, in place of p: at a temperature T below 1 images are "
        "more probable, and less different from each other. At 1 the model is drawn from as it is. All start "
        "from the same random numbers."
    )
    return [Block("Colder and warmer", text, pictures, "images")]


def _can_be_tempered(estimator: Any) -> bool:
    return (
        isinstance(estimator, AutoregressiveEstimator)
        and estimator.context_schema_ is None
        and estimator.model_.restriction is None
        and all(isinstance(support, _WITH_LEVELS) for support in estimator.schema_.supports)
        and len(_TEMPERATURES) * pass_cost(estimator, _N_GRID_IMAGES) <= _MAX_COST
    )


def _tempered_draws(estimator: AutoregressiveEstimator, temperature: float) -> np.ndarray:
    """Return codes (n, D) of images."""
    supports = estimator.schema_.supports
    n_levels = [support.n_codes for support in supports if isinstance(support, _WITH_LEVELS)]
    model = estimator.model_.tempered(n_levels, temperature)
    generator = torch.Generator(model.conditionals.output_variable.device).manual_seed(0)
    drawn = model.sample(_N_GRID_IMAGES, generator).cpu().numpy()
    return estimator.schema_.refine(drawn, np.random.default_rng(0))


def _plane_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> list[Block]:
    ranked, real = comparison.ranked(), comparison.test_rows
    what = "probability of each pair of values" if schema.is_discrete else "density"
    over = "" if sample_plots.is_fine_grid(schema) else " (coloured) with the real rows (grey) over them"
    return [
        Block(
            text=f"Real test rows, and draws from each model{over}.",
            pictures=sample_plots.plane_scatters(schema, real, ranked, colours),
        ),
        Block(
            "What each model has learnt",
            f"The logarithm of the {what} in nats, on a grid; one scale of colours for all models.",
            sample_plots.density_maps(schema, real, ranked),
        ),
    ]


def _pair_plots(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> list[Block]:
    continuous = [column for column, variable in enumerate(schema.variables) if not variable.is_discrete]
    if len(continuous) < 2:
        return []
    columns = continuous[:_MAX_PAIR_COLUMNS]
    leader = comparison.ranked()[0]
    picture = sample_plots.pair_plot(schema, columns, comparison.test_rows, leader, colours[leader.model])
    hidden = len(continuous) - len(columns)
    text = f"The first {len(columns)} of {len(continuous)} continuous columns." if hidden else ""
    layout = "wide" if len(columns) > _MAX_NARROW_COLUMNS else "two"
    return [Block("Pairs of columns", text, [picture], layout)]


def _table_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> list[Block]:
    blocks = _correlations(comparison, schema, colours)
    if _are_bits(schema):
        return [*blocks, _bit_samples(comparison, schema, colours)]
    sets = {"Real training rows": _first(comparison.train_rows, _N_TABLE_ROWS)}
    for result in comparison.ranked():
        sets[f"Drawn from {result.model}"] = _first(result.samples, _N_TABLE_ROWS)
    return [*blocks, Block("Rows", table=text_table(sets, schema.names))]


def _correlations(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> list[Block]:
    if comparison.n_variables < 3:
        return []
    pictures = sample_plots.correlations(schema, comparison.test_rows, comparison.ranked(), colours)
    text = (
        "Each point is a pair of columns (a categorical one counts once per level): its correlation in "
        "the real test rows across, in the model's samples upwards. On the line, they agree."
    )
    shown = len(sample_plots.correlated_columns(schema))
    if shown < comparison.n_variables:
        text += f" Drawn for {shown} of the {comparison.n_variables} columns."
    title = "Do pairs of columns go together as they should?"
    return [Block(title, text, pictures, "small")] if pictures else []


def _bit_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> Block:
    sets = {"Real training rows": (comparison.train_rows, INK)}
    sets |= {result.model: (result.samples, colours[result.model]) for result in comparison.ranked()}
    pictures = [
        sample_plots.bit_rows(
            _codes(schema, rows)[:_N_BIT_ROWS], colour, f"Rows of bits: {name}.", title=name, key=colour
        )
        for name, (rows, colour) in sets.items()
    ]
    text = "One line is one row; a cell is filled where the variable has its second value."
    return Block("Rows as bits", text, pictures)


def extreme_blocks(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return the test rows that the leading model finds most and least probable, with their nats."""
    if not comparison.results:
        return []
    leader = comparison.ranked()[0]
    schema: Schema = leader.estimator.schema_
    nats = np.nan_to_num(leader.log_likelihoods, nan=-math.inf)
    order = np.argsort(-nats, kind="stable")
    wanted = _N_EXTREME_IMAGES if comparison.image_shape else _N_EXTREME_ROWS
    # With few rows, none stands on both sides.
    wanted = max(1, min(wanted, len(order) // 2))
    ends = {"Most probable": order[:wanted], "Least probable": order[::-1][:wanted]}
    labels = {title: [number(float(nats[row]), 2) for row in index] for title, index in ends.items()}
    chosen = {title: take_rows(comparison.test_rows, index) for title, index in ends.items()}
    if comparison.image_shape:
        alts = {
            title: [f"Test row {row + 1}, {title.lower()}." for row in index] for title, index in ends.items()
        }
        shades = {title: _shades(schema, rows, comparison.train_rows) for title, rows in chosen.items()}
        return [
            Block(
                title,
                pictures=single_images(shades[title], comparison.image_shape, alts[title], labels[title]),
                layout="strip",
            )
            for title in chosen
        ]
    if not _are_bits(schema):
        return [Block(table=text_table(chosen, schema.names, labels))]
    pictures = [
        sample_plots.bit_rows(
            _codes(schema, rows),
            colours[leader.model],
            f"{title} test rows as bits.",
            labels[title],
            title=f"{title}, nats at the left",
        )
        for title, rows in chosen.items()
    ]
    return [Block(pictures=pictures)]


def _first(rows: Any, count: int) -> Any:
    return take_rows(rows, range(min(count, len(rows))))


def _are_bits(schema: Schema) -> bool:
    """Return whether rows are read better as a pattern of bits than as a table."""
    return schema.n_variables > _MAX_BITS_IN_TABLE and all(
        isinstance(each, Binary) for each in schema.supports
    )


def _codes(schema: Schema, rows: Any) -> np.ndarray:
    return schema.encode(rows, missing=True, unseen=np.nan)


def _shades(schema: Schema, rows: Any, reference: Any) -> np.ndarray:
    codes, known = schema.encode(rows, missing=True, unseen=np.nan), schema.encode(reference, missing=True)
    return np.nan_to_num(pixel_shades(schema, codes, known), nan=0.5)
