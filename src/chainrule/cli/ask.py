"""`chainrule ask`: questions about events to a saved model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.options import JsonOption, ModelArgument
from chainrule.cli.output import check_file, console_for, write_json
from chainrule.cli.questions import OrdersOption, RuleOption, answering, check_rules

if TYPE_CHECKING:
    from rich.table import Table

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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of draws.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Ask a saved model for a probability, an expectation, quantiles or a distribution, given an event."""
    check_file(json_file)
    from chainrule.estimators import load
    from chainrule.events import parse_question

    parse_question(question)  # what cannot be read is refused before the model is loaded
    check_rules(rule)
    estimator: Any = answering(load(model))
    answer = estimator.ask(question, n_orders=orders, rules=rule, error=error, random_state=seed)
    _show(answer, console_for(json_file))
    rules = {"rules": rule} if rule else {}
    write_json({"question": question, **rules, **answer.to_dict()}, json_file)


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
