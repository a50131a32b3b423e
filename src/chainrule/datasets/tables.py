"""Read tables: csv, tsv and parquet, into polars DataFrames."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.datasets.arrays import read_bytes
from chainrule.datasets.core import Parts
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MISSING_WORDS", "numbers_as_such", "read_parquet", "read_text", "scan_text"]

MISSING_WORDS = ("NA", "?")
"""What stands for a missing value in many text files, beside an empty cell."""

_SEPARATORS = (",", ";", "\t")


def read_text(path: Path, missing: Sequence[str] = ()) -> Parts:
    """Read a csv or tsv file (gzipped or not).

    The first line names the columns, unless all of it are numbers: then it is data, and the columns
    are named ``x1``, ``x2``, ... Empty cells and the words `missing` become null.
    """
    import polars as pl

    content = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    first = _first_line(content, path)
    separator = "\t" if ".tsv" in path.name.lower() else _guess_separator(first)
    fields = next(csv.reader([first], delimiter=separator))
    has_header = not _is_data(fields, missing)
    if has_header:
        _check_header(fields, path)
    try:
        table = pl.read_csv(
            content,
            separator=separator,
            has_header=has_header,
            infer_schema_length=None,
            null_values=list(missing),
        )
    except pl.exceptions.PolarsError as error:
        _check_widths(content, separator, len(fields), path)
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if not has_header:
        table.columns = [f"x{number}" for number in range(1, table.width + 1)]
    if table.height == 0:
        raise DataError(f"{path} has a header but no rows")
    if table.null_count().sum_horizontal().item():
        _check_widths(content, separator, len(fields), path)
    return Parts(numbers_as_such(table))


def scan_text(path: Path, missing: Sequence[str] = ()) -> pl.LazyFrame:
    """Return what `read_text` reads from an unpacked file, still to be read."""
    import polars as pl

    with path.open("rb") as file:
        first = _first_line(file.readline().removeprefix(b"\xef\xbb\xbf"), path)
    separator = "\t" if ".tsv" in path.name.lower() else _guess_separator(first)
    fields = next(csv.reader([first], delimiter=separator))
    has_header = not _is_data(fields, missing)
    if has_header:
        _check_header(fields, path)
    return pl.scan_csv(
        path,
        separator=separator,
        has_header=has_header,
        new_columns=None if has_header else [f"x{number}" for number in range(1, len(fields) + 1)],
        infer_schema_length=None,
        null_values=list(missing),
    )


def _first_line(content: bytes, path: Path) -> str:
    try:
        line = content.split(b"\n", 1)[0].decode("utf-8").rstrip("\r")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: save it again in that encoding") from error
    if not line.strip():
        raise DataError(f"{path}: the first line is empty; expected the names of the columns")
    return line


def _guess_separator(line: str) -> str:
    return max(_SEPARATORS, key=line.count)


def _is_data(fields: Sequence[str], missing: Sequence[str]) -> bool:
    """Return whether the first line holds numbers, perhaps with holes between them, and no names."""
    there = [field for field in fields if field not in ("", *missing)]
    if not there or not all(_is_number(field) for field in there):
        return False
    # An empty cell before whole numbers is how tables with numbered rows and columns begin.
    return "" not in fields or not all(field.strip().isdecimal() for field in there)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_header(names: Sequence[str], path: Path) -> None:
    """Refuse names given twice, and a first line that looks like a row of data."""
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError(f"{path}: the column name {name!r} appears more than once in the first line")
        if _is_number(name) and not name.strip().isdecimal():
            raise DataError(
                f"{path}: the first line looks like data, not like names ({name!r} is a number): "
                "put a line with the names of the columns before it"
            )


def _check_widths(content: bytes, separator: str, n_columns: int, path: Path) -> None:
    """Refuse a line that has more or fewer fields than the first."""
    lines = csv.reader(
        io.StringIO(content.decode("utf-8", errors="replace"), newline=""), delimiter=separator
    )
    for fields in lines:
        if fields and len(fields) != n_columns:
            raise DataError(
                f"{path}: line {lines.line_num} has {len(fields)} fields where the first line has {n_columns}"
            )


def numbers_as_such(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with 128-bit integers, which polars uses for very long numbers, as floats."""
    import polars as pl

    wide = [name for name, dtype in table.schema.items() if dtype in (pl.Int128,)]
    return table.with_columns(pl.col(wide).cast(pl.Float64)) if wide else table


def read_parquet(path: Path) -> Parts:
    """Read a parquet file."""
    import polars as pl

    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is truncated, damaged, or not a parquet file") from error
    if table.height == 0 or table.width == 0:
        raise DataError(f"{path} has no rows")
    return Parts(table)
