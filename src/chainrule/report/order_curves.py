"""How the likelihood rises with the number of orders, or of members, that are averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.estimators.ensemble import Ensemble
from chainrule.metrics.statistics import Summary, paired_difference, summarize
from chainrule.report.blocks import Block, stacked
from chainrule.report.line_plots import Line, line_picture
from chainrule.report.numbers import count, decimals_for, listed, number, with_error
from chainrule.report.query_costs import answers_any_query, scoring_cost
from chainrule.report.rows import take_rows
from chainrule.report.style import Picture

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison, ModelResult

__all__ = ["Averages", "average_blocks", "averages"]

_MAX_ROWS, _MIN_ROWS = 500, 50
_MAX_ORDERS = 16
# Multiplications for one model: some ten seconds of one core.
_MAX_COST = 5e11


@dataclass(frozen=True)
class Averages:
    """Negative log-likelihoods of the same rows under averages of more and more parts.

    Attributes
    ----------
    sizes : list of int
        How many parts are averaged.
    levels, gains : list of Summary
        Mean NLL of the rows, and its paired difference to that of one part.
    spread : float
        Mean over the rows of the standard deviation of log p over the parts.
    n_rows : int
    """

    sizes: list[int]
    levels: list[Summary]
    gains: list[Summary]
    spread: float
    n_rows: int


def averages(scores: np.ndarray) -> Averages:
    """Return the log-likelihoods under averages over 1, 2, 4, ... and all K parts.

    Parameters
    ----------
    scores : ndarray (K, n)
        Log-likelihood of each row under each part. The figure for k parts is the mean over the K // k sets
        of k that follow each other, so that no single part stands for all.

    Examples
    --------
    >>> found = averages(np.log([[0.1, 0.1], [0.3, 0.3]]))
    >>> found.sizes, round(-found.levels[1].mean, 4) == round(float(np.log(0.2)), 4)
    ([1, 2], True)
    """
    n_parts, n_rows = scores.shape
    sizes = sorted({2**power for power in range(n_parts.bit_length()) if 2**power <= n_parts} | {n_parts})
    losses = []
    for size in sizes:
        sets = scores[: n_parts // size * size].reshape(-1, size, n_rows)
        losses.append(-(np.logaddexp.reduce(sets, axis=1) - math.log(size)).mean(axis=0))
    return Averages(
        sizes=sizes,
        levels=[summarize(loss) for loss in losses],
        gains=[paired_difference(loss, losses[0]) for loss in losses],
        spread=float(scores.std(axis=0, ddof=1).mean()),
        n_rows=n_rows,
    )


def average_blocks(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return the parts of the report on averages over orders and over members."""
    ranked = comparison.ranked()
    over_orders = [
        result
        for result in ranked
        # One variable has one order.
        if answers_any_query(result.estimator)
        and not isinstance(result.estimator, Ensemble)
        and comparison.n_variables > 1
    ]
    ensembles = [
        result
        for result in ranked
        if isinstance(result.estimator, Ensemble)
        and result.estimator.context_schema_ is None
        and len(result.estimator.members_) > 1
    ]
    return [
        *_block(comparison, over_orders, colours, "order", _order_scores),
        *_block(comparison, ensembles, colours, "member", _member_scores),
    ]


_TITLES = {"order": "Averaging over orders", "member": "Averaging over members"}
_WORDS = {
    "order": "These models answer in any order of the columns. Under each order the answers are a normalised "
    "distribution, and under two orders they may differ. The mean of the probabilities of several "
    "orders is normalised, too, and on average no worse than one order. K orders take K times as long.",
    "member": "An ensemble is the mean of the probabilities of its members. Each member is a normalised "
    "distribution, and so is the mean.",
}


def _block(
    comparison: Comparison,
    results: Sequence[ModelResult],
    colours: Mapping[str, str],
    part: str,
    score: Any,
) -> list[Block]:
    if not results:
        return []
    found = {result.model: score(result.estimator, comparison.test_rows) for result in results}
    usable = {
        model: averages(scores)
        for model, scores in found.items()
        if scores is not None and np.isfinite(scores).all()
    }
    text = _WORDS[part]
    slow = [model for model, scores in found.items() if scores is None]
    if slow:
        text += f" Left out, because it would take long here: {listed(slow)}."
    zero = [model for model in found if model not in usable and model not in slow]
    if zero:
        text += f" Left out, because some rows have probability zero: {listed(zero)}."
    pictures = [_curve(model, curve, part, colours[model]) for model, curve in usable.items()]
    names = [f"{part}s averaged", "test NLL, nats", f"difference to one {part}, nats"]
    groups = {model: _lines(curve) for model, curve in usable.items()}
    table = stacked(names, groups, numeric=[True] * 3) if groups else None
    return [Block(_TITLES[part], text, pictures, "two", table)]


def _order_scores(estimator: Any, rows: Any) -> np.ndarray | None:
    """Return log p of some rows under several orders, (K, n), or None where that would take long."""
    size = _affordable(estimator, len(rows))
    if size is None:
        return None
    n_orders, n_rows = size
    scores: np.ndarray = estimator.order_scores(_spread(rows, n_rows), n_orders=n_orders)
    return scores


def _affordable(estimator: Any, n_rows: int) -> tuple[int, int] | None:
    """Return the numbers of orders and rows to take: fewer rows first, then fewer orders."""
    n_orders = _MAX_ORDERS
    while n_orders > 1:
        for wanted in (_MAX_ROWS, _MAX_ROWS // 2, _MIN_ROWS):
            taken = min(wanted, n_rows)
            if n_orders * scoring_cost(estimator, taken) <= _MAX_COST:
                return n_orders, taken
        n_orders //= 2
    return None


def _member_scores(estimator: Ensemble, rows: Any) -> np.ndarray | None:
    """Return log p of some rows under each member, (M, n), or None where that would take long."""
    taken = min(_MAX_ROWS, len(rows))
    while len(estimator.members_) * scoring_cost(estimator, taken) > _MAX_COST:
        taken //= 2
        if taken < min(_MIN_ROWS, len(rows)):
            return None
    return estimator.member_scores(_spread(rows, taken))


def _spread(rows: Any, n: int) -> Any:
    """Return n rows, evenly from first to last."""
    return take_rows(rows, np.linspace(0, len(rows) - 1, n).astype(int))


def _curve(model: str, curve: Averages, part: str, colour: str) -> Picture:
    levels = [level.mean for level in curve.levels]
    decimals = decimals_for(curve.gains[-1].standard_error)
    first, last = (number(level, decimals) for level in (levels[0], levels[-1]))
    errors = [gain.standard_error for gain in curve.gains]
    return line_picture(
        model,
        [Line(model, curve.sizes, levels, colour, errors, markers=True)],
        xlabel=f"{part}s averaged",
        ylabel="test NLL (nats)",
        alt=f"Test NLL of {model} by the number of {part}s averaged: {first} nats for one, {last} for "
        f"{curve.sizes[-1]}.",
        log=True,
        key=colour,
        caption=f"{count(curve.n_rows)} test rows. A point: the mean over separate sets of so many {part}s; "
        f"the bars span two standard errors of the difference to one {part}. The log-likelihood of a row "
        f"varies from {part} to {part} by {number(curve.spread, 2)} nats (mean standard deviation).",
    )


def _lines(curve: Averages) -> list[list[str]]:
    decimals = decimals_for(*(level.standard_error for level in curve.levels))
    gap_decimals = decimals_for(*(gain.standard_error for gain in curve.gains[1:]))
    return [
        [
            count(size),
            with_error(level.mean, level.standard_error, decimals),
            "–" if size == 1 else with_error(gain.mean, gain.standard_error, gap_decimals),
        ]
        for size, level, gain in zip(curve.sizes, curve.levels, curve.gains, strict=True)
    ]
