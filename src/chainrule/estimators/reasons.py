"""Why rows are improbable: their most surprising cells, and what was to be expected of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import QueryError
from chainrule.estimators.base import DensityEstimator
from chainrule.schema.dates import dates_of

__all__ = ["Reason", "find_reasons"]


@dataclass(frozen=True)
class Reason:
    """A cell that makes its row improbable.

    Attributes
    ----------
    column : str
    surprisal : float
        Nats, as `DensityEstimator.surprisal` returns it.
    usual_surprisal : float
        The mean of the column's surprisal over the rows that this one is compared with.
    expected : object
        The most probable level, or the mean of a number, given what the surprisal is given; None where the
        model cannot tell.
    probability, expected_probability : float or None
        Of the cell's own value and of the most probable level; None of densities and means.
    """

    column: str
    surprisal: float
    usual_surprisal: float
    expected: Any
    probability: float | None
    expected_probability: float | None


def find_reasons(
    estimator: DensityEstimator, X: Any, usual: np.ndarray, n_reasons: int = 3
) -> list[list[Reason]]:
    """Return the cells of each row whose surprisal exceeds the usual one the most, those first.

    Surprisals of different columns cannot be compared: an age has some four nats wherever it stands,
    and the density of a continuous column depends on its unit. How far each exceeds what is usual in its
    column can.

    Parameters
    ----------
    estimator : density estimator
        Fitted without context.
    X : array or DataFrame, shape (n, D)
    usual : ndarray of shape (D,)
        The mean surprisal of each column over the rows to compare with.
    n_reasons : int
        At most so many cells of a row, of those whose surprisal is more than usual.

    Examples
    --------
    >>> from chainrule import Independent
    >>> model = Independent().fit(np.repeat([[0, 0, 1], [1, 0, 1]], [50, 50], axis=0))
    >>> ((reason,),) = find_reasons(model, np.array([[1, 1, 1]]), usual=np.zeros(3), n_reasons=1)
    >>> reason.column, reason.expected, round(reason.probability, 3)
    ('x2', 0, 0.005)
    """
    surprisal = estimator.surprisal(X)
    excess = np.nan_to_num(surprisal - usual, nan=-np.inf)
    chosen = np.argsort(-excess, axis=1, kind="stable")[:, :n_reasons]
    is_reason = np.take_along_axis(excess, chosen, axis=1) > 0
    expected = _expectations(estimator, X, np.unique(chosen[is_reason]).tolist())
    return [
        [
            _reason(estimator, d, float(surprisal[row, d]), float(usual[d]), expected[d][row])
            for d in chosen[row, is_reason[row]].tolist()
        ]
        for row in range(len(surprisal))
    ]


def _expectations(
    estimator: DensityEstimator, X: Any, columns: list[int]
) -> dict[int, list[tuple[Any, float | None]]]:
    """Return for each column what to expect of it in each row, and with which probability."""
    codes, context = estimator.encode_rows(X)
    split = estimator.surprisals()
    found: dict[int, list[tuple[Any, float | None]]] = {}
    for d in columns:
        try:
            values, probabilities = split.expected(codes, context, d)
        except QueryError:
            found[d] = [(None, None)] * len(codes)
        else:
            variable = estimator.schema_.variables[d]
            values = dates_of(values, variable.unit) if variable.unit else values
            if variable.number_format is not None:
                values = variable.number_format.write_all(values)
            plain = (value.item() if isinstance(value, np.generic) else value for value in values)
            found[d] = list(zip(plain, map(_unless_nan, probabilities.tolist()), strict=True))
    return found


def _reason(
    estimator: DensityEstimator, d: int, surprisal: float, usual: float, expected: tuple[Any, float | None]
) -> Reason:
    variable = estimator.schema_.variables[d]
    probability = None if not variable.is_discrete else float(np.exp(-surprisal))
    value, expected_probability = expected
    return Reason(variable.name, surprisal, usual, value, probability, expected_probability)


def _unless_nan(number: float) -> float | None:
    return None if np.isnan(number) else number
