"""The part of a report on queries: completions, conditional distributions, averages over orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chainrule.report.blocks import Block
from chainrule.report.completions import conditional_bars, image_completions, most_predictable_columns
from chainrule.report.numbers import count, listed
from chainrule.report.order_curves import average_blocks
from chainrule.report.query_costs import answers_any_query, pass_cost
from chainrule.report.rows import take_rows
from chainrule.schema import UNSEEN

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison, ModelResult

__all__ = ["query_blocks"]

_N_IMAGES = 6
_N_ROWS, _N_COLUMNS = 4, 4
_MAX_BACKGROUND = 5000
# Multiplications of the completions of one model: some twenty seconds of one core.
_MAX_COST = 1e12


def query_blocks(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return the answers of the models of a comparison to queries; nothing if none answers any.

    Parameters
    ----------
    comparison : Comparison
    colours : mapping of model name to colour
    """
    answering = [result for result in comparison.ranked() if answers_any_query(result.estimator)]
    blocks: list[Block] = []
    if answering and len(comparison.test_rows):
        blocks += (
            [_image_block(comparison, answering, colours)]
            if comparison.image_shape
            else _table_blocks(comparison, answering, colours)
        )
    return [*blocks, *average_blocks(comparison, colours)]


def _image_block(comparison: Comparison, results: list[ModelResult], colours: Mapping[str, str]) -> Block:
    assert comparison.image_shape is not None
    schema = results[0].estimator.schema_
    n_rows = len(comparison.test_rows)
    chosen = np.unique(np.linspace(0, n_rows - 1, min(_N_IMAGES, n_rows)).astype(int))
    codes = schema.encode(take_rows(comparison.test_rows, chosen), missing=True, unseen=np.nan)
    reference = schema.encode(comparison.train_rows, missing=True)
    text = (
        "The upper half of some test rows is given, and the lower half is drawn from p(lower | upper), "
        "several times. The draws are independent and not chosen by hand; no draw was rejected."
    )
    quick = [result for result in results if pass_cost(result.estimator, 5 * len(chosen)) <= _MAX_COST]
    if len(quick) < len(results):
        slow = listed(result.model for result in results if result not in quick)
        text += f" Left out, because {count(schema.n_variables)} variables would take long here: {slow}."
    pictures = [
        image_completions(
            result.estimator,
            codes,
            reference,
            comparison.image_shape,
            f"Test images, their upper halves, and lower halves drawn from {result.model}.",
            title=result.model,
            key=colours[result.model],
        )
        for result in quick
    ]
    return Block("Completions", text, pictures, "two")


def _table_blocks(
    comparison: Comparison, results: list[ModelResult], colours: Mapping[str, str]
) -> list[Block]:
    leader = results[0].estimator
    some = np.linspace(0, len(comparison.test_rows) - 1, min(_MAX_BACKGROUND, len(comparison.test_rows)))
    codes = leader.schema_.encode(
        take_rows(comparison.test_rows, some.astype(int)), missing=True, unseen=UNSEEN
    )
    background = np.where(codes == UNSEEN, np.float32(np.nan), codes)
    # Nothing is asked given a level of which the model knows nothing.
    known = (codes != UNSEEN).all(axis=1)
    columns = most_predictable_columns(leader, comparison.train_rows, _N_COLUMNS)
    if not columns or not known.any():
        return []
    numbers = _different_rows(codes[known], some.astype(int)[known])
    rows = take_rows(comparison.test_rows, numbers)
    names = listed(leader.schema_.names[d] for d in columns)
    pictures = [
        conditional_bars(
            result.estimator,
            rows,
            numbers,
            columns,
            background,
            colours[result.model],
            f"Distributions of {names} given all other columns, for {len(numbers)} test rows, "
            f"by {result.model}.",
            title=result.model,
            key=colours[result.model],
        )
        for result in results
    ]
    text = (
        "What a model expects in one column when it sees all other columns of the row. Coloured: its "
        "distribution. Dot: the value that the row really has. Grey: the share of each value among all test "
        "rows. Shown are the columns that depend most on the others."
    )
    if not all(leader.schema_.variables[d].is_discrete for d in columns):
        text += " Of a density the middle 90 % is filled."
    return [Block("One column given all others", text, pictures, "wide")]


def _different_rows(codes: np.ndarray, numbers: np.ndarray) -> list[int]:
    """Return the numbers of some rows, evenly from first to last, no two alike."""
    _, first = np.unique(codes, axis=0, return_index=True)
    kept = np.sort(first)
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(_N_ROWS, len(kept))).astype(int))
    return [int(number) for number in numbers[kept[chosen]]]
