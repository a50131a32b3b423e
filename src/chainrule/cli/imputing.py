"""`chainrule impute`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chainrule.cli.options import (
    AddressOption,
    DataArgument,
    EngineOption,
    JsonOption,
    ModelArgument,
    ResumeOption,
    SpreadsheetOption,
    check_engine,
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
from chainrule.cli.questions import OrdersOption, answering, missing_words
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["impute"]


def impute(
    model: ModelArgument,
    data: DataArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the rows go: csv, tsv, parquet or npy, or a folder of parquet files; without it, "
            "standard output.",
        ),
    ] = None,
    resume: ResumeOption = False,
    how: Annotated[
        Literal["sample", "mode", "mean"],
        typer.Option(
            help="Draw all missing values of a row together, or take the most probable or expected value "
            "of each."
        ),
    ] = "sample",
    draws: Annotated[
        int | None,
        typer.Option(min=1, help="Draw so many completed tables, into FILE with a number before its suffix."),
    ] = None,
    orders: OrdersOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; without one every call draws anew.")] = None,
    spreadsheet_safe: SpreadsheetOption = False,
    engine: EngineOption = None,
    address: AddressOption = None,
    json_file: JsonOption = None,
) -> None:
    """Fill in the missing values of rows, given what is there."""
    _check_draws(draws, how, out)
    check_file(json_file)
    check_rows_out(out, resume)
    check_engine(engine, address)
    if resume and seed is None:
        raise DataError("--resume needs the --seed of the run that was stopped")
    paths = _paths(out, draws)
    from chainrule.batches import Impute, to_frame
    from chainrule.datasets import count_missing, stream_rows
    from chainrule.distributed import in_order
    from chainrule.estimators import load

    estimator = answering(load(model))
    work = Impute(estimator, how, orders, seed, draws)
    identity = work_identity(model, data=data, how=how, orders=orders, seed=seed, draws=draws)
    is_shown = out is None and json_file is not None
    shown: list[pl.DataFrame] = []
    n_rows = n_missing = 0
    start = time.perf_counter()
    with ExitStack() as stack:
        is_kept = out is not None or str(json_file) != "-"
        sinks = [
            stack.enter_context(rows_out(path, identity, resume=resume, is_kept=is_kept))
            for path in (paths or (None,))
        ]
        n_done = min(sink.n_done for sink in sinks)
        parts = stream_rows(data, random_state=seed or 0, missing=missing_words(estimator.schema_))
        earlier = zip(islice(parts, n_done), sinks[0].earlier(), strict=False)
        done = ((rows, [table]) for rows, table in earlier)
        results = in_order(work, parts, stack.enter_context(working_on(engine, address)), n_done)
        for number, (rows, tables) in enumerate(chain(done, results)):
            n_rows += len(rows)
            # What is missing in columns that the model does not have, or knows as empty, stays so.
            n_missing += sum(count_missing(rows)) - sum(count_missing(tables[0]))
            if number < n_done:
                continue
            for sink, table in zip(sinks, tables, strict=True):
                if number >= sink.n_done:
                    sink.write(for_spreadsheets(table, out) if spreadsheet_safe else table)
                if is_shown:
                    shown.append(to_frame(table))
    seconds = time.perf_counter() - start
    result: dict[str, Any] = {
        "n_rows": n_rows,
        "n_missing": n_missing,
        "n_draws": draws,
        "how": how,
        "seconds": seconds,
        "path": [str(path) for path in paths] if draws else None if out is None else str(out),
    }
    if shown:
        result |= {
            "columns": shown[0].columns,
            "rows": [list(row) for frame in shown for row in frame.rows()],
        }
    if out is not None:
        names = f"{paths[0]} to {paths[-1].name}" if len(paths) > 1 else str(paths[0])
        console_for(json_file).print(
            f"{n_missing:,} missing values in {n_rows:,} rows, {seconds:.2f} s: {names}", soft_wrap=True
        )
    write_json(result, json_file)


def _check_draws(draws: int | None, how: str, out: Path | None) -> None:
    if draws is None:
        return
    if how != "sample":
        raise DataError(f"--draws {draws} goes with --how sample; {how} gives one table, so leave it out")
    if out is None:
        raise DataError(f"--draws {draws} needs --out FILE, which gets a number for each table")


def _paths(out: Path | None, draws: int | None) -> list[Path]:
    """Return the files to write; those of several draws have a number before the suffix."""
    if out is None:
        return []
    if draws is None:
        return [out]
    return [out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(1, draws + 1)]
