"""The report of a comparison as one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.report import plots, sample_plots
from chainrule.report.blocks import Block, Group
from chainrule.report.column_blocks import column_blocks
from chainrule.report.mask_plot import mask_picture
from chainrule.report.numbers import count, number, seconds
from chainrule.report.pages import render_page
from chainrule.report.question_blocks import question_blocks
from chainrule.report.result_columns import shown_columns
from chainrule.report.rows import TextTable, pixel_shades, take_rows, text_table
from chainrule.report.style import INK, Picture, drawing, model_colours
from chainrule.report.synthetic_blocks import synthetic_blocks
from chainrule.report.words import conclusion
from chainrule.supports import Binary

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison
    from chainrule.schema import Schema

__all__ = ["render_report", "write_report"]

_N_GRID_IMAGES = 64
_N_EXTREME_IMAGES = 10
_N_EXTREME_ROWS = 6
_N_TABLE_ROWS = 5
_MAX_PAIR_COLUMNS = 6
_MOST_NARROW_COLUMNS = 3  # of a pair plot that would be too large over the whole width


@dataclass(frozen=True)
class _Row:
    """One line of the comparison table."""

    model: str
    colour: str
    best: bool
    cells: list[str]
    note: str


def write_report(comparison: Comparison, path: str | Path) -> None:
    """Write the report of a comparison: one HTML file that opens offline.

    Parameters
    ----------
    comparison : Comparison
        Models that were tested on the same rows. The estimators must be fitted: the report asks the schema
        for the columns and, for data of two variables, each model for its log-density on a grid.
    path : str or Path
        Where to write; the folder must exist.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> write_report(comparison, "report.html")  # doctest: +SKIP
    """
    Path(path).write_text(render_report(comparison), encoding="utf-8")


def render_report(comparison: Comparison) -> str:
    """Return the report of a comparison as HTML.

    Parameters
    ----------
    comparison : Comparison
        As for `write_report`.

    Returns
    -------
    str
        A complete document without references to other files or addresses.
    """
    results = comparison.results
    colours = model_colours([r.model for r in results], [r.history is not None for r in results])
    ranked = comparison.ranked()
    with drawing():
        page = {
            "comparison": comparison,
            "facts": _facts(comparison),
            "conclusion": conclusion(comparison),
            "columns": shown_columns(comparison),
            "rows": _rows(comparison, colours),
            "marked": comparison.best() is not None,
            "curves": plots.learning_curves(results, colours),
            "likelihoods": _likelihoods(comparison, colours),
            "by_column": column_blocks(comparison),
            "samples": _samples(comparison, colours),
            "synthetic": synthetic_blocks(comparison, colours),
            "leader": ranked[0].model if ranked else "",
            "extremes": _extremes(comparison, colours) if ranked else [],
            "questions": question_blocks(comparison, colours),
            "masks": mask_picture(),
        }
    return render_page("template.html.j2", page)


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    facts = [
        ("Training rows", count(comparison.n_train)),
        ("Validation rows", count(comparison.n_valid)),
        ("Test rows", count(comparison.n_test)),
        ("Variables", count(comparison.n_variables)),
    ]
    if comparison.image_shape:
        height, width = comparison.image_shape
        facts.append(("Image", f"{height} × {width}"))
    if comparison.entropy is not None:
        facts.append(("True entropy, nats", number(comparison.entropy, 4)))
    return [
        *facts,
        ("Seed", str(comparison.random_state)),
        ("Time in all, s", seconds(comparison.seconds)),
    ]


def _rows(comparison: Comparison, colours: Mapping[str, str]) -> list[_Row]:
    ranked, best = comparison.ranked(), comparison.best()
    columns = [column.cells(comparison, ranked) for column in shown_columns(comparison)]
    return [
        _Row(result.model, colours[result.model], result is best, list(cells), result.note)
        for result, cells in zip(ranked, zip(*columns, strict=True), strict=True)
    ]


def _likelihoods(comparison: Comparison, colours: Mapping[str, str]) -> list[Picture]:
    """Return the pictures of differences, of single test rows, and of the two first networks row by row."""
    ranked = comparison.ranked()
    if not ranked:
        return []
    pair = [result for result in ranked if result.history is not None][:2]
    pair = pair if len(pair) == 2 else ranked[:2]
    pictures = [plots.differences(comparison, colours), plots.row_histograms(ranked, colours)]
    if len(pair) == 2:
        pictures.append(plots.paired_scatter(pair[0], pair[1], colours))
    return [picture for picture in pictures if picture is not None]


def _samples(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    ranked = comparison.ranked()
    if not ranked:
        return []
    schema: Schema = ranked[0].estimator.schema_
    if comparison.image_shape:
        return [_image_samples(comparison, schema, colours)]
    if comparison.n_variables == 2:
        return _plane_samples(comparison, schema, colours)
    return [*_pair_plots(comparison, schema, colours), *_table_samples(comparison, schema, colours)]


def _image_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> Block:
    assert comparison.image_shape is not None
    shape, real = comparison.image_shape, _first(comparison.train_rows, _N_GRID_IMAGES)
    pictures = [
        sample_plots.image_grid(
            _shades(schema, real, real), shape, "Grid of real training images.", title="Real training rows"
        )
    ]
    for result in comparison.ranked():
        pictures.append(
            sample_plots.image_grid(
                _shades(schema, _first(result.samples, _N_GRID_IMAGES), real),
                shape,
                f"Grid of images drawn from {result.model}.",
                title=result.model,
                key=colours[result.model],
            )  # fmt: skip
        )
    return Block(
        text="Real images first, then independent draws from each model, not chosen by hand.",
        pictures=pictures,
        layout="images",
    )


def _plane_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> list[Block]:
    ranked, real = comparison.ranked(), comparison.test_rows
    what = "probability of each pair of values" if schema.is_discrete else "density"
    return [
        Block(
            text="Real test rows, and draws from each model"
            + (
                "."
                if sample_plots.is_fine_grid(schema)
                else " (coloured) with the real rows (grey) over them."
            ),
            pictures=sample_plots.plane_scatters(schema, real, ranked, colours),
        ),
        Block(
            title="What each model has learnt",
            text=f"The logarithm of the {what} in nats, on a grid; one scale of colours for all models.",
            pictures=sample_plots.density_maps(schema, real, ranked),
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
    layout = "wide" if len(columns) > _MOST_NARROW_COLUMNS else "panels two"
    return [Block(title="Pairs of columns", text=text, pictures=[picture], layout=layout)]


def _table_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> list[Block]:
    ranked = comparison.ranked()
    blocks = []
    if comparison.n_variables >= 3:
        shown = len(sample_plots.correlated_columns(schema))
        pictures = sample_plots.correlations(schema, comparison.test_rows, ranked, colours)
        text = (
            "Each point is a pair of columns (a categorical one counts once per level): its correlation in "
            "the real test rows across, in the model's samples upwards. On the line, they agree."
        )
        if shown < comparison.n_variables:
            text += f" Drawn for {shown} of the {comparison.n_variables} columns."
        if pictures:
            title = "Do pairs of columns go together as they should?"
            blocks.append(Block(title=title, text=text, pictures=pictures, layout="small"))
    if _are_bits(schema):
        return [*blocks, _bit_samples(comparison, schema, colours)]
    real = _first(comparison.train_rows, _N_TABLE_ROWS)
    groups = [Group("Real training rows", text_table(real, schema.names))]
    for result in ranked:
        drawn = _first(result.samples, _N_TABLE_ROWS)
        groups.append(Group(f"Drawn from {result.model}", text_table(drawn, schema.names)))
    return [*blocks, Block(title="Rows", groups=groups, text=_hidden(groups[0].table))]


def _bit_samples(comparison: Comparison, schema: Schema, colours: Mapping[str, str]) -> Block:
    sets = {"Real training rows": (comparison.train_rows, INK)}
    sets |= {result.model: (result.samples, colours[result.model]) for result in comparison.ranked()}
    return Block(
        title="Rows as bits",
        text="One line is one row; a cell is filled where the variable has its second value.",
        pictures=[
            sample_plots.bit_rows(
                schema.encode(rows, missing=True, unseen=np.nan)[:32],
                colour,
                f"Rows of bits: {name}.",
                title=name,
                key=colour,
            )
            for name, (rows, colour) in sets.items()
        ],
    )


def _extremes(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Show the test rows that the leading model finds most and least probable."""
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
        return [
            Block(
                title=title,
                layout="strip",
                pictures=sample_plots.single_images(
                    _shades(schema, rows, comparison.train_rows),
                    comparison.image_shape,
                    [f"Test row {row + 1}, {title.lower()}." for row in ends[title]],
                    labels[title],
                ),
            )
            for title, rows in chosen.items()
        ]
    if _are_bits(schema):
        return [
            Block(
                pictures=[
                    sample_plots.bit_rows(
                        schema.encode(rows, missing=True, unseen=np.nan),
                        colours[leader.model],
                        f"{title} test rows as bits.",
                        labels[title],
                        title=f"{title}, nats at the left",
                    )  # fmt: skip
                    for title, rows in chosen.items()
                ]
            )
        ]
    groups = [Group(title, text_table(rows, schema.names), labels[title]) for title, rows in chosen.items()]
    return [Block(groups=groups, leading="nats", text=_hidden(groups[0].table))]


def _first(rows: Any, count: int) -> Any:
    return take_rows(rows, range(min(count, len(rows))))


def _are_bits(schema: Schema) -> bool:
    """Return whether rows are read better as a pattern of bits than as a table."""
    return schema.n_variables > 12 and all(isinstance(each, Binary) for each in schema.supports)


def _hidden(table: TextTable) -> str:
    shown = len(table.names)
    return f"The first {shown} of {shown + table.n_hidden} columns." if table.n_hidden else ""


def _shades(schema: Schema, rows: Any, reference: Any) -> np.ndarray:
    codes, known = schema.encode(rows, missing=True), schema.encode(reference, missing=True)
    return np.nan_to_num(pixel_shades(schema, codes, known), nan=0.5)
