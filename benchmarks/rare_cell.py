"""Rows drawn given what few rows have, held against the real rows that have it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from chainrule.datasets import Dataset

__all__ = ["RareCell", "draws_of_a_rare_cell"]

_SEED = 0
_N_DRAWS = 20_000
# Levels that fewer real rows are expected to have are taken together, as the test of counts asks for.
_MIN_EXPECTED = 5.0


@dataclass(frozen=True)
class RareCell:
    """Counts of a column's commonest level among real rows of a cell, and a test of all of its levels.

    `p_value` is that of a chi-square test of the real counts against the shares among drawn rows.
    """

    method: str
    column: str
    level: str
    drawn_share: float
    n_real: int
    real_share: float
    real_error: float
    p_value: float
    sample_seconds: float

    heading = (
        f"{'method':<20} {'column':<16} {'commonest level':<20} {'of drawn':>9} {'of real rows':>18} "
        f"{'rows':>5} {'p-value':>8} {'draw, s':>8}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.method:<20} {self.column:<16} {self.level:<20} {self.drawn_share:>9.4f} "
            f"{f'{self.real_share:.4f} +- {self.real_error:.4f}':>18} {self.n_real:>5} {self.p_value:>8.3f} "
            f"{self.sample_seconds:>8.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def draws_of_a_rare_cell(
    name: str, model: Any, dataset: Dataset, given: Mapping[str, Any]
) -> Iterator[RareCell]:
    """Yield, for each categorical column, how rows drawn with `given` and real rows with it are spread.

    Parameters
    ----------
    name : str
        What to call the model.
    model : estimator
        A fitted one of any order.
    dataset : Dataset
        A table as a polars DataFrame; the real rows are those of all of its parts.
    given : mapping of str to value
    """
    start = time.perf_counter()
    drawn = model.sample(_N_DRAWS, given=given, random_state=_SEED)
    spent = time.perf_counter() - start
    here = [pl.col(column).cast(pl.String) == str(value) for column, value in given.items()]
    parts = [part.filter(*here) for part in (dataset.train, dataset.valid, dataset.test)]
    for variable in model.schema_.variables:
        if variable.name in given or not variable.levels:
            continue
        real = np.concatenate([_texts(part[variable.name]) for part in parts])
        yield _row(name, variable.name, _texts(drawn[variable.name]), real, spent)


def _texts(column: pl.Series) -> np.ndarray:
    texts: np.ndarray = column.drop_nulls().cast(pl.String).to_numpy().astype(str)
    return texts


def _row(method: str, column: str, drawn: np.ndarray, real: np.ndarray, spent: float) -> RareCell:
    levels = np.union1d(drawn, real)
    shares = np.array([(drawn == level).mean() for level in levels])
    counts = np.array([(real == level).sum() for level in levels])
    common = int(shares.argmax())
    share = counts[common] / len(real)
    return RareCell(
        method=method,
        column=column,
        level=str(levels[common]),
        drawn_share=float(shares[common]),
        n_real=len(real),
        real_share=float(share),
        real_error=float(np.sqrt(share * (1 - share) / len(real))),
        p_value=_p_value(shares * len(real), counts),
        sample_seconds=spent,
    )


def _p_value(expected: np.ndarray, counts: np.ndarray) -> float:
    """Return the p-value of a chi-square test, rare levels taken together."""
    rare = expected < _MIN_EXPECTED
    expected = np.append(expected[~rare], expected[rare].sum())
    counts = np.append(counts[~rare], counts[rare].sum())
    if expected[-1] == 0 and counts[-1] == 0:
        expected, counts = expected[:-1], counts[:-1]
    return float(stats.chisquare(counts, expected).pvalue) if len(counts) > 1 else 1.0
