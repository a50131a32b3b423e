"""The columns of results: one entry each, which page, terminal and JSON read.

To add a column, add an entry to `RESULT_COLUMNS`; nothing else knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainrule.metrics.statistics import Summary
from chainrule.report.numbers import count, decimals_for, number, seconds, with_error

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison, ModelResult

__all__ = ["RESULT_COLUMNS", "ResultColumn", "shown_columns"]

Texts = Callable[[Sequence[Any]], list[str]]


def always(_: Comparison) -> bool:
    """Show the column in every table."""
    return True


def measured(values: Sequence[Summary | None]) -> list[str]:
    """Write means with their standard errors, all with the decimals that the smallest error asks for."""
    decimals = decimals_for(*(value.standard_error for value in values if value is not None))
    return [
        "–" if value is None else with_error(value.mean, value.standard_error, decimals) for value in values
    ]


def differences(values: Sequence[Summary]) -> list[str]:
    """Write differences as `measured` does, and a dash for the model that all are compared with."""
    texts = measured(values)
    return [
        "–" if (value.mean, value.standard_error) == (0, 0) else text
        for value, text in zip(values, texts, strict=True)
    ]


def each(text: Callable[[Any], str]) -> Texts:
    """Write values one by one; a dash where there is none."""
    return lambda values: ["–" if value is None else text(value) for value in values]


@dataclass(frozen=True)
class ResultColumn:
    """One number for each model of a comparison.

    Attributes
    ----------
    key : str
        In the JSON.
    title, unit : str
        Heading in tables; the unit may be empty.
    value : callable
        From a comparison and one of its results to the number: a `Summary`, a number, or None.
    texts : callable
        From the values of all models to what tables show.
    shown : callable
        From a comparison to whether tables show the column; the JSON always has it. Default: always.
    error_key : str
        The key of the standard error, for a `Summary`; default: none.
    leads : bool
        Whether tables show the column before those that do not lead; default: False.
    is_bound : bool
        Whether the number is a lower bound where that of the log-likelihood is one; default: False.
    """

    key: str
    title: str
    unit: str
    value: Callable[[Comparison, ModelResult], Any]
    texts: Texts
    shown: Callable[[Comparison], bool] = always
    error_key: str = ""
    leads: bool = False
    is_bound: bool = False

    def cells(self, comparison: Comparison, results: Sequence[ModelResult]) -> list[str]:
        """Return the text of each result."""
        texts = self.texts([self.value(comparison, result) for result in results])
        if not self.is_bound:
            return texts
        return ["≥ " * result.is_lower_bound + text for result, text in zip(results, texts, strict=True)]

    def to_dict(self, comparison: Comparison, result: ModelResult) -> dict[str, Any]:
        """Return the number under its key, and its standard error where it has one."""
        value = self.value(comparison, result)
        entry = {self.key: value.mean if isinstance(value, Summary) else value}
        if self.error_key:
            entry[self.error_key] = value.standard_error if isinstance(value, Summary) else None
        return entry


def _above_entropy(comparison: Comparison, result: ModelResult) -> Summary | None:
    if comparison.entropy is None:
        return None
    level = result.summary
    return Summary(-level.mean - comparison.entropy, level.standard_error, level.n_rows)


# In the order of the JSON.
RESULT_COLUMNS = (
    ResultColumn(
        "test_log_likelihood",
        "Test log-likelihood",
        "nats per row",
        lambda comparison, result: result.summary,
        measured,
        error_key="standard_error",
        leads=True,
        is_bound=True,
    ),
    ResultColumn(
        "bits_per_dim",
        "Bits/dim",
        "",
        lambda comparison, result: comparison.bits_per_dim(result),
        each(lambda bits: number(bits, 4)),
        shown=lambda comparison: comparison.discrete,
    ),
    ResultColumn(
        "n_parameters", "Parameters", "", lambda comparison, result: result.n_parameters, each(count)
    ),
    ResultColumn("fit_seconds", "Fit", "s", lambda comparison, result: result.fit_seconds, each(seconds)),
    ResultColumn(
        "sample_seconds", "1000 samples", "s", lambda comparison, result: result.sample_seconds, each(seconds)
    ),
    ResultColumn("epochs", "Epochs", "", lambda comparison, result: result.epochs, each(count)),
    ResultColumn(
        "difference",
        "Difference to first",
        "nats, paired",
        lambda comparison, result: comparison.difference(result),
        differences,
        shown=lambda comparison: len(comparison.results) > 1,
        error_key="difference_standard_error",
        leads=True,
    ),
    ResultColumn(
        "above_entropy",
        "Above entropy",
        "nats",
        _above_entropy,
        measured,
        shown=lambda comparison: comparison.entropy is not None,
        leads=True,
    ),
)


def shown_columns(comparison: Comparison) -> list[ResultColumn]:
    """Return the columns that tables of a comparison show, in their order."""
    shown = [column for column in RESULT_COLUMNS if column.shown(comparison)]
    return sorted(shown, key=lambda column: not column.leads)
