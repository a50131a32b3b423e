"""The least probable rows of `chainrule score --top`, and the columns that make them so."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.report.numbers import short

if TYPE_CHECKING:
    from rich.table import Table

    from chainrule.estimators import DensityEstimator
    from chainrule.estimators.reasons import Reason

__all__ = ["LeastProbable", "table_of"]

# Rows whose mean surprisal, column by column, is what surprisals are compared with.
_MAX_USUAL = 1000
_MAX_LETTERS = 24

_GIVEN = {"others": "all other columns", "before": "the columns before it"}


class LeastProbable:
    """Collects the least probable of many rows while they are scored.

    Parameters
    ----------
    estimator : density estimator
    count : int
        How many to keep.
    """

    def __init__(self, estimator: DensityEstimator, count: int) -> None:
        self.estimator = estimator
        self.count = count
        self._n_rows = 0
        self._kept: list[tuple[float, int, Any]] = []
        self._usual: np.ndarray | None = None

    def add(self, rows: Any, nats: np.ndarray) -> None:
        """Look at rows and their scores, and remember the lowest."""
        if self._usual is None:
            chosen = np.random.default_rng(0).permutation(len(nats))[:_MAX_USUAL]
            with _without_warnings():
                surprise = self.estimator.surprisal(rows[np.sort(chosen)])
                self._usual = np.nan_to_num(np.nanmean(surprise, axis=0))  # 0 where all are missing
        lowest = np.argsort(nats, kind="stable")[: self.count]
        found = [(float(nats[i]), self._n_rows + int(i) + 1, rows[[int(i)]]) for i in lowest]
        self._kept = sorted([*self._kept, *found], key=lambda each: each[:2])[: self.count]
        self._n_rows += len(nats)

    def metadata(self) -> dict[str, Any]:
        """Return the rows and the reasons as JSON holds them: rows are counted from 1."""
        return {
            "surprise_given": self.estimator.surprisal_given,
            "least_probable": [
                {
                    "row": number,
                    "log_likelihood": nats,
                    "columns": [
                        {"value": _cell(row, reason.column, self.estimator), **_entry(reason)}
                        for reason in self._reasons(row)
                    ],
                }
                for nats, number, row in self._kept
            ],
        }

    def _reasons(self, row: Any) -> list[Reason]:
        from chainrule.estimators.reasons import find_reasons

        assert self._usual is not None  # or there would be no row
        with _without_warnings():
            return find_reasons(self.estimator, row, self._usual)[0]


def _entry(reason: Reason) -> dict[str, Any]:
    """Return a reason under the keys of the JSON file."""
    return {key.replace("surprisal", "surprise"): value for key, value in asdict(reason).items()}


def _without_warnings() -> AbstractContextManager[Any]:
    """Keep quiet about rows that were warned about when they were scored."""
    return warnings.catch_warnings(action="ignore")


def table_of(found: dict[str, Any]) -> Table:
    """Return `LeastProbable.metadata` as a table for people."""
    from rich.table import Table

    given = _GIVEN[found["surprise_given"]]
    table = Table(
        title="The least probable rows, and the columns that make them so",
        caption=f"surprise: -log p(value | {given}) in nats, and its mean over the rows; "
        "expected: the most probable level, or the mean",
    )
    for name in ("row", "nats", "column", "value", "expected", "probability", "surprise", "usual"):
        left = name in ("column", "value", "expected")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for row in found["least_probable"]:
        first = (str(row["row"]), f"{row['log_likelihood']:.2f}")
        for cell in row["columns"] or [None]:
            table.add_row(*first, *(_words(cell) if cell else ()))
            first = ("", "")
        table.add_section()
    return table


def _words(cell: dict[str, Any]) -> tuple[str, ...]:
    """Return the entries of one line of the table."""
    expected = "–" if cell["expected"] is None else _text(cell["expected"])
    if cell["expected_probability"] is not None:
        expected += f" ({cell['expected_probability']:.2g})"
    probability = "density" if cell["probability"] is None else f"{cell['probability']:.2g}"
    surprise, usual = f"{cell['surprise']:.2f}", f"{cell['usual_surprise']:.2f}"
    return cell["column"], _text(cell["value"]), expected, probability, surprise, usual


def _text(value: Any) -> str:
    return short(f"{value:.4g}" if isinstance(value, float) else str(value), _MAX_LETTERS)


def _cell(row: Any, column: str, estimator: DensityEstimator) -> Any:
    """Return the value in a column of one row, an array or a polars DataFrame."""
    key = estimator.schema_.names.index(column) if isinstance(row, np.ndarray) else column
    value = row[0, key]
    return value.item() if isinstance(value, np.generic) else value
