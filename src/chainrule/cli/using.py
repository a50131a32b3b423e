"""`chainrule score`, `chainrule sample` and `chainrule datasets`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chainrule.cli.options import (
    AddressOption,
    DataArgument,
    EngineOption,
    ImageSizeOption,
    JsonOption,
    ModelArgument,
    ResumeOption,
    SpreadsheetOption,
    check_engine,
    image_size_for,
)
from chainrule.cli.output import (
    check_file,
    check_rows_out,
    console_for,
    for_spreadsheets,
    rows_out,
    work_identity,
    working_on,
    write_json,
)
from chainrule.cli.questions import (
    OrdersOption,
    RuleOption,
    answering,
    check_given,
    check_rules,
    missing_words,
    parse_columns,
    parse_given,
)
from chainrule.errors import DataError
from chainrule.report.numbers import in_ascii, with_error

if TYPE_CHECKING:
    import polars as pl

    from chainrule.batches import RowSink, Score
    from chainrule.cli.improbable import LeastProbable
    from chainrule.distributed import Engine
    from chainrule.estimators import DensityEstimator
    from chainrule.metrics.statistics import Summary

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
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one log-likelihood per row: csv, tsv, parquet or npy, or a folder of parquet files.",
        ),
    ] = None,
    resume: ResumeOption = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the split; default: that of the fit.")
    ] = None,
    image_size: ImageSizeOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    json_file: JsonOption = None,
) -> None:
    """Score rows with a saved model: mean log-likelihood in nats, or log p(these | those)."""
    if top is not None and (given or of):
        raise DataError("--top ranks whole rows: leave out --given and --of")
    split = split or ("test" if top is None else "all")
    if top is not None and resume:
        raise DataError("--top needs all rows in one run: leave out --resume")
    check_file(json_file)
    check_rows_out(out, resume)
    check_engine(engine, address)
    from chainrule.estimators import load

    estimator = load(model)
    if seed is None:
        # With another seed the test rows would be rows that the model was trained on.
        fitted = estimator.get_params()["random_state"]
        seed = fitted if isinstance(fitted, int) else 0
    from chainrule.batches import Score
    from chainrule.cli.improbable import LeastProbable, table_of

    question = _Question(
        parse_columns(given, estimator.schema_), parse_columns(of, estimator.schema_), orders
    )
    work = Score(question.asked(estimator), question.arguments())
    improbable = None if top is None else LeastProbable(estimator, top)
    identity = work_identity(model, data=data, split=split, seed=seed, **question.metadata())
    is_kept = out is not None
    with (
        rows_out(out, identity, resume=resume, is_kept=is_kept) as sink,
        working_on(engine, address) as cluster,
    ):
        parts = _rows(data, split, seed, image_size_for(image_size, data, estimator), estimator, sink.n_done)
        summary, spread = _summaries(work, parts, sink, improbable, cluster)
    mean = in_ascii(with_error(summary.mean, summary.standard_error, 4))
    console_for(json_file).print(
        f"{type(estimator).__name__}{question.label()}: {mean} nats per row "
        f"({estimator.likelihood_}), rows scored: {summary.n_rows:,} ({split}) of {data}"
        + (f"; mean spread over {orders} orders {spread.mean:.4f}" if spread.n_rows else ""),
        soft_wrap=True,
    )
    result: dict[str, Any] = {
        "mean_log_likelihood": summary.mean,
        "standard_error": summary.standard_error,
        "n_rows": summary.n_rows,
        **question.metadata(),
    }
    if spread.n_rows:
        result["mean_spread"] = spread.mean
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
    rule: RuleOption = None,
    orders: OrdersOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the rows go: csv, tsv, parquet or npy, or a folder of parquet files; without it, "
            "standard output.",
        ),
    ] = None,
    resume: ResumeOption = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; without one every call draws anew.")] = None,
    spreadsheet_safe: SpreadsheetOption = False,
    engine: EngineOption = None,
    address: AddressOption = None,
    json_file: JsonOption = None,
) -> None:
    """Draw rows from a saved model, or from what it says given some values or a condition."""
    if given and where:
        raise DataError(
            "--given and --where: say all in one of them, as in --where \"sex = 'female' AND ...\""
        )
    check_given(given)
    check_rules(rule)
    check_file(json_file)
    check_rows_out(out, resume)
    check_engine(engine, address)
    if resume and seed is None:
        raise DataError("--resume needs the --seed of the run that was stopped")
    from chainrule.batches import Draw, batch_sizes, to_frame
    from chainrule.distributed import in_order
    from chainrule.estimators import load

    estimator = load(model)
    question: dict[str, Any] = {}
    if given:
        question["given"] = parse_given(given, estimator.schema_)
    if where is not None:
        question["given"] = where
    if orders is not None:
        question["n_orders"] = orders
    if rule:
        question["rules"] = rule
    work = Draw(answering(estimator) if question else estimator, question, seed)
    start = time.perf_counter()
    shown: list[pl.DataFrame] = []
    identity = work_identity(model, seed=seed, n_samples=n_samples, **question)
    is_shown = out is None and json_file is not None
    is_kept = out is not None or str(json_file) != "-"
    with (
        rows_out(out, identity, resume=resume, is_kept=is_kept) as sink,
        working_on(engine, address) as cluster,
    ):
        sizes = islice(batch_sizes(n_samples), sink.n_done, None)
        for _, rows in in_order(work, sizes, cluster, sink.n_done):
            if is_shown:
                shown.append(to_frame(rows))
            sink.write(for_spreadsheets(rows, out) if spreadsheet_safe else rows)
    seconds = time.perf_counter() - start
    names = list(estimator.schema_.names)
    result: dict[str, Any] = {
        "n_samples": n_samples,
        "columns": names,
        "sample_seconds": seconds,
        "path": None if out is None else str(out),
        **question,
    }
    if shown:
        result["samples"] = [list(row) for frame in shown for row in frame.rows()]
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

    def asked(self, estimator: DensityEstimator) -> DensityEstimator:
        """Return the estimator, if it can answer."""
        return answering(estimator) if self.metadata() else estimator

    def arguments(self) -> dict[str, Any]:
        """Return what `score_samples` takes beside the rows."""
        if not self.metadata():
            return {}
        return {**self.metadata(), "return_spread": self.n_orders is not None and self.n_orders > 1}


def _rows(
    data: str,
    split: str,
    seed: int,
    image_size: tuple[int, ...] | None,
    estimator: DensityEstimator,
    n_skipped: int,
) -> Iterator[Any]:
    """Yield the rows of a split, those of a large file that is not split in parts."""
    from chainrule.datasets import load_dataset, stream_rows

    missing = missing_words(estimator.schema_)
    columns = estimator.schema_.names if estimator.schema_.named else None
    if split == "all" or estimator.split_ is not None:
        rows = stream_rows(
            data,
            random_state=seed,
            image_size=image_size,
            missing=missing,
            columns=columns,
            n_skipped=0 if split != "all" else n_skipped,
        )
        yield from rows if split == "all" else islice(_hashed(rows, split, estimator.split_), n_skipped, None)
    elif n_skipped == 0:
        dataset = load_dataset(
            data,
            random_state=seed,
            image_size=image_size,
            missing=missing if estimator.supports_missing else None,
            columns=columns,
        )
        yield getattr(dataset, split)


def _hashed(parts: Iterator[Any], split: str, how: Any) -> Iterator[Any]:
    """Yield the rows of a split of a file that was fitted in pieces."""
    import numpy as np

    from chainrule.datasets import hashed_parts

    wanted, n_before = ("train", "valid", "test").index(split), 0
    for rows in parts:
        numbers = np.arange(n_before, n_before + len(rows), dtype=np.uint64)
        n_before += len(rows)
        yield rows[np.flatnonzero(hashed_parts(numbers, how["random_state"]) == wanted)]


@dataclass(frozen=True)
class _ScoreFrom:
    """Scores rows of which it is known how many come before them, and says so of those that are no good."""

    score: Score

    def __call__(self, batch: tuple[int, Any], number: int) -> pl.DataFrame:
        n_before, rows = batch
        try:
            return self.score(rows, number)
        except DataError as error:
            place = f" (rows counted from row {n_before + 1})" if n_before else ""
            raise DataError(f"{error}{place}") from error


def _with_places(parts: Iterator[Any], n_before: int) -> Iterator[tuple[int, Any]]:
    """Yield parts of rows, each with the number of rows before it."""
    for rows in parts:
        yield n_before, rows
        n_before += len(rows)


def _summaries(
    work: Score,
    parts: Iterator[Any],
    sink: RowSink,
    improbable: LeastProbable | None,
    cluster: Engine | None,
) -> tuple[Summary, Summary]:
    """Score all rows into the sink; return the means of their log-likelihoods and of their spreads."""
    from chainrule.distributed import in_order
    from chainrule.metrics.statistics import RunningSummary

    running, spread = RunningSummary(), RunningSummary()

    def count(frame: pl.DataFrame) -> None:
        running.add(frame["log_likelihood"].to_numpy())
        if "spread" in frame.columns:
            spread.add(frame["spread"].to_numpy())

    for frame in sink.earlier():
        count(frame)
    batches = _with_places(parts, running.n_rows)
    for (_, rows), frame in in_order(_ScoreFrom(work), batches, cluster, sink.n_done):
        if improbable is not None:
            improbable.add(rows, frame["log_likelihood"].to_numpy())
        count(frame)
        sink.write(frame)
    return running.summary(), spread.summary()
