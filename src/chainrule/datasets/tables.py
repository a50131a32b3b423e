"""Read tables: csv, tsv and parquet, into polars DataFrames."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.datasets.arrays import read_bytes
from chainrule.datasets.core import Parts
from chainrule.datasets.headers import holds_data
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ARROW_SUFFIXES",
    "MISSING_WORDS",
    "as_levels",
    "cells_to_frame",
    "is_parquet_folder",
    "read_arrow",
    "read_parquet",
    "read_text",
    "refined",
    "scan_arrow",
    "scan_parquet",
    "scan_text",
]

MISSING_WORDS = ("NA", "?")
"""What stands for a missing value in text files unless the caller says otherwise, beside an empty cell."""

ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")
_SEPARATORS = (",", ";", "\t")
_HEAD = 2**18  # bytes that are read to learn how a file is written
_HEAD_LINES = 1000
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_DATETIME = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?$"


@dataclass(frozen=True)
class Dialect:
    """How a text file is written.

    ``names`` are the columns' names, ``x1``, ``x2``, ... where the file gives none. With `spaced`, blanks
    around cells are no part of them.
    """

    separator: str
    quote: str
    spaced: bool
    has_header: bool
    names: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """Whether polars can read the file as it is."""
        return self.quote == '"' and not self.spaced

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the cells of each line that has some; a quoted cell may hold line ends."""
        for fields in csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.separator,
            quotechar=self.quote,
            skipinitialspace=self.spaced,
        ):
            if fields:
                yield [field.strip() for field in fields] if self.spaced else fields


def read_text(path: Path, missing: Sequence[str] = MISSING_WORDS) -> Parts:
    """Read a csv or tsv file (gzipped or not).

    The first line names the columns, unless it is data (`holds_data`): then they are named ``x1``, ``x2``,
    ... Empty cells and the words `missing` become null. Cells may be quoted with ``"`` or ``'``. Columns of
    dates in the form 2026-11-21, or 2026-11-21 10:15:00, become dates.
    """
    content = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    dialect = find_dialect(content[:_HEAD], path, missing)
    table = _parse(content, dialect, path, missing)
    if table.height == 0:
        raise DataError(f"{path} has a header but no rows")
    if table.null_count().sum_horizontal().item():
        _check_widths(content, dialect, path)
    note = "" if dialect.has_header else f"the first line of {path.name} is data: {_named(dialect.names)}"
    return Parts(refined(table), notes=(note,) if note else ())


def _named(names: Sequence[str]) -> str:
    if len(names) == 1:
        return "its column is named x1"
    return f"its columns are named {names[0]} to {names[-1]}"


def _parse(content: bytes, dialect: Dialect, path: Path, missing: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    plain = content if dialect.is_plain else _rewritten(content, dialect)
    try:
        table = pl.read_csv(
            plain,
            separator=dialect.separator,
            has_header=dialect.has_header,
            infer_schema_length=None,
            null_values=list(missing),
        )
    except pl.exceptions.PolarsError as error:
        _check_widths(content, dialect, path)
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if not dialect.has_header:
        table.columns = [f"x{number}" for number in range(1, table.width + 1)]
    return table


def _rewritten(content: bytes, dialect: Dialect) -> bytes:
    """Return a file with cells quoted by ``"`` and no blanks around them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=dialect.separator, lineterminator="\n")
    writer.writerows(dialect.lines(content.decode("utf-8", errors="replace")))
    return text.getvalue().encode()


def cells_to_frame(
    lines: Sequence[Sequence[str]], names: Sequence[str], missing: Sequence[str]
) -> pl.DataFrame:
    """Return the table of cells that are texts; those of `missing`, and empty ones, become null."""
    import polars as pl

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    table = pl.read_csv(
        text.getvalue().encode(), has_header=False, infer_schema_length=None, null_values=list(missing)
    )
    table.columns = list(names)
    return refined(table)


def as_levels(table: pl.DataFrame, levels: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Return the table with the levels of text columns declared, unless a column holds others."""
    import polars as pl

    declared = [
        pl.col(name).cast(pl.Enum(known))
        for name, known in levels.items()
        if table[name].dtype == pl.String and set(table[name].drop_nulls().unique()) <= set(known)
    ]
    return table.with_columns(declared)


def scan_text(path: Path, missing: Sequence[str] = MISSING_WORDS) -> pl.LazyFrame | None:
    """Return what `read_text` reads from an unpacked file, still to be read; None if it must be rewritten."""
    import polars as pl

    with path.open("rb") as file:
        dialect = find_dialect(file.read(_HEAD).removeprefix(b"\xef\xbb\xbf"), path, missing)
    if not dialect.is_plain:
        return None
    return pl.scan_csv(
        path,
        separator=dialect.separator,
        has_header=dialect.has_header,
        new_columns=None if dialect.has_header else list(dialect.names),
        infer_schema_length=None,
        null_values=list(missing),
    )


# ---------------------------------------------------------------- how a file is written


def find_dialect(head: bytes, path: Path, missing: Sequence[str]) -> Dialect:
    """Return how a file is written, from its first bytes."""
    first = _first_line(head, path)
    separator = "\t" if ".tsv" in path.name.lower() else max(_SEPARATORS, key=first.count)
    n_separators = first.count(separator)
    spaced = separator != "\t" and n_separators > 0 and first.count(f"{separator} ") == n_separators
    ends = re.escape(separator)
    quote = "'" if re.search(rf"(^|{ends})\s*'[^']*'\s*({ends}|$)", first) else '"'
    lines = Dialect(separator, quote, spaced, False, ()).lines(head.decode("utf-8", errors="ignore"))
    try:
        fields, *following = islice(lines, _HEAD_LINES)
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    if holds_data(fields, following, missing):
        names = tuple(f"x{number}" for number in range(1, len(fields) + 1))
        return Dialect(separator, quote, spaced, False, names)
    _check_names(fields, path)
    return Dialect(separator, quote, spaced, True, tuple(fields))


def _first_line(content: bytes, path: Path) -> str:
    try:
        line = content.split(b"\n", 1)[0].decode("utf-8").rstrip("\r")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: save it again in that encoding") from error
    if not line.strip():
        raise DataError(f"{path}: the first line is empty; expected the names of the columns")
    return line


def _check_names(names: Sequence[str], path: Path) -> None:
    """Refuse names given twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: the column name {name!r} appears more than once in the first line")
        seen.add(name)


def _check_widths(content: bytes, dialect: Dialect, path: Path) -> None:
    """Refuse a line that has more or fewer fields than the first."""
    lines = csv.reader(
        io.StringIO(content.decode("utf-8", errors="replace"), newline=""),
        delimiter=dialect.separator,
        quotechar=dialect.quote,
        skipinitialspace=dialect.spaced,
    )
    for fields in lines:
        if fields and len(fields) != len(dialect.names):
            raise DataError(
                f"{path}: line {lines.line_num} has {len(fields)} fields where the first line has "
                f"{len(dialect.names)}"
            )


# ---------------------------------------------------------------- types that text spells


def refined(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table read from text with long numbers and dates as such."""
    return _with_dates(_with_numbers(table))


def _with_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with 128-bit integers, which polars uses for very long numbers, as floats."""
    import polars as pl

    wide = [name for name, dtype in table.schema.items() if dtype in (pl.Int128,)]
    return table.with_columns(pl.col(wide).cast(pl.Float64)) if wide else table


def _with_dates(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with columns of which every text is an ISO date, or date and time, as such."""
    import polars as pl

    found = []
    for name, dtype in table.schema.items():
        if dtype != pl.String or table[name].null_count() == table.height:
            continue
        for pattern, date_type in ((_DATE, pl.Date), (_DATETIME, pl.Datetime("us"))):
            if table[name].str.contains(pattern).all():
                dates = table[name].str.replace("T", " ").str.strptime(date_type, strict=False)
                if dates.null_count() == table[name].null_count():  # else there is a 30th of February
                    found.append(dates)
    return table.with_columns(found)


# ---------------------------------------------------------------- parquet and Arrow


def is_parquet_folder(path: Path) -> bool:
    """Return whether a folder holds parquet files, itself or in folders below it."""
    return path.is_dir() and next(path.rglob("*.parquet"), None) is not None


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Return the table of a parquet file, or of all those in a folder in the order of their names."""
    import polars as pl

    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        return pl.scan_parquet(files, glob=False, hive_partitioning=True)
    return pl.scan_parquet(path, glob=False)


def scan_arrow(path: Path) -> pl.LazyFrame:
    """Return the table of an Arrow IPC file (Feather, version 2)."""
    import polars as pl

    return pl.scan_ipc(path)


def read_parquet(path: Path) -> Parts:
    """Read a parquet file, or a folder of them."""
    return _collected(path, scan_parquet, "a parquet file")


def read_arrow(path: Path) -> Parts:
    """Read an Arrow IPC file."""
    return _collected(path, scan_arrow, "an Arrow IPC file")


def _collected(path: Path, scan: Callable[[Path], pl.LazyFrame], form: str) -> Parts:
    import polars as pl

    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    try:
        table = scan(path).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is truncated, damaged, or not {form}") from error
    if table.height == 0 or table.width == 0:
        raise DataError(f"{path} has no rows")
    return Parts(table)
