"""A question asked of each row: what is in its cells is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chainrule.batches.sinks import to_frame
from chainrule.batches.work import as_table, like
from chainrule.events import AllOf, parse_question
from chainrule.events.conditions import condition_of

if TYPE_CHECKING:
    import polars as pl

    from chainrule.estimators import DensityEstimator

__all__ = ["Ask", "ask_batches"]


@dataclass(frozen=True)
class Ask:
    """The answer to a question for each row, given the cells of the row that the question does not name.

    Parameters
    ----------
    estimator : density estimator
        One that answers questions.
    question : str
        As `ask` of an estimator takes it.
    n_orders : int, optional
    error : float, optional
    seed : int
    rules : sequence of str, optional
        As `ask` takes them.
    """

    estimator: DensityEstimator
    question: str
    n_orders: int | None = None
    error: float | None = None
    seed: int = 0
    rules: Sequence[str] | None = None

    def __call__(self, rows: Any, number: int) -> pl.DataFrame:
        """Return a column ``value`` with its ``standard_error``, or one for each level or quantile."""
        import polars as pl

        question = parse_question(self.question)
        conditions = [each for each in (question.event, question.given) if each is not None]
        named = {str(atom.column) for each in conditions for atom in each.atoms()} | {question.column}
        frame = to_frame(rows)
        known = [name for name in frame.columns if name in self.estimator.schema_.names and name not in named]
        answers: dict[tuple[Any, ...], dict[str, Any]] = {}
        cells = frame.select(known).rows() if known else [()] * len(frame)
        for row in cells:
            if row not in answers:
                answers[row] = self._answer(question, dict(zip(known, row, strict=True)))
        return pl.DataFrame([answers[row] for row in cells], infer_schema_length=None)

    def _answer(self, question: Any, row: dict[str, Any]) -> dict[str, Any]:
        given = condition_of({name: value for name, value in row.items() if value is not None})
        asked = replace(question, given=AllOf((question.given, given)))
        ask: Any = self.estimator.ask
        found = ask(asked, n_orders=self.n_orders, rules=self.rules, error=self.error, random_state=self.seed)
        if isinstance(found.value, dict):
            return {str(key): value for key, value in found.value.items()}
        return {"value": found.value, "standard_error": found.standard_error}


def ask_batches(
    estimator: DensityEstimator,
    question: str,
    batches: Iterable[Any],
    *,
    n_orders: int | None = None,
    error: float | None = None,
    random_state: int = 0,
) -> Iterator[Any]:
    """Yield the answers to a question for batches of rows, each given the cells of its row.

    Parameters
    ----------
    estimator : density estimator
        Of any order.
    question : str
        As in `ask`; what it says itself is given, too. Columns that it names are not taken from the rows.
    batches : iterable of pyarrow.RecordBatch or polars DataFrame
        Empty cells say nothing. Columns that the model lacks are passed over.
    n_orders, error, random_state
        As in `ask`.

    Yields
    ------
    pyarrow.RecordBatch or polars DataFrame
        As the batches are: ``value`` and ``standard_error``, or a column for each level or quantile.

    Examples
    --------
    >>> import polars as pl
    >>> from chainrule import OrderlessNADE
    >>> rows = pl.DataFrame({"a": [0, 1, 1, 0] * 50, "b": [0, 1, 1, 0] * 50})
    >>> model = OrderlessNADE((16,), max_epochs=30, random_state=0).fit(rows)
    >>> (answers,) = ask_batches(model, "P(b = 1)", [pl.DataFrame({"a": [0, 1]})])
    >>> answers["value"].round(1).to_list()
    [0.0, 1.0]
    """
    work = Ask(estimator, question, n_orders, error, random_state)
    for number, batch in enumerate(batches):
        yield like(batch, work(as_table(batch), number))
