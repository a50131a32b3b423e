"""Load a data set by its name or its path."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.datasets.core import Dataset, DatasetInfo, Parts
from chainrule.datasets.files import read_path, resize_parts
from chainrule.datasets.named import NAMED, NamedSet
from chainrule.datasets.splits import complete_parts
from chainrule.datasets.tables import MISSING_WORDS
from chainrule.errors import DataError
from chainrule.schema import Schema, columns_that_name_rows, folding_rare_levels

if TYPE_CHECKING:
    import polars as pl

__all__ = ["dataset_names", "load_dataset", "load_rows", "note_of_names", "take_columns"]

Kinds = str | Mapping[str, str] | None

_SLASHED_DATE = r"^\d{1,2}/\d{1,2}/(\d{2}|\d{4})$"


def dataset_names() -> list[DatasetInfo]:
    """Return the metadata about all named data sets."""
    return [named.info for named in NAMED.values()]


def load_dataset(
    name_or_path: str | Path,
    *,
    random_state: int = 0,
    image_size: tuple[int, ...] | None = None,
    kinds: Kinds = None,
    missing: Sequence[str] | None = MISSING_WORDS,
    columns: Sequence[str] | None = None,
    min_level_count: int = 1,
) -> Dataset:
    """Load a named data set, a file, or a folder of images, and split it where its source does not.

    Of a table without names in its first line, and of columns that are left out, it is warned.

    Parameters
    ----------
    name_or_path : str or Path
        One of `dataset_names`, or a path; a Path is never taken for a name.
    random_state : int, default=0
        Seed of the split, and of the rows of a synthetic set.
    image_size : tuple of int, optional
        Height and width to resize images to; and, as a third number, 3 where images of a folder or tar are
        to be read in colour. By default those are grey.
    kinds : str or mapping, optional
        Kinds of all columns or of some, by name; they win over what the values suggest.
    missing : sequence of str or None
        Words that stand for a missing value in text files, beside an empty cell. With None no value may be
        missing: a file that lacks some is refused, naming the first of them.
    columns : sequence of str, optional
        Which columns of a table to keep, if it has them all. By default all but text with so many levels
        that it names rows, which `Schema.infer` refuses unless its kind is declared.
    min_level_count : int, default=1
        Of text, levels that fewer training rows have become one: see `folding_rare_levels`.

    Raises
    ------
    DataError
        If there is no such set, or it cannot be read.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> digits.train.shape, digits.image_shape
    ((1437, 64), (8, 8))
    """
    named = _find_named(name_or_path)
    if named is not None:
        return _load_named(named, random_state, image_size, kinds)
    path = _existing_path(name_or_path)
    parts = read_path(path, image_size, MISSING_WORDS if missing is None else missing)
    with _naming(path):
        if columns is None:
            parts = _without_names_of_rows(parts, kinds)
        else:
            parts = _with_columns(parts, columns)
            texts = _undeclared_names_of_rows(parts, kinds)
            kinds = {**_by_name(kinds), **dict.fromkeys(texts, "categorical")} if texts else kinds
        whole = _checked(parts, kinds, missing is not None)
    for note in parts.notes:
        warnings.warn(note, stacklevel=2)
    train, valid, test, split = complete_parts(parts, random_state)
    declared = _kinds_to_declare(parts, kinds, whole, train)
    return Dataset(
        name=_stem(path),
        train=train,
        valid=valid,
        test=test,
        kinds=declared if min_level_count == 1 else folding_rare_levels(train, declared, min_level_count),
        image_shape=parts.image_shape,
        description="; ".join([f"Rows of {path.name}", *parts.notes]),
        split=split,
        notes=parts.notes,
    )


def load_rows(
    name_or_path: str | Path,
    *,
    random_state: int = 0,
    image_size: tuple[int, ...] | None = None,
    missing: Sequence[str] = MISSING_WORDS,
    columns: Sequence[str] | None = None,
) -> Any:
    """Load all rows, unsplit and in the order of the file: to score them, or to look at them.

    Of a source that comes in splits: the training, validation and test rows, one after another.

    Parameters
    ----------
    name_or_path, random_state, image_size
        As for `load_dataset`.
    missing : sequence of str
        Words that stand for a missing value in text files, beside an empty cell.
    columns : sequence of str, optional
        Which columns of a table to keep, if it has them all; by default all.

    Returns
    -------
    ndarray of shape (n, D) or polars DataFrame
    """
    named = _find_named(name_or_path)
    if named is not None:
        dataset = _load_named(named, random_state, image_size, None)
        return _stack((dataset.train, dataset.valid, dataset.test))
    parts = read_path(_existing_path(name_or_path), image_size, missing)
    return _stack((parts if columns is None else _with_columns(parts, columns)).given)


# ---------------------------------------------------------------- names and paths


def _find_named(name_or_path: str | Path) -> NamedSet | None:
    if isinstance(name_or_path, Path):
        return None
    return NAMED.get(name_or_path.lower().replace("_", "-"))


def _load_named(
    named: NamedSet, random_state: int, image_size: tuple[int, ...] | None, kinds: Kinds
) -> Dataset:
    parts = resize_parts(named.read(random_state), image_size, named.info.name)
    train, valid, test, split = complete_parts(parts, random_state)
    return Dataset(
        name=named.info.name,
        train=train,
        valid=valid,
        test=test,
        kinds=_declared(parts, kinds),
        image_shape=parts.image_shape,
        description=named.info.description,
        split=named.split or split,
        entropy=None if named.entropy is None else named.entropy(),
    )


def _existing_path(name_or_path: str | Path) -> Path:
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    close = difflib.get_close_matches(str(name_or_path).lower(), NAMED, n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise DataError(f"{str(name_or_path)!r} is neither an existing file nor a named data set{hint}")


def _stem(path: Path) -> str:
    name = path.resolve().name
    if path.is_dir():
        return name
    short = re.sub(r"((\.ts|\.valid|\.test)?\.data|\.test)(\.gz)?$", "", name)
    short = re.sub(r"\.(csv|tsv|parquet|arff|npy|npz|idx|tar|tgz|gz|bz2|xz)(\.(gz|bz2|xz))?$", "", short)
    return short or name


def _stack(parts: tuple[Any, ...]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    import polars as pl

    return pl.concat(parts)


# ---------------------------------------------------------------- columns


def take_columns(rows: Any, columns: Sequence[str]) -> Any:
    """Return some columns of a table that has them all; other rows as they are."""
    if isinstance(rows, np.ndarray) or not set(columns) <= set(rows.columns):
        return rows
    return rows.select(columns)


def _with_columns(parts: Parts, columns: Sequence[str]) -> Parts:
    return _map(parts, lambda rows: take_columns(rows, columns))


def _undeclared_names_of_rows(parts: Parts, kinds: Kinds) -> list[str]:
    """Return the text columns that name rows and have no declared kind."""
    if isinstance(parts.train, np.ndarray) or isinstance(kinds, str):
        return []
    return [name for name in columns_that_name_rows(parts.train) if name not in _by_name(kinds)]


def _by_name(kinds: Kinds) -> dict[str, str]:
    return {} if kinds is None or isinstance(kinds, str) else dict(kinds)


def _without_names_of_rows(parts: Parts, kinds: Kinds) -> Parts:
    """Leave out the text columns that name rows, unless their kind is declared."""
    names = _undeclared_names_of_rows(parts, kinds)
    if not names:
        return parts
    kept = _map(parts, lambda rows: rows.drop(names))
    return replace(kept, notes=(*parts.notes, note_of_names(parts.train, names)))


def note_of_names(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    """Return the note that some text columns of a table, which name rows, are left out."""
    listed = ", ".join(map(repr, columns))
    note = (
        f"text with so many levels names rows instead of describing them, and is left out: {listed}; to keep "
        f"such a column declare its kind, --kind {columns[0]}=categorical"
    )
    dates = [name for name in columns if rows[name].cast(str).str.contains(_SLASHED_DATE).all()]
    if dates:
        note += (
            f"; dates with slashes, as in {dates[0]!r}, could be read in two ways: write 2026-04-05 instead "
            "of 04/05/2026"
        )
    return note


def _map(parts: Parts, change: Callable[[Any], Any]) -> Parts:
    valid, test = (None if rows is None else change(rows) for rows in (parts.valid, parts.test))
    return replace(parts, train=change(parts.train), valid=valid, test=test)


# ---------------------------------------------------------------- kinds


def _declared(parts: Parts, kinds: Kinds) -> Any:
    """Return the user's kinds before those that the source declares."""
    if kinds is None or isinstance(kinds, str):
        return kinds or parts.kinds
    return {**parts.kinds, **kinds} if isinstance(parts.kinds, dict) else dict(kinds)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put a file's name before what is wrong in its rows."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error


def _checked(parts: Parts, kinds: Kinds, missing: bool) -> Schema | None:
    """Refuse unusable rows before they are split, while their numbers are those of the file.

    Returns the schema of all rows that are to be split.
    """
    if isinstance(parts.train, np.ndarray) and len(parts.given) > 1:
        return None
    return Schema.infer(parts.train, _declared(parts, kinds), missing)


def _kinds_to_declare(parts: Parts, kinds: Kinds, whole: Schema | None, train: Any) -> Any:
    """Return the kinds that the training rows do not show by themselves.

    These are the user's, and those of numbers that look different in the training rows from what they are
    in all rows. A column that happens to be constant in the training rows fits no declared kind but its own.
    """
    if isinstance(train, np.ndarray) or whole is None:
        return _declared(parts, kinds)
    observed = train.fill_nan(None)
    varied = {name for name in train.columns if observed[name].drop_nulls().n_unique() > 1}
    wanted = dict.fromkeys(train.columns, kinds) if isinstance(kinds, str) else _by_name(kinds)
    declared = {name: wanted[name] for name in wanted if name in varied}
    shown = Schema.infer(train, declared, missing=True)
    for column, seen in zip(whole.variables, shown.variables, strict=True):
        differ = type(column) is not type(seen) and (column.is_numeric or seen.is_numeric)
        if column.name in varied and differ:
            declared[column.name] = column.kind
    return declared or None
