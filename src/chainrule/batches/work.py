"""What is done with one batch of rows: it is scored, completed, or drawn.

Each piece of work is an object that can be pickled and depends on nothing but its batch and the number of
the batch, so the result is the same however many processes share the batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chainrule.batches.sinks import to_frame
from chainrule.datasets.loading import take_columns

if TYPE_CHECKING:
    import polars as pl

    from chainrule.estimators import DensityEstimator

__all__ = [
    "as_table",
    "like",
    "BATCH_ROWS",
    "Draw",
    "Impute",
    "Score",
    "batch_sizes",
    "impute_batches",
    "partition_seed",
    "sample_batches",
    "score_batches",
]

BATCH_ROWS = 2**16
"""How many rows are drawn from one seed."""


def partition_seed(seed: int | None, number: int) -> np.random.Generator:
    """Return the generator of a batch: that of the seed itself for batch 0, a child of it for the others.

    Parameters
    ----------
    seed : int, optional
        Without one, every call gives another generator.
    number : int
        Of the batch, from 0.

    Examples
    --------
    >>> partition_seed(7, 0).random() == np.random.default_rng(7).random()
    True
    >>> partition_seed(7, 1).random() == partition_seed(7, 2).random()
    False
    """
    if seed is None:
        return np.random.default_rng()
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,) if number else ()))


@dataclass(frozen=True)
class Score:
    """The log-likelihood of each row, in nats, or log p(these | those).

    Parameters
    ----------
    estimator : density estimator
    question : mapping
        Arguments of `score_samples` beside the rows.
    """

    estimator: DensityEstimator
    question: dict[str, Any]

    def __call__(self, rows: Any, number: int) -> pl.DataFrame:
        """Return a table with a column ``log_likelihood`` and, where that is asked for, ``spread``."""
        import polars as pl

        if len(rows) == 0:
            names = ["log_likelihood", "spread"] if self.question.get("return_spread") else ["log_likelihood"]
            return pl.DataFrame(schema=dict.fromkeys(names, pl.Float64))
        answer = self.estimator.score_samples(rows, **self.question)
        if isinstance(answer, tuple):
            return pl.DataFrame({"log_likelihood": answer[0], "spread": answer[1]})
        return pl.DataFrame({"log_likelihood": answer})


@dataclass(frozen=True)
class Draw:
    """Rows drawn from a model.

    Parameters
    ----------
    estimator : density estimator
    question : mapping
        Arguments of `sample` beside how many and the seed.
    seed : int, optional
    """

    estimator: DensityEstimator
    question: dict[str, Any]
    seed: int | None

    def __call__(self, n_rows: int, number: int) -> Any:
        """Return that many rows in the container of the training rows."""
        return self.estimator.sample(n_rows, random_state=partition_seed(self.seed, number), **self.question)


@dataclass(frozen=True)
class Impute:
    """Rows with their missing cells filled in; all columns and values that are there stay as they are.

    Parameters
    ----------
    estimator : density estimator
    how : {"sample", "mode", "mean"}
    n_orders : int, optional
    seed : int, optional
    n_draws : int, optional
        How many completed tables; without a number, one.
    """

    estimator: DensityEstimator
    how: Literal["sample", "mode", "mean"] = "sample"
    n_orders: int | None = None
    seed: int | None = None
    n_draws: int | None = None

    def __call__(self, rows: Any, number: int) -> list[Any]:
        """Return the completed tables."""
        if len(rows) == 0:
            return [rows] * (self.n_draws or 1)
        known = take_columns(rows, self.estimator.schema_.names)
        completed = self.estimator.impute(
            known,
            how=self.how,
            n_draws=self.n_draws,
            n_orders=self.n_orders,
            random_state=partition_seed(self.seed, number),
        )
        return [_with_known(rows, table) for table in (completed if self.n_draws else [completed])]


def _with_known(rows: Any, completed: Any) -> Any:
    """Return completed rows in the columns of the file, with its own values where it has them.

    The model knows values as float32 and ordinal ones only up to the ends of their range.
    """
    if isinstance(rows, np.ndarray) and isinstance(completed, np.ndarray):
        return np.where(np.isnan(rows), completed, rows) if np.issubdtype(rows.dtype, np.floating) else rows
    known, filled = to_frame(rows), to_frame(completed)
    if not set(filled.columns) <= set(known.columns):
        # The model was fitted to an array, or the rows are one: columns go by position.
        filled.columns = known.columns
    cells = [_with_known_cells(known, filled, name) for name in filled.columns]
    return known.fill_nan(None).with_columns(cells)


def _with_known_cells(known: pl.DataFrame, filled: pl.DataFrame, name: str) -> pl.Expr:
    import polars as pl

    cells = pl.col(name)
    if isinstance(known[name].dtype, pl.Categorical):
        cells = cells.cast(pl.String)
    return pl.coalesce(cells, pl.lit(filled[name])).alias(name)


# ---------------------------------------------------------------- record batches in, record batches out


def score_batches(estimator: DensityEstimator, batches: Iterable[Any], **question: Any) -> Iterator[Any]:
    """Yield the log-likelihoods of batches of rows, as they come.

    Parameters
    ----------
    estimator : density estimator
    batches : iterable of pyarrow.RecordBatch or Table, or of any container that `score_samples` takes
        A batch may be empty.
    **question
        `given`, `of`, `n_orders` and `return_spread` of `score_samples`.

    Yields
    ------
    pyarrow.RecordBatch or Table, or polars DataFrame
        What came of pyarrow goes as it came. One row for each, with ``log_likelihood`` in nats and, if it is
        asked for, its ``spread`` over the orders.

    Examples
    --------
    >>> import polars as pl
    >>> from chainrule import MADE
    >>> rows = pl.DataFrame({"a": [0, 1, 1, 0] * 25, "b": [1, 1, 0, 0] * 25})
    >>> model = MADE(max_epochs=1, random_state=0).fit(rows)
    >>> [scores.shape for scores in score_batches(model, rows.iter_slices(60))]
    [(60, 1), (40, 1)]
    """
    work = Score(estimator, question)
    for number, batch in enumerate(batches):
        yield like(batch, work(as_table(batch), number))


def impute_batches(
    estimator: DensityEstimator,
    batches: Iterable[Any],
    *,
    how: Literal["sample", "mode", "mean"] = "sample",
    n_orders: int | None = None,
    random_state: int | None = None,
) -> Iterator[Any]:
    """Yield batches of rows with their missing cells filled in; columns that the model lacks stay.

    Parameters
    ----------
    estimator : density estimator
        Of any order.
    batches : iterable of pyarrow.RecordBatch or Table, or of polars DataFrame
        A batch may be empty.
    how, n_orders
        As in `impute`.
    random_state : int, optional
        Each batch draws from a seed of its own, made from this one and its number.

    Yields
    ------
    pyarrow.RecordBatch or Table, or polars DataFrame
        As the batches are, their text of the same type.
    """
    work = Impute(estimator, how, n_orders, random_state)
    for number, batch in enumerate(batches):
        yield like(batch, work(as_table(batch), number)[0])


def sample_batches(
    estimator: DensityEstimator, n_samples: int, *, random_state: int | None = None, **question: Any
) -> Iterator[pl.DataFrame]:
    """Yield drawn rows, `BATCH_ROWS` at a time, each batch from a seed of its own.

    Parameters
    ----------
    estimator : density estimator
    n_samples : int
    random_state : int, optional
    **question
        `given` and `n_orders` of `sample`.

    Yields
    ------
    polars DataFrame
        ``frame.to_arrow()`` makes record batches of it.
    """
    work = Draw(estimator, question, random_state)
    for number, n_rows in enumerate(batch_sizes(n_samples)):
        yield to_frame(work(n_rows, number))


def batch_sizes(n_samples: int) -> Iterator[int]:
    """Yield how many rows each batch of draws has.

    >>> list(batch_sizes(100_000))
    [65536, 34464]
    """
    for start in range(0, n_samples, BATCH_ROWS):
        yield min(BATCH_ROWS, n_samples - start)


def _arrow_type(batch: Any) -> str:
    """Return "RecordBatch" or "Table" for what is of pyarrow, nothing for all else."""
    return type(batch).__name__ if type(batch).__module__.startswith("pyarrow") else ""


def as_table(batch: Any) -> Any:
    """Return what is of pyarrow as a polars DataFrame; other containers as they are."""
    import polars as pl

    return pl.from_arrow(batch) if _arrow_type(batch) else batch


def like(batch: Any, frame: pl.DataFrame) -> Any:
    """Return the frame as what it was made from: a record batch or table of pyarrow, or itself."""
    if not _arrow_type(batch):
        return frame
    import pyarrow as pa

    table = frame.to_arrow()
    texts = {field.name: field.type for field in batch.schema if pa.types.is_string(field.type)}
    table = table.cast(
        pa.schema([field.with_type(texts.get(field.name, field.type)) for field in table.schema])
    )
    if _arrow_type(batch) == "Table":
        return table
    return pa.RecordBatch.from_arrays([_one_chunk(column) for column in table.columns], schema=table.schema)


def _one_chunk(column: Any) -> Any:
    """Return a column, which may have no chunk or several, as one array."""
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
