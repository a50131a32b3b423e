"""`chainrule score`, `chainrule sample` and `chainrule datasets`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chainrule.cli.options import (
    DataArgument,
    ImageSizeOption,
    JsonOption,
    ModelArgument,
    parse_image_size,
)
from chainrule.cli.output import (
    check_file,
    check_suffix,
    console_for,
    to_frame,
    with_error,
    write_json,
    write_rows,
)
from chainrule.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from chainrule.estimators import DensityEstimator

__all__ = ["datasets", "sample", "score"]


def score(
    model: ModelArgument,
    data: DataArgument,
    split: Annotated[
        Literal["test", "train", "valid", "all"],
        typer.Option(help="Which rows; all: in the order of the file."),
    ] = "test",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one log-likelihood per row (csv or npy).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the split; default: that of the fit.")
    ] = None,
    image_size: ImageSizeOption = None,
    json_file: JsonOption = None,
) -> None:
    """Score rows with a saved model: mean log-likelihood in nats."""
    check_file(json_file)
    check_file(out)
    check_suffix(out, (".csv", ".npy"))
    from chainrule.estimators import load

    estimator = load(model)
    if seed is None:
        # With another seed the test rows would be rows that the model was trained on.
        fitted = estimator.get_params()["random_state"]
        seed = fitted if isinstance(fitted, int) else 0
    from chainrule.evaluation import summarize

    log_likelihoods = _scores(estimator, _rows(data, split, seed, parse_image_size(image_size)))
    if out is not None:
        _write_scores(log_likelihoods, out)
    summary = summarize(log_likelihoods)
    console_for(json_file).print(
        f"{type(estimator).__name__}: {with_error(summary.mean, summary.standard_error, 4)} nats per row "
        f"({estimator.likelihood_}), rows scored: {summary.n_rows:,} ({split}) of {data}",
        soft_wrap=True,
    )
    result = {
        "mean_log_likelihood": summary.mean,
        "standard_error": summary.standard_error,
        "n_rows": summary.n_rows,
    }
    write_json(result, json_file)


def sample(
    model: ModelArgument,
    n_samples: Annotated[int, typer.Option("-n", "--n-samples", min=1, help="How many rows.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the rows go (csv, parquet or npy); without it, standard output."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; without one every call draws anew.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Draw rows from a saved model."""
    check_file(json_file)
    check_file(out)
    check_suffix(out, (".csv", ".parquet", ".npy"))
    from chainrule.estimators import load

    estimator = load(model)
    start = time.perf_counter()
    rows = estimator.sample(n_samples, random_state=seed)
    seconds = time.perf_counter() - start
    frame = to_frame(rows)
    result: dict[str, Any] = {
        "n_samples": n_samples,
        "columns": frame.columns,
        "sample_seconds": seconds,
        "path": None if out is None else str(out),
    }
    if out is None:
        result["samples"] = [list(row) for row in frame.rows()]
    if out is not None or str(json_file) != "-":
        write_rows(rows, out)
    if out is not None:
        console_for(json_file).print(f"{n_samples:,} rows in {seconds:.2f} s: {out}", soft_wrap=True)
    write_json(result, json_file)


def datasets(json_file: JsonOption = None) -> None:
    """List the named data sets."""
    check_file(json_file)
    from rich.table import Table

    from chainrule.datasets import dataset_names

    facts = dataset_names()
    table = Table("name", "variables", "kind", "description")
    for info in facts:
        table.add_row(info.name, str(info.n_variables), info.kind, info.description)
    console_for(json_file).print(table)
    keys = ("name", "n_variables", "kind", "source", "description")
    write_json({"datasets": [{key: getattr(info, key) for key in keys} for info in facts]}, json_file)


def _rows(data: str, split: str, seed: int, image_size: tuple[int, int] | None) -> Iterator[Any]:
    """Yield the rows of a split, those of a large file that is not split in parts."""
    from chainrule.datasets import load_dataset, stream_rows

    if split == "all":
        yield from stream_rows(data, random_state=seed, image_size=image_size)
    else:
        yield getattr(load_dataset(data, random_state=seed, image_size=image_size), split)


def _scores(estimator: DensityEstimator, parts: Iterable[Any]) -> np.ndarray:
    import numpy as np

    scores: list[np.ndarray] = []
    for rows in parts:
        before = sum(map(len, scores))
        try:
            scores.append(estimator.score_samples(rows))
        except DataError as error:
            raise DataError(
                f"{error} (rows counted from row {before + 1})" if before else str(error)
            ) from error
    return np.concatenate(scores)


def _write_scores(log_likelihoods: Any, out: Path) -> None:
    if out.suffix.lower() == ".npy":
        write_rows(log_likelihoods, out)
    else:
        import polars as pl

        write_rows(pl.DataFrame({"log_likelihood": log_likelihoods}), out)
