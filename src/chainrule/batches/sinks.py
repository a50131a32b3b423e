"""Where batches of rows go: one file, a folder of parquet, or standard output."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import DataError
from chainrule.storage import file_written_whole, json_safe, write_bytes
from chainrule.terminal import printable

if TYPE_CHECKING:
    import polars as pl

__all__ = ["RowSink", "open_sink", "to_frame"]

_IDENTITY = "_unfinished.json"


class RowSink:
    """Takes batches of rows in order; this one keeps nothing.

    ``n_done`` batches have been written by an earlier run that was stopped.
    """

    n_done: int = 0

    def write(self, rows: Any) -> None:
        """Take the next batch, rows in any container."""

    def finish(self) -> None:
        """Put everything under its final name."""

    def earlier(self) -> Iterator[pl.DataFrame]:
        """Yield the batches that an earlier run has written."""
        yield from ()


def open_sink(path: Path | None, identity: Mapping[str, Any], *, resume: bool = False) -> RowSink:
    """Return where rows are written to.

    Parameters
    ----------
    path : Path or None
        A file that ends in .csv, .tsv, .parquet or .npy, or a folder, which gets a parquet file for each
        batch; None is standard output, as csv.
    identity : mapping
        What the rows depend on. Batches of an earlier run are kept only if theirs was the same.
    resume : bool
        Whether to keep batches of an earlier run; else they are written anew.

    Raises
    ------
    DataError
        If an earlier run with another identity is to be resumed.
    """
    if path is None or (path.exists() and not path.is_file() and not path.is_dir()):
        return _StreamSink(path)
    return _PartsSink(path, json_safe(identity), resume)


class _StreamSink(RowSink):
    """Writes csv as it comes into a pipe, a device or standard output."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("wb")
        # While a cluster works, `sys.stdout` is for what it says itself.
        self._standard_output = sys.stdout
        self._separator = "\t" if path is not None and path.suffix.lower() == ".tsv" else ","
        self._n_written = 0

    def write(self, rows: Any) -> None:
        text = to_frame(rows).write_csv(separator=self._separator, include_header=self._n_written == 0)
        self._n_written += 1
        if self._file is None:
            stream = self._standard_output
            stream.write(printable(text) if stream.isatty() else text)
        else:
            self._file.write(text.encode())

    def finish(self) -> None:
        if self._file is not None:
            self._file.close()


class _PartsSink(RowSink):
    """Writes each batch as a parquet file of its own, whole or not at all, and joins them at the end.

    For a file the parts lie in a hidden folder beside it until then; a folder keeps them. A single batch is
    written at once.
    """

    def __init__(self, path: Path, identity: Any, resume: bool) -> None:
        self._path = path
        self._is_folder = path.suffix == ""
        self._parts = path if self._is_folder else path.with_name(f".{path.name}.parts")
        self._identity = identity
        self._first: Any = None
        if resume and (self._parts / _IDENTITY).is_file():
            self._take_up()
        self._n_written = self.n_done

    def _take_up(self) -> None:
        try:
            earlier = json.loads((self._parts / _IDENTITY).read_bytes())
        except ValueError:
            earlier = None
        if earlier != self._identity:
            raise DataError(
                f"what lies in {self._parts} belongs to a run with other rows, another model or another "
                "question: leave out --resume to start anew"
            )
        while self._part(self.n_done).is_file():
            self.n_done += 1

    def _part(self, number: int) -> Path:
        return self._parts / f"part-{number:06d}.parquet"

    def earlier(self) -> Iterator[pl.DataFrame]:
        import polars as pl

        for number in range(self.n_done):
            yield pl.read_parquet(self._part(number))

    def write(self, rows: Any) -> None:
        if self._n_written == 0 and self._first is None and not self._is_folder:
            self._first = rows  # most often it is the only one
            return
        if self._n_written == 0:
            self._start()
        self._write_part(rows)

    def _start(self) -> None:
        """Make the folder of parts, without what an earlier run has left there."""
        _remove_parts(self._parts)
        self._parts.mkdir(parents=True, exist_ok=True)
        write_bytes(self._parts / _IDENTITY, json.dumps(self._identity).encode())
        if self._first is not None:
            first, self._first = self._first, None
            self._write_part(first)

    def _write_part(self, rows: Any) -> None:
        write_bytes(self._part(self._n_written), _parquet(to_frame(rows)))
        self._n_written += 1

    def finish(self) -> None:
        if self._n_written == 0:
            if self._first is not None:
                write_bytes(self._path, _content(self._first, self._path.suffix.lower()))
        elif self._is_folder:
            (self._parts / _IDENTITY).unlink(missing_ok=True)
            return
        else:
            self._join()
        if not self._is_folder:
            _remove_parts(self._parts)

    def _join(self) -> None:
        import polars as pl

        parts = [self._part(number) for number in range(self._n_written)]
        suffix = self._path.suffix.lower()
        with file_written_whole(self._path) as file:
            if suffix == ".npy":
                _join_npy(parts, file)
            elif suffix == ".parquet":
                pl.scan_parquet(parts, glob=False).sink_parquet(file)
            else:
                pl.scan_parquet(parts, glob=False).sink_csv(file, separator=_separator(suffix))


def _remove_parts(folder: Path) -> None:
    """Remove the parts of a run, and the folder if nothing else lies in it."""
    if not folder.is_dir():
        return
    for part in [*folder.glob("part-*.parquet"), *folder.glob("part-*.parquet.partial"), folder / _IDENTITY]:
        part.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


# ---------------------------------------------------------------- forms


def _separator(suffix: str) -> str:
    return "\t" if suffix == ".tsv" else ","


def _content(rows: Any, suffix: str) -> bytes:
    """Return the file that holds these rows and no others."""
    if suffix == ".npy":
        return _npy(rows)
    if suffix == ".parquet":
        return _parquet(to_frame(rows))
    return to_frame(rows).write_csv(separator=_separator(suffix)).encode()


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _npy(rows: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _as_array(rows), allow_pickle=False)
    return buffer.getvalue()


def _as_array(rows: Any) -> np.ndarray:
    """Return rows as an array of numbers, (n, D), or (n,) of a table with one column of scores."""
    if not isinstance(rows, np.ndarray):
        frame = to_frame(rows)
        rows = frame["log_likelihood"].to_numpy() if frame.columns == ["log_likelihood"] else frame.to_numpy()
    if rows.dtype.hasobject:
        raise DataError("a npy file holds numbers only, but these rows hold text; use .csv or .parquet")
    return np.asarray(rows)


def _join_npy(parts: list[Path], file: Any) -> None:
    """Write one array of those of all parts, which are read one at a time."""
    import polars as pl

    n_rows = sum(pl.scan_parquet(part).select(pl.len()).collect().item() for part in parts)
    for number, part in enumerate(parts):
        array = np.ascontiguousarray(_as_array(pl.read_parquet(part)))
        if number == 0:
            shape = (n_rows, *array.shape[1:])
            header = {
                "descr": np.lib.format.dtype_to_descr(array.dtype),
                "fortran_order": False,
                "shape": shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
        file.write(array.tobytes())


def to_frame(rows: Any) -> pl.DataFrame:
    """Return rows of any container as a polars DataFrame.

    The columns of an array are called x1, x2, ...; text that is stored by its levels becomes plain text,
    and so does a column that holds numbers and text.
    """
    import narwhals as nw
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
