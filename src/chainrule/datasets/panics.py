"""What polars does with damaged files: its Rust code may panic, which is no error of Python's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chainrule.errors import DataError

__all__ = ["damage_named"]


@contextmanager
def damage_named(path: Path, what: str) -> Iterator[None]:
    """Turn whatever polars raises of a file into one line: that it is truncated, damaged, or not `what`.

    What a panic writes on standard error, a page about threads and frames, is not shown.

    Raises
    ------
    DataError
    """
    import polars as pl

    try:
        with _without_panic_pages():
            yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path} is truncated, damaged, or not {what}") from error


@contextmanager
def _without_panic_pages() -> Iterator[None]:
    """Hold back what is written on standard error, and drop it if there is a panic."""
    import polars as pl

    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        panicked = False
        try:
            yield
        except pl.exceptions.PanicException:
            panicked = True
            raise
        finally:
            os.dup2(stderr, 2)
            held.seek(0)
            if not panicked:
                os.write(stderr, held.read())
            os.close(stderr)
