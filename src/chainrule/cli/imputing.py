"""`chainrule impute`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chainrule.cli.options import DataArgument, JsonOption, ModelArgument
from chainrule.cli.output import check_file, check_suffix, console_for, to_frame, write_json, write_rows
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
            metavar="FILE", help="Where the rows go (csv, tsv, parquet or npy); without it, standard output."
        ),
    ] = None,
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
    json_file: JsonOption = None,
) -> None:
    """Fill in the missing values of rows, given what is there."""
    _check_draws(draws, how, out)
    paths = _paths(out, draws)
    for path in (json_file, *paths):
        check_file(path)
    check_suffix(out, (".csv", ".tsv", ".parquet", ".npy"))
    from chainrule.datasets import count_missing, load_rows, take_columns
    from chainrule.estimators import load

    estimator = answering(load(model))
    rows = load_rows(data, random_state=seed or 0, missing=missing_words(estimator.schema_))
    start = time.perf_counter()
    known = take_columns(rows, estimator.schema_.names)
    completed = estimator.impute(known, how=how, n_draws=draws, n_orders=orders, random_state=seed)
    seconds = time.perf_counter() - start
    tables = [_with_known(rows, table) for table in (completed if draws else [completed])]
    result: dict[str, Any] = {
        "n_rows": len(rows),
        "n_missing": count_missing(rows),
        "n_draws": draws,
        "how": how,
        "seconds": seconds,
        "path": [str(path) for path in paths] if draws else None if out is None else str(out),
    }
    if out is None:
        frame = to_frame(tables[0])
        result |= {"columns": frame.columns, "rows": [list(row) for row in frame.rows()]}
        if str(json_file) != "-":
            write_rows(tables[0], None)
    for table, path in zip(tables, paths, strict=False):
        write_rows(table, path)
    if out is not None:
        names = f"{paths[0]} to {paths[-1].name}" if len(paths) > 1 else str(paths[0])
        console_for(json_file).print(
            f"{result['n_missing']:,} missing values in {len(rows):,} rows, {seconds:.2f} s: {names}",
            soft_wrap=True,
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


def _with_known(rows: Any, completed: Any) -> Any:
    """Return completed rows in the columns of the file, with its own values where it has them.

    The model knows values as float32 and ordinal ones only up to the ends of their range.
    """
    import numpy as np

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
