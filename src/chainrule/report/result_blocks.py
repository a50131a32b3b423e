"""The part of a report that compares: the table of results, its pictures, and each column's share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from chainrule.report import plots
from chainrule.report.blocks import Block, Table, stacked
from chainrule.report.comparison import Comparison, ModelResult
from chainrule.report.numbers import listed, number
from chainrule.report.result_columns import shown_columns
from chainrule.report.style import Picture
from chainrule.schema import ColumnType
from chainrule.supports import Reals

__all__ = ["column_blocks", "result_block"]

_DECIMALS = 3


def result_block(comparison: Comparison, colours: Mapping[str, str]) -> Block:
    """Return the table of results with its pictures, and below it the log-likelihoods column by column.

    Parameters
    ----------
    comparison : Comparison
    colours : mapping of model name to colour
    """
    return Block(
        "The comparison",
        table=result_table(comparison, colours),
        pictures=_likelihoods(comparison, colours),
        parts=column_blocks(comparison),
        anchor="comparison",
    )


def result_table(comparison: Comparison, colours: Mapping[str, str]) -> Table:
    """Return the results of `comparison`, the best model first."""
    ranked, best = comparison.ranked(), comparison.best()
    columns = shown_columns(comparison)
    cells = [column.cells(comparison, ranked) for column in columns]
    return Table(
        ["Model", *(column.title for column in columns)],
        [[result.model, *texts] for result, *texts in zip(ranked, *cells, strict=True)],
        best=[place for place, result in enumerate(ranked) if result is best],
        caption=_caption(comparison),
        units=["", *(column.unit for column in columns)],
        colours=[colours[result.model] for result in ranked],
        notes=[result.note for result in ranked],
    )


def _caption(comparison: Comparison) -> str:
    parts = ["Mean ± one standard error over the same test rows; higher is better."]
    if len(comparison.results) > 1:
        leads = "by more than two standard errors of their paired difference"
        parts.append(
            f"No model is marked as best: the first does not lead every other {leads}."
            if comparison.best() is None
            else f"The best model is marked: it leads every other {leads}."
        )
    if comparison.discrete:
        parts.append("Bits/dim: −log-likelihood / (variables × ln 2); lower is better.")
    return " ".join(parts)


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


def column_blocks(comparison: Comparison) -> list[Block]:
    """Return the mean log-likelihood of each column under each model; nothing where it was not measured.

    Parameters
    ----------
    comparison : Comparison
    """
    shares = [(result, result.column_log_likelihoods) for result in comparison.ranked()]
    split = [result for result, share in shares if share is not None]
    if not split:
        return []
    variables = split[0].estimator.schema_.variables
    numbers = np.stack([share for _, share in shares if share is not None], axis=1)
    if len(split) > 1:  # what the best of these models has learnt beyond the least good one
        numbers = np.hstack([numbers, numbers[:, :1] - numbers[:, -1:]])
    names = ["column", *(result.model for result in split)]
    names += [f"{split[0].model} above {split[-1].model}"] if len(split) > 1 else []
    parts = {
        "Log-probability, nats": [d for d, each in enumerate(variables) if each.is_discrete],
        "Log-density in the column's own unit, nats": [
            d for d, each in enumerate(variables) if not each.is_discrete
        ],
    }
    groups = {
        title: [_line(_label(variables[d]), numbers[d]) for d in columns]
        for title, columns in parts.items()
        if columns
    }
    groups["All columns"] = [_line("sum", numbers.sum(axis=0))]
    return [Block("Column by column", _text(comparison, split), table=stacked(names, groups))]


def _line(label: str, values: np.ndarray) -> list[str]:
    return [label, *(number(float(value), _DECIMALS) for value in values)]


def _label(variable: ColumnType) -> str:
    support = variable.support
    has_masses = isinstance(support, Reals) and bool(support.point_masses)
    return f"{variable.name} (with point masses)" if has_masses else variable.name


def _text(comparison: Comparison, split: list[ModelResult]) -> str:
    text = (
        "A row's log-likelihood is the sum of those of its columns, each given the columns before it: here "
        "means over the test rows, log-probabilities of discrete columns, log-densities of continuous ones. "
        "A density depends on its unit (in metres it is log 100 = 4.6 nats above that in centimetres): "
        "there, only differences between models mean something."
    )
    names = [result.model for result in split]
    left_out = [result.model for result in comparison.ranked() if result.model not in names]
    if left_out:
        text += f" Left out: {listed(left_out)}, which take the columns in other orders."
    any_order = [result.model for result in split if getattr(result.estimator, "is_any_order", False)]
    if any_order:
        text += (
            f" For {listed(any_order)}, of any order, the sum is that under the order of the columns, which "
            "may differ a little from the figure above."
        )
    return text
