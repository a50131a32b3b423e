"""Scores, draws and completed rows as data sets of Ray, which keep them on the machines of a cluster."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from chainrule.batches import BATCH_ROWS, Draw, impute_batches, score_batches, to_frame
from chainrule.distributed.engine import import_ray

if TYPE_CHECKING:
    from chainrule.estimators import DensityEstimator

__all__ = ["impute", "sample", "score"]


def score(dataset: Any, model: DensityEstimator, **question: Any) -> Any:
    """Return the rows of a data set with their log-likelihoods beside them.

    Ray Data keeps no order of blocks unless its context is told to, so scores alone would be nobody's.

    Parameters
    ----------
    dataset : ray.data.Dataset
        With the columns that the model was fitted to, and perhaps others.
    model : density estimator
    **question
        `given`, `of`, `n_orders` and `return_spread` of `score_samples`.

    Returns
    -------
    ray.data.Dataset
        Computed when it is asked for rows; with the columns ``log_likelihood``, in nats, and if it is asked
        for ``spread``, over the orders.
    """
    return _mapped(dataset, partial(_scores, model, question))


def impute(
    dataset: Any,
    model: DensityEstimator,
    *,
    how: Literal["sample", "mode", "mean"] = "sample",
    n_orders: int | None = None,
    random_state: int | None = None,
) -> Any:
    """Return the rows of a data set with their missing cells filled in; columns that the model lacks stay.

    Parameters
    ----------
    dataset : ray.data.Dataset
    model : density estimator
        Of any order.
    how, n_orders
        As in `impute` of the estimator.
    random_state : int, optional
        A block of rows draws from a seed that is made from this one and from the rows in it. So draws depend
        on how rows lie in blocks, which ``dataset.repartition`` sets, but not on who does which block.

    Returns
    -------
    ray.data.Dataset
        Computed when it is asked for rows.
    """
    return _mapped(dataset, partial(_completed, model, how, n_orders, random_state))


def sample(
    n_samples: int, model: DensityEstimator, *, random_state: int | None = None, **question: Any
) -> Any:
    """Return rows drawn from a model, those of `sample_batches` of `chainrule.batches` in some order.

    Parameters
    ----------
    n_samples : int
    model : density estimator
    random_state : int, optional
        Each batch of 65,536 rows draws from a seed of its own, made from this one and its number.
    **question
        `given` and `n_orders` of `sample`.

    Returns
    -------
    ray.data.Dataset
        Computed when it is asked for rows.
    """
    import_ray()
    import ray.data

    numbers = ray.data.range(-(-n_samples // BATCH_ROWS))
    return _mapped(numbers, partial(_drawn, Draw(model, question, random_state), n_samples), batch_size=1)


def _mapped(dataset: Any, work: Any, batch_size: int | None = None) -> Any:
    return dataset.map_batches(work, batch_format="pyarrow", batch_size=batch_size, zero_copy_batch=True)


def _scores(model: DensityEstimator, question: dict[str, Any], rows: Any) -> Any:
    """Return a pyarrow table with the log-likelihoods of its rows."""
    _use_one_thread()
    scores = next(score_batches(model, [rows], **question))
    for name in scores.column_names:
        rows = rows.append_column(name, scores[name])
    return rows


def _completed(model: DensityEstimator, how: Any, n_orders: int | None, seed: int | None, rows: Any) -> Any:
    """Return a pyarrow table with its missing cells filled in."""
    _use_one_thread()
    seed = None if seed is None else int.from_bytes(sha256(_content(rows) + str(seed).encode()).digest())
    return next(impute_batches(model, [rows], how=how, n_orders=n_orders, random_state=seed))


def _drawn(work: Draw, n_samples: int, numbers: Any) -> Any:
    """Return the rows of the batch whose number is in a table, as a table."""
    _use_one_thread()
    (number,) = numbers["id"].to_pylist()
    return to_frame(work(min(BATCH_ROWS, n_samples - number * BATCH_ROWS), number)).to_arrow()


def _content(rows: Any) -> bytes:
    """Return the bytes of what is in a table, however its memory is laid out."""
    import polars as pl

    buffer = BytesIO()
    pl.DataFrame(rows.combine_chunks()).write_ipc(buffer, compression="uncompressed")
    return buffer.getvalue()


def _use_one_thread() -> None:
    """Leave the other processors to the other workers."""
    import torch

    torch.set_num_threads(1)
