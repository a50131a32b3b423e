"""`chainrule score`, `chainrule sample` and `chainrule datasets`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
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
    write_json,
    write_rows,
)
from chainrule.cli.questions import (
    OrdersOption,
    answering,
    check_given,
    missing_words,
    parse_columns,
    parse_given,
)
from chainrule.errors import DataError
from chainrule.report.numbers import in_ascii, with_error

if TYPE_CHECKING:
    import numpy as np

    from chainrule.estimators import DensityEstimator

__all__ = ["datasets", "sample", "score"]


def score(
    model: ModelArgument,
    data: DataArgument,
    split: Annotated[
        Literal["test", "train", "valid", "all"] | None,
        typer.Option(
            help="Which rows; all: in the order of the file. Default: test, with --top all.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, help="List so many of the least probable rows, with the columns that make them so."
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Columns, as a,b, to condition on. May be repeated."),
    ] = None,
    of: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Columns to score; default: all others. May be repeated."),
    ] = None,
    orders: OrdersOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one log-likelihood per row (csv or npy).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the split; default: that of the fit.")
    ] = None,
    image_size: ImageSizeOption = None,
    json_file: JsonOption = None,
) -> None:
    """Score rows with a saved model: mean log-likelihood in nats, or log p(these | those)."""
    if top is not None and (given or of):
        raise DataError("--top ranks whole rows: leave out --given and --of")
    split = split or ("test" if top is None else "all")
    check_file(json_file)
    check_file(out)
    check_suffix(out, (".csv", ".npy"))
    from chainrule.estimators import load

    estimator = load(model)
    if seed is None:
        # With another seed the test rows would be rows that the model was trained on.
        fitted = estimator.get_params()["random_state"]
        seed = fitted if isinstance(fitted, int) else 0
    from chainrule.cli.improbable import LeastProbable, table_of
    from chainrule.metrics.statistics import summarize

    question = _Question(
        parse_columns(given, estimator.schema_), parse_columns(of, estimator.schema_), orders
    )
    parts = _rows(data, split, seed, parse_image_size(image_size), estimator)
    scorer = question.scorer(estimator)
    improbable = None
    if top is not None:
        improbable = LeastProbable(estimator, top, scorer)
        scorer = improbable.score
    log_likelihoods, spread = _scores(scorer, parts)
    if out is not None:
        _write_scores(log_likelihoods, out)
    summary = summarize(log_likelihoods)
    mean = in_ascii(with_error(summary.mean, summary.standard_error, 4))
    console_for(json_file).print(
        f"{type(estimator).__name__}{question.label()}: {mean} nats per row "
        f"({estimator.likelihood_}), rows scored: {summary.n_rows:,} ({split}) of {data}"
        + ("" if spread is None else f"; mean spread over {orders} orders {spread:.4f}"),
        soft_wrap=True,
    )
    result: dict[str, Any] = {
        "mean_log_likelihood": summary.mean,
        "standard_error": summary.standard_error,
        "n_rows": summary.n_rows,
        **question.metadata(),
    }
    if spread is not None:
        result["mean_spread"] = spread
    if improbable is not None:
        result |= improbable.metadata()
        console_for(json_file).print(table_of(result))
    write_json(result, json_file)


def sample(
    model: ModelArgument,
    n_samples: Annotated[int, typer.Option("-n", "--n-samples", min=1, help="How many rows.")] = 10,
    given: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="What all rows share. May be repeated."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION", help='What all rows satisfy, as SQL has it: "age BETWEEN 30 AND 40".'
        ),
    ] = None,
    orders: OrdersOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the rows go (csv, tsv, parquet or npy); without it, standard output."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; without one every call draws anew.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Draw rows from a saved model, or from what it says given some values or a condition."""
    if given and where:
        raise DataError(
            "--given and --where: say all in one of them, as in --where \"sex = 'female' AND ...\""
        )
    check_given(given)
    check_file(json_file)
    check_file(out)
    check_suffix(out, (".csv", ".tsv", ".parquet", ".npy"))
    from chainrule.estimators import load

    estimator = load(model)
    question: dict[str, Any] = {}
    if given:
        question["given"] = parse_given(given, estimator.schema_)
    if where is not None:
        question["given"] = where
    if orders is not None:
        question["n_orders"] = orders
    draw: Callable[..., Any] = answering(estimator).sample if question else estimator.sample
    start = time.perf_counter()
    rows = draw(n_samples, random_state=seed, **question)
    seconds = time.perf_counter() - start
    frame = to_frame(rows)
    result: dict[str, Any] = {
        "n_samples": n_samples,
        "columns": frame.columns,
        "sample_seconds": seconds,
        "path": None if out is None else str(out),
        **question,
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

    metadata = dataset_names()
    table = Table("name", "variables", "kind", "description")
    for info in metadata:
        table.add_row(info.name, str(info.n_variables), info.kind, info.description)
    console_for(json_file).print(table)
    keys = ("name", "n_variables", "kind", "source", "description")
    write_json({"datasets": [{key: getattr(info, key) for key in keys} for info in metadata]}, json_file)


@dataclass(frozen=True)
class _Question:
    """What `chainrule score` asks of each row."""

    given: list[str] | None
    of: list[str] | None
    n_orders: int | None

    def metadata(self) -> dict[str, Any]:
        """Return the query for the JSON: nothing where whole rows are scored."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def label(self) -> str:
        """Return the words for the query, where it is not the whole row."""
        if self.given is None and self.of is None:
            return ""
        those = f" | {', '.join(self.given)}" if self.given else ""
        return f", log p({', '.join(self.of or ['all others'])}{those})"

    def scorer(self, estimator: DensityEstimator) -> Callable[[Any], Any]:
        """Return a function from rows to their scores, or to scores and spread."""
        if not self.metadata():
            return estimator.score_samples
        return partial(
            answering(estimator).score_samples,
            **self.metadata(),
            return_spread=self.n_orders is not None and self.n_orders > 1,
        )


def _rows(
    data: str, split: str, seed: int, image_size: tuple[int, int] | None, estimator: DensityEstimator
) -> Iterator[Any]:
    """Yield the rows of a split, those of a large file that is not split in parts."""
    from chainrule.datasets import load_dataset, stream_rows

    missing = missing_words(estimator.schema_)
    columns = estimator.schema_.names if estimator.schema_.named else None
    if split == "all":
        yield from stream_rows(
            data, random_state=seed, image_size=image_size, missing=missing, columns=columns
        )
    else:
        dataset = load_dataset(
            data,
            random_state=seed,
            image_size=image_size,
            missing=missing if estimator.supports_missing else None,
            columns=columns,
        )
        yield getattr(dataset, split)


def _scores(score_rows: Callable[[Any], Any], parts: Iterable[Any]) -> tuple[np.ndarray, float | None]:
    """Return the scores of all rows, and the mean of their spreads if there are any."""
    import numpy as np

    scores: list[np.ndarray] = []
    spreads: list[np.ndarray] = []
    for rows in parts:
        before = sum(map(len, scores))
        try:
            answer = score_rows(rows)
            if isinstance(answer, tuple):
                answer, spread = answer
                spreads.append(spread)
            scores.append(answer)
        except DataError as error:
            raise DataError(
                f"{error} (rows counted from row {before + 1})" if before else str(error)
            ) from error
    return np.concatenate(scores), float(np.concatenate(spreads).mean()) if spreads else None


def _write_scores(log_likelihoods: Any, out: Path) -> None:
    if out.suffix.lower() == ".npy":
        write_rows(log_likelihoods, out)
    else:
        import polars as pl

        write_rows(pl.DataFrame({"log_likelihood": log_likelihoods}), out)
