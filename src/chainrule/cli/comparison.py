"""What a comparison says on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from chainrule.report.comparison import Comparison, ModelResult

__all__ = ["comparison_table", "heading", "remarks", "say_result"]


def say_result(result: ModelResult) -> None:
    """Say on standard error what a model has reached, before the others are fitted."""
    print(
        f"{result.model}: {result.log_likelihoods.mean():.3f} nats per test row, fitted in "
        f"{result.fit_seconds:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def heading(comparison: Comparison) -> list[str]:
    """Return what was compared, in lines."""
    rows = (
        f"{comparison.n_train:,} training, {comparison.n_valid:,} validation, {comparison.n_test:,} test rows"
    )
    return [f"{comparison.dataset}: {comparison.kinds}; {rows}", comparison.split]


def comparison_table(comparison: Comparison) -> Table:
    """Return the results as a table for a terminal, models in the order in which they were asked for."""
    from rich.table import Table

    from chainrule.report.numbers import in_ascii
    from chainrule.report.result_columns import shown_columns

    table = Table()
    table.add_column("model", no_wrap=True)
    columns = shown_columns(comparison)
    for column in columns:
        table.add_column(f"{column.title.lower()}\n{column.unit}".strip(), justify="right")
    best = comparison.best()
    cells = [column.cells(comparison, comparison.results) for column in columns]
    for result, texts in zip(comparison.results, zip(*cells, strict=True), strict=True):
        name = result.model + " *" * (result is best)
        table.add_row(name, *map(in_ascii, texts), style="bold" if result is best else None)
    return table


def remarks(comparison: Comparison) -> list[str]:
    """Return what there is to say below the table, in lines."""
    lines = [f"{result.model}: {result.note}" for result in comparison.results if result.note]
    lines += comparison.notes
    if comparison.best() is not None:
        lines.append("* ahead of every other model by more than two standard errors of the paired difference")
    elif len(comparison.results) > 1:
        lines.append("no model is ahead of every other by more than two standard errors")
    if comparison.entropy is not None:
        lines.append(f"the true distribution itself: {-comparison.entropy:.3f} nats on average")
    return lines
