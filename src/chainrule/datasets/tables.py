"""Read tables: csv, tsv and parquet, into polars DataFrames."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.datasets.arrays import check_is_file, read_bytes
from chainrule.datasets.core import Parts
from chainrule.datasets.dialects import HEAD, Dialect, as_utf8, find_dialect, is_utf8
from chainrule.datasets.limits import check_unpacked
from chainrule.datasets.panics import damage_named
from chainrule.datasets.text_types import types_of_text
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

MISSING_WORDS = ("NA", "?", "N/A", "#N/A", "n/a", "NULL", "null")
"""What stands for a missing value in text files unless the caller says otherwise, beside an empty cell."""

ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")
_BLANK_LINE = re.compile(rb"\n[ \t]*\r?\n[ \t\r\n]*[^ \t\r\n]")
_CELL_BYTES = 8
# Larger parquet files are not read twice.
_LOOKED_THROUGH = 2**26
# Types of polars, how their texts look, and how they are read. With slashes, 04/05/2026 is two days.
_DATES = (
    ("Date", r"^\d{4}-\d{2}-\d{2}$", "%Y-%m-%d"),
    ("Date", r"^\d{4}/\d{1,2}/\d{1,2}$", "%Y/%m/%d"),
    ("Date", r"^\d{1,2}\.\d{1,2}\.\d{4}$", "%d.%m.%Y"),
    ("Datetime", r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}$", "%Y-%m-%d %H:%M"),
    ("Datetime", r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?$", "%Y-%m-%d %H:%M:%S%.f"),
)


def read_text(path: Path, missing: Sequence[str] = MISSING_WORDS) -> Parts:
    """Read a csv or tsv file (gzipped or not).

    The first line names the columns, unless it is data (`holds_data`): then they are named ``x1``, ``x2``,
    ... Blank cells and the words `missing` become null, and blank lines are passed over. Cells may be quoted
    with ``"`` or ``'``. Columns of dates in the form 2026-11-21, 2026/11/21 or 21.11.2026, or
    2026-11-21 10:15:00, with or without seconds, become dates. What ends in a separator too much has no
    column there.
    """
    content, encoded = as_utf8(read_bytes(path), path)
    dialect = find_dialect(content[:HEAD], path, missing)
    table = _parse(content, dialect, path, missing)
    if table.height == 0:
        raise DataError(f"{path} has a header but no rows")
    if table.null_count().sum_horizontal().item():
        _check_widths(content, dialect, path)
    table = refined(_without_unnamed(table, dialect.n_unnamed))
    return Parts(table, notes=tuple(note for note in (encoded, dialect.note) if note))


def _parse(content: bytes, dialect: Dialect, path: Path, missing: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    # a blank line is a missing value where there is one column
    is_plain = dialect.is_plain and not (len(dialect.names) > 1 and _BLANK_LINE.search(content))
    try:
        table = pl.read_csv(
            content if is_plain else _rewritten(content, dialect),
            separator=dialect.separator,
            has_header=dialect.has_header,
            infer_schema_length=None,
            null_values=list(missing),
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, csv.Error) as error:
        _check_widths(content, dialect, path)
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if table.width != len(dialect.names):
        _check_widths(content, dialect, path)
        raise DataError(f"{path} cannot be read as a table: its lines end in different ways")
    table.columns = list(dialect.names)
    return table


def _rewritten(content: bytes, dialect: Dialect) -> bytes:
    """Return a file with cells quoted by ``"``, and no blanks around them, and no blank lines."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=dialect.separator, lineterminator="\n")
    writer.writerows(dialect.lines(content.decode("utf-8", errors="replace")))
    return text.getvalue().encode()


def _without_unnamed(table: pl.DataFrame, n_unnamed: int) -> pl.DataFrame:
    """Return the table without those of its last columns, which have no name, that have no value either."""
    last = table.columns[len(table.columns) - n_unnamed :]
    empty = [name for name in last if table[name].null_count() == table.height]
    return table.drop(empty) if len(empty) < table.width else table


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
        pl.col(name).cast(pl.Enum(list(dict.fromkeys(known))))
        for name, known in levels.items()
        if table[name].dtype == pl.String and set(table[name].drop_nulls().unique()) <= set(known)
    ]
    return table.with_columns(declared)


def scan_text(path: Path, missing: Sequence[str] = MISSING_WORDS) -> pl.LazyFrame | None:
    """Return what `read_text` reads from an unpacked file, still to be read; None if it must be rewritten."""
    import polars as pl

    with path.open("rb") as file:
        head = file.read(HEAD).removeprefix(codecs.BOM_UTF8)
    lines = head[: head.rfind(b"\n") + 1]
    if not is_utf8(lines) or as_utf8(lines, path)[0] != lines:
        return None
    dialect = find_dialect(lines, path, missing)
    if not dialect.is_plain:
        return None

    def scan(**how: Any) -> pl.LazyFrame:
        return pl.scan_csv(
            path,
            separator=dialect.separator,
            has_header=dialect.has_header,
            new_columns=list(dialect.names),
            null_values=list(missing),
            **how,
        )

    try:
        return scan(schema_overrides=types_of_text(scan(infer_schema=False)))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _check_widths(content: bytes, dialect: Dialect, path: Path) -> None:
    """Refuse a line that has more or fewer fields than the first."""
    lines = csv.reader(
        io.StringIO(content.decode("utf-8", errors="replace"), newline=""),
        delimiter=dialect.separator,
        quotechar=dialect.quote,
        skipinitialspace=dialect.spaced,
    )
    widths = (len(dialect.names), len(dialect.names) + dialect.trailing)
    try:
        for fields in lines:
            if fields and len(fields) not in widths:
                raise DataError(
                    f"{path}: line {lines.line_num} has {len(fields)} fields where the first line has "
                    f"{len(dialect.names)}"
                )
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: line {lines.line_num}: {error}") from error


# ---------------------------------------------------------------- types that text spells


def refined(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table read from text with long numbers and dates as such, and cells of blanks as missing."""
    return _with_dates(_with_numbers(_without_blanks(table)))


def _without_blanks(table: pl.DataFrame) -> pl.DataFrame:
    import polars as pl
    import polars.selectors as cs

    texts = cs.string()
    # "" in quotes is a text, as it is written for one.
    return table.with_columns(pl.when((texts.str.strip_chars() != "") | (texts == "")).then(texts))


def _with_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with 128-bit integers, which polars uses for very long numbers, as floats."""
    import polars as pl

    wide = [name for name, dtype in table.schema.items() if dtype in (pl.Int128,)]
    return table.with_columns(pl.col(wide).cast(pl.Float64)) if wide else table


def _with_dates(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with columns of which every text is a date, or date and time, in one form as such."""
    import polars as pl

    found = []
    for name, dtype in table.schema.items():
        if dtype != pl.String or table[name].null_count() == table.height:
            continue
        for date_type, pattern, form in _DATES:
            if table[name].str.contains(pattern).all():
                dates = (
                    table[name].str.replace("T", " ").str.strptime(getattr(pl, date_type), form, strict=False)
                )
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
    """Return the table of an Arrow IPC file (Feather, version 2).

    pyarrow looks at it first, where it is installed: polars believes the sizes in a damaged file, and ends
    the process when there is no such memory.
    """
    import polars as pl

    try:
        from pyarrow import ipc, memory_map
    except ImportError:
        return pl.scan_ipc(path)
    try:
        with memory_map(str(path)) as mapped, ipc.open_file(mapped) as reader:
            for number in range(reader.num_record_batches):
                reader.get_batch(number).validate(full=True)
    except Exception as error:  # whatever pyarrow raises of damaged content
        raise DataError(f"{path} is truncated, damaged, or not an Arrow IPC file") from error
    return pl.scan_ipc(path)


def read_parquet(path: Path) -> Parts:
    """Read a parquet file, or a folder of them."""
    if not path.is_dir():
        check_is_file(path)
        if path.stat().st_size <= _LOOKED_THROUGH:
            _look_through(path)
    return _collected(path, scan_parquet, "a parquet file")


def _look_through(path: Path) -> None:
    """Let pyarrow read a parquet file, if it is installed, for the reason that `scan_arrow` gives."""
    try:
        from pyarrow import ArrowNotImplementedError, parquet
    except ImportError:
        return
    try:
        with parquet.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                group = file.metadata.row_group(number)
                check_unpacked(group.num_rows * group.num_columns * _CELL_BYTES, path)
                file.read_row_group(number)
    except ArrowNotImplementedError:  # polars may know it
        return
    except Exception as error:  # whatever pyarrow raises of damaged content
        if isinstance(error, DataError) or getattr(error, "errno", None):
            raise
        raise DataError(f"{path} is truncated, damaged, or not a parquet file") from error


def read_arrow(path: Path) -> Parts:
    """Read an Arrow IPC file."""
    return _collected(path, scan_arrow, "an Arrow IPC file")


def _collected(path: Path, scan: Callable[[Path], pl.LazyFrame], form: str) -> Parts:
    import polars as pl

    if not path.is_dir():
        check_is_file(path)
    with damage_named(path, form):
        scanned = scan(path)
        n_rows, width = scanned.select(pl.len()).collect().item(), len(scanned.collect_schema())
    if n_rows == 0 or width == 0:
        raise DataError(f"{path} has no rows")
    check_unpacked(n_rows * width * _CELL_BYTES, path)  # runs of equal values take no room in the file
    with damage_named(path, form):
        return Parts(scanned.collect())
