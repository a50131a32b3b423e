"""Load a data set by its name or its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
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
from chainrule.schema import Schema

if TYPE_CHECKING:
    import polars as pl

__all__ = ["dataset_names", "load_dataset", "load_rows"]

Kinds = str | Mapping[str, str] | None


def dataset_names() -> list[DatasetInfo]:
    """Return the facts about all named data sets."""
    return [named.info for named in NAMED.values()]


def load_dataset(
    name_or_path: str | Path,
    *,
    random_state: int = 0,
    image_size: tuple[int, int] | None = None,
    kinds: Kinds = None,
    missing: Sequence[str] | None = MISSING_WORDS,
) -> Dataset:
    """Load a named data set, a file, or a folder of images, and split it where its source does not.

    Parameters
    ----------
    name_or_path : str or Path
        One of `dataset_names`, or a path; a Path is never taken for a name.
    random_state : int, default=0
        Seed of the split, and of the rows of a synthetic set.
    image_size : tuple of int, optional
        Height and width to resize images to.
    kinds : str or mapping, optional
        Kinds of all columns or of some, by name; they win over what the values suggest.
    missing : sequence of str or None
        Words that stand for a missing value in text files, beside an empty cell. With None no value may be
        missing: a file that lacks some is refused, naming the first of them.

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
    parts = _checked(parts, kinds, path, missing is not None)
    train, valid, test, split = complete_parts(parts, random_state)
    return Dataset(
        name=_stem(path),
        train=train,
        valid=valid,
        test=test,
        kinds=_kinds_of_rows(parts, kinds, train),
        image_shape=parts.image_shape,
        description="; ".join([f"Rows of {path.name}", *parts.notes]),
        split=split,
        notes=parts.notes,
    )


def load_rows(
    name_or_path: str | Path,
    *,
    random_state: int = 0,
    image_size: tuple[int, int] | None = None,
    missing: Sequence[str] = MISSING_WORDS,
) -> Any:
    """Load all rows, unsplit and in the order of the file: to score them, or to look at them.

    Of a source that comes in splits: the training, validation and test rows, one after another.

    Parameters
    ----------
    name_or_path, random_state, image_size
        As for `load_dataset`.
    missing : sequence of str
        Words that stand for a missing value in text files, beside an empty cell.

    Returns
    -------
    ndarray of shape (n, D) or polars DataFrame
    """
    named = _find_named(name_or_path)
    if named is not None:
        dataset = _load_named(named, random_state, image_size, None)
        return _stack((dataset.train, dataset.valid, dataset.test))
    return _stack(read_path(_existing_path(name_or_path), image_size, missing).given)


# ---------------------------------------------------------------- names and paths


def _find_named(name_or_path: str | Path) -> NamedSet | None:
    if isinstance(name_or_path, Path):
        return None
    return NAMED.get(name_or_path.lower().replace("_", "-"))


def _load_named(
    named: NamedSet, random_state: int, image_size: tuple[int, int] | None, kinds: Kinds
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


# ---------------------------------------------------------------- kinds


def _declared(parts: Parts, kinds: Kinds) -> Any:
    """Return the user's kinds before those that the source declares."""
    if kinds is None or isinstance(kinds, str):
        return kinds or parts.kinds
    return {**parts.kinds, **kinds} if isinstance(parts.kinds, dict) else dict(kinds)


def _checked(parts: Parts, kinds: Kinds, path: Path, missing: bool) -> Parts:
    """Refuse unusable rows before they are split, while their numbers are those of the file."""
    try:
        if not isinstance(parts.train, np.ndarray):
            return _with_levels(parts, kinds, missing)
        if len(parts.given) == 1:
            Schema.infer(parts.train, _declared(parts, kinds), missing)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
    return parts


def _with_levels(parts: Parts, kinds: Kinds, missing: bool) -> Parts:
    """Find kinds and text levels of a table from all of its rows."""
    import polars as pl

    table: pl.DataFrame = parts.train
    schema = Schema.infer(table, kinds, missing)
    text = [
        pl.col(variable.name).cast(pl.String).cast(pl.Enum([str(level) for level in variable.levels]))
        for variable in schema.variables
        if variable.dtype in ("String", "Categorical")
    ]
    found: dict[str, str] = dict(zip(schema.names, schema.kinds, strict=True))
    return replace(parts, train=table.with_columns(text), kinds=found)


def _kinds_of_rows(parts: Parts, kinds: Kinds, train: Any) -> Any:
    """Return the kinds to declare for training rows.

    A number that happens to be constant in the training rows fits no declared kind but its own.
    """
    if isinstance(train, np.ndarray):
        return _declared(parts, kinds)
    import polars as pl

    there = train.fill_nan(None)
    varied = [
        name
        for name in train.columns
        if isinstance(train[name].dtype, pl.Enum) or there[name].drop_nulls().n_unique() > 1
    ]
    declared = parts.kinds if isinstance(parts.kinds, dict) else {}
    return {name: declared[name] for name in varied}
