"""What the command writes: lines for people, JSON for programs, and files of rows."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

__all__ = [
    "check_file",
    "check_suffix",
    "console_for",
    "new_folder",
    "on_terminal",
    "say",
    "to_frame",
    "write_json",
    "write_rows",
]

STANDARD_OUTPUT = Path("-")


def say(message: str) -> None:
    """Print a message on standard error as one line."""
    print(" ".join(message.split()), file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Return whether somebody watches: progress bars go to standard error, if it is a terminal."""
    return sys.stderr.isatty()


def console_for(json_file: Path | None) -> Console:
    """Return where tables and remarks go: standard output, unless the JSON goes there."""
    from rich.console import Console

    stream = sys.stderr if json_file == STANDARD_OUTPUT else sys.stdout
    # In a pipe or a file rich assumes 80 columns and would fold the numbers of a table.
    return Console(file=stream, width=None if stream.isatty() else 120, highlight=False, markup=False)


def write_json(result: Mapping[str, Any], json_file: Path | None) -> None:
    """Write a command's result where ``--json`` says; NaN and infinity become null."""
    if json_file is None:
        return
    from chainrule.storage import json_safe

    text = json.dumps(json_safe(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if json_file == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        _write_bytes(json_file, text.encode())


def check_file(path: Path | None) -> None:
    """Raise an OSError if a file cannot be written at `path`, before any time is spent on its content."""
    if path is None or path == STANDARD_OUTPUT:
        return
    if path.is_dir():
        raise IsADirectoryError(None, "is a folder, expected the name of a file", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(None, "its folder does not exist; make it first", str(path))
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(None, "cannot be written: permission denied", str(path))


def check_suffix(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Raise a DataError unless the name of a file says how to write it."""
    if path is not None and path.suffix.lower() not in suffixes:
        raise DataError(f"--out {path}: expected a name that ends in {', '.join(suffixes)}")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder and see that it can be written to; take it away again if nothing came into it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0")
        except OSError as error:
            raise OSError(error.errno, f"cannot be written to: {error.strerror}", str(folder)) from error
        yield folder
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def to_frame(rows: Any) -> pl.DataFrame:
    """Return rows of any container as a polars DataFrame.

    The columns of an array are called x1, x2, ...; text that is stored by its levels becomes plain text,
    and so does a column that holds numbers and text.
    """
    import narwhals as nw
    import numpy as np
    import polars as pl

    if isinstance(rows, np.ndarray):
        names = [f"x{number}" for number in range(1, rows.shape[1] + 1)]
        if not rows.dtype.hasobject:
            return pl.DataFrame(rows, schema=names, orient="row")
        return pl.DataFrame([_from_objects(name, rows[:, d].tolist()) for d, name in enumerate(names)])
    columns = nw.from_native(rows, eager_only=True).iter_columns()
    frame = pl.DataFrame(
        [
            _from_objects(column.name, column.to_list()) if column.dtype == nw.Object else column.to_polars()
            for column in columns
        ]
    )
    levels = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Enum)]
    return frame.with_columns(pl.col(name).cast(pl.String) for name in levels)


def _from_objects(name: str, values: list[Any]) -> pl.Series:
    """Return Python objects as a column of their type, or as text if they have several."""
    import polars as pl

    from chainrule.schema.tables import is_missing

    values = [None if is_missing(value) else value for value in values]
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and not kinds <= {int, float}:
        values = [None if value is None else str(value) for value in values]
    return pl.Series(name, values, strict=False)


def write_rows(rows: Any, path: Path | None) -> None:
    """Write rows as csv, tsv, parquet or npy, as the name says; without a name as csv to standard output."""
    if path is None:
        sys.stdout.write(to_frame(rows).write_csv())
        return
    suffix = path.suffix.lower()
    if suffix == ".npy":
        content = _npy(rows)
    elif suffix == ".parquet":
        content = _parquet(to_frame(rows))
    else:
        content = to_frame(rows).write_csv(separator="\t" if suffix == ".tsv" else ",").encode()
    _write_bytes(path, content)


def _parquet(frame: pl.DataFrame) -> bytes:
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _npy(rows: Any) -> bytes:
    import io

    import numpy as np

    array = np.asarray(rows if isinstance(rows, np.ndarray) else to_frame(rows).to_numpy())
    if array.dtype.hasobject:
        raise DataError("a npy file holds numbers only, but these rows hold text; use .csv or .parquet")
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _write_bytes(path: Path, content: bytes) -> None:
    from chainrule.storage import write_bytes

    try:
        if path.exists() and not path.is_file():
            # A pipe or a device: write into it, do not put a file in its place.
            path.write_bytes(content)
        else:
            write_bytes(path, content)
    except OSError as error:
        raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error
