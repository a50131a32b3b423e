"""`chainrule ask`: questions about events to a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.options import JsonOption, ModelArgument, ResumeOption
from chainrule.cli.output import check_file, check_rows_out, console_for, rows_out, work_identity, write_json
from chainrule.cli.questions import OrdersOption, RuleOption, answering, check_rules, missing_words
from chainrule.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from chainrule.batches import Ask, RowSink
    from chainrule.events import Answer

__all__ = ["ask"]


def ask(
    model: ModelArgument,
    question: Annotated[
        str,
        typer.Argument(
            metavar="QUESTION",
            help="P(EVENT | CONDITION), E(COLUMN | CONDITION), quantiles(COLUMN | ...) or "
            "distribution(COLUMN | ...). Events and conditions are SQL's WHERE expressions, such as "
            "\"age BETWEEN 30 AND 40 AND state IN ('NY', 'NJ')\".",
        ),
    ],
    error: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", help="Draw until the standard error is at most that; default: 0.002 for P."
        ),
    ] = None,
    rule: RuleOption = None,
    orders: OrdersOption = None,
    rows: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Answer for each row of DATA, given its cells; the question's columns aside."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the answers for rows go: csv, tsv or parquet, or a folder of parquet."
        ),
    ] = None,
    resume: ResumeOption = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of draws.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Ask a saved model for a probability, an expectation, quantiles or a distribution, given an event."""
    check_file(json_file)
    check_rows_out(out, resume)
    if rows is None and out is not None:
        raise DataError("--out takes the answers for rows: name them by --rows")
    from chainrule.batches import Ask
    from chainrule.estimators import load
    from chainrule.events import parse_question

    parse_question(question)  # what cannot be read is refused before the model is loaded
    check_rules(rule)
    estimator: Any = answering(load(model))
    if rows is not None:
        identity = work_identity(model, data=rows, question=question, orders=orders, seed=seed, rules=rule)
        with rows_out(out, {**identity, "error": error}, resume=resume) as sink:
            n_rows = _ask_rows(Ask(estimator, question, orders, error, seed, rule), rows, sink)
        if out is not None:
            console_for(json_file).print(f"answers for {n_rows:,} rows: {out}", soft_wrap=True)
        write_json(
            {"question": question, "n_rows": n_rows, "path": None if out is None else str(out)}, json_file
        )
        return
    answer = estimator.ask(question, n_orders=orders, rules=rule, error=error, random_state=seed)
    _show(answer, console_for(json_file))
    rules = {"rules": rule} if rule else {}
    write_json({"question": question, **rules, **answer.to_dict()}, json_file)


def _ask_rows(work: Ask, data: str, sink: RowSink) -> int:
    """Write the answers for all rows, and return how many there are."""
    from chainrule.datasets import stream_rows

    n_rows = sum(map(len, sink.earlier()))
    rows = stream_rows(data, missing=missing_words(work.estimator.schema_), n_skipped=sink.n_done)
    for number, batch in enumerate(rows, sink.n_done):
        sink.write(work(batch, number))
        n_rows += len(batch)
    return n_rows


def _show(answer: Answer, console: Any) -> None:
    if isinstance(answer.value, dict):
        console.print(_table(answer))
    else:
        console.print(_with_error(answer.value, answer.standard_error, answer.method), highlight=False)
    how = "exact" if answer.n_effective is None else f"sampling, {answer.n_effective:,.0f} effective rows"
    console.print(f"{how}, {answer.seconds:.2f} s", style="dim", highlight=False)


def _with_error(value: Any, error: float, method: str) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.6g}" if method == "exact" else f"{value:.6g} +- {error:.2g}"


def _table(answer: Answer) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("")
    table.add_column("value", justify="right")
    for key, value in answer.value.items():
        error = answer.standard_error[key]
        table.add_row(Text(str(key)), Text(_with_error(value, error, answer.method)))
    return table
