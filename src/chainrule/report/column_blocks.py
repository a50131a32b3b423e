"""The part of a report that splits log-likelihoods over the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chainrule.report.blocks import Block, Group
from chainrule.report.numbers import listed, number
from chainrule.report.rows import TextTable
from chainrule.supports import Reals

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison, ModelResult
    from chainrule.schema import ColumnType

__all__ = ["column_blocks"]

_DECIMALS = 3


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
    groups = [
        _group(title, names, [(_label(variables[d]), numbers[d]) for d in columns])
        for title, columns in parts.items()
        if columns
    ]
    groups.append(_group("All columns", names, [("sum", numbers.sum(axis=0))]))
    return [Block(title="Column by column", text=_text(comparison, split), groups=groups)]


def _group(title: str, names: list[str], lines: list[tuple[str, np.ndarray]]) -> Group:
    cells = [[label, *(number(float(value), _DECIMALS) for value in values)] for label, values in lines]
    return Group(title, TextTable(names, cells, [False] + [True] * (len(names) - 1), 0))


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
