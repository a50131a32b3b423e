"""What the command writes: lines for people, JSON for programs, and files of rows."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import DataError
from chainrule.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from chainrule.batches import RowSink
    from chainrule.distributed import Engine

__all__ = [
    "check_file",
    "check_rows_out",
    "check_suffix",
    "console_for",
    "new_folder",
    "on_terminal",
    "for_spreadsheets",
    "rows_out",
    "say",
    "work_identity",
    "working_on",
    "write_json",
    "write_rows",
]

STANDARD_OUTPUT = Path("-")
_SUFFIXES = (".csv", ".tsv", ".parquet", ".npy")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MAX_SHOWN = 2000  # letters of a message


def say(message: str) -> None:
    """Print a message on standard error as one line, cut where a name in it is endless."""
    line = printable(" ".join(message.split()))
    if len(line) > _MAX_SHOWN:
        line = f"{line[: _MAX_SHOWN // 2]} ... {line[-_MAX_SHOWN // 2 :]}"
    print(line, file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Return whether somebody watches: progress bars go to standard error, if it is a terminal."""
    return sys.stderr.isatty()


def console_for(json_file: Path | None) -> Console:
    """Return where tables and remarks go: standard output, unless the JSON goes there."""
    from rich.console import Console
    from rich.segment import Segment

    class PrintableConsole(Console):
        def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
            for text, style, control in super().render(*arguments, **options):
                yield Segment(text if control else printable(text), style, control)

    stream = sys.stderr if json_file == STANDARD_OUTPUT else sys.stdout
    # In a pipe or a file rich assumes 80 columns and would fold the numbers of a table.
    return PrintableConsole(
        file=stream, width=None if stream.isatty() else 120, highlight=False, markup=False
    )


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


def check_rows_out(path: Path | None, resume: bool) -> None:
    """Raise an error unless the name says how to write rows: as a file, or as a folder of parquet files."""
    if path is None:
        if resume:
            raise DataError("--resume goes on with a file of rows: name it by --out")
        return
    if path.suffix.lower() not in ("", *_SUFFIXES):
        raise DataError(f"--out {path}: expected a name that ends in {', '.join(_SUFFIXES)}, or a folder")
    if path.suffix or path.is_file():
        check_file(path)
    elif path.is_dir() and any(not _is_of_a_run(each) for each in path.iterdir()):
        raise DataError(f"--out {path}: the folder holds other files; expected an empty or a new one")
    elif not path.parent.is_dir():
        check_file(path)


def _is_of_a_run(path: Path) -> bool:
    return path.name.startswith(("part-", "_unfinished."))


def work_identity(model: Path, data: str | None = None, **question: Any) -> dict[str, Any]:
    """Return what rows that are written depend on: the model, the file as it is, and what is asked."""
    from hashlib import sha256

    described = sha256((model / "model.json").read_bytes()).hexdigest()  # it holds the sum of the arrays
    path = Path(data) if data is not None else None
    found = None if path is None or not path.exists() else path.stat()
    file = None if found is None else [str(path), found.st_size, found.st_mtime_ns]
    return {"model": described, "data": data, "file": file, **question}


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


@contextmanager
def rows_out(
    path: Path | None, identity: Mapping[str, Any], *, resume: bool = False, is_kept: bool = True
) -> Iterator[RowSink]:
    """Open where rows go, if they are kept, finish it at the end, and name the file in what goes wrong."""
    from chainrule.batches import RowSink, open_sink

    try:
        sink = open_sink(path, identity, resume=resume) if is_kept else RowSink()
        yield sink
        sink.finish()
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error


@contextmanager
def working_on(engine: str | None, address: str | None) -> Iterator[Engine | None]:
    """Connect with a cluster, which says what it has to say on standard error: results go to standard output.

    Ray writes its own messages to standard output, whatever it is asked to.
    """
    from chainrule.distributed import connected

    with redirect_stdout(sys.stderr if engine else sys.stdout), connected(engine, address) as cluster:
        yield cluster


def for_spreadsheets(rows: Any, path: Path | None) -> Any:
    """Return rows for csv or tsv with a quote before text that a spreadsheet would run as a formula."""
    import polars as pl
    import polars.selectors as cs

    from chainrule.batches import to_frame

    if path is not None and path.suffix.lower() not in (".csv", ".tsv"):
        return rows
    frame = to_frame(rows)
    texts = [name for name in frame.columns if frame[name].dtype in (pl.String, pl.Categorical)]
    frame = frame.with_columns(cs.by_name(texts).cast(pl.String).map_elements(_quoted, pl.String))
    return frame.rename(_quoted)


def _quoted(text: str) -> str:
    from chainrule.schema.number_formats import is_written_number

    return f"'{text}" if text.startswith(_FORMULA_STARTS) and not is_written_number(text) else text


def write_rows(rows: Any, path: Path | None) -> None:
    """Write rows as csv, tsv, parquet or npy, as the name says; without a name as csv to standard output."""
    with rows_out(path, {}) as sink:
        sink.write(rows)


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
