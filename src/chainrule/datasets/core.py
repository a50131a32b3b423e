"""What a data set is: three sets of rows and the metadata about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.errors import DataError

__all__ = ["Dataset", "DatasetInfo", "Parts", "count_missing"]


@dataclass(frozen=True)
class Parts:
    """What a file or a source holds, before it is split.

    ``train`` holds all rows where the source gives no ``test``. Rows are arrays (n, D) or polars
    DataFrames. ``notes`` say what was taken for granted in reading them.
    """

    train: Any
    valid: Any = None
    test: Any = None
    image_shape: tuple[int, ...] | None = None
    kinds: str | dict[str, str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[Any, ...]:
        """Those of train, valid and test that the source gives."""
        return tuple(rows for rows in (self.train, self.valid, self.test) if rows is not None)


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test rows, and how they came about.

    Parameters
    ----------
    name : str
        A named set's name, or a file's name without its suffix.
    train, valid, test : ndarray of shape (n, D) or polars DataFrame
        Rows, all three in the same kind of container with the same columns.
    kinds : str or dict, optional
        Kinds of variables to pass on to the estimators.
    image_shape : tuple of int, optional
        Height and width, and 3 of colour images, where a row is a flattened image.
    description : str
        What the rows are.
    split : str
        One sentence on how the rows were split.
    entropy : float, optional
        Entropy of the true distribution in nats, where it is known: no model can have a lower
        expected negative log-likelihood.
    notes : tuple of str
        What was taken for granted in reading the rows, and which columns were left out.
    """

    name: str
    train: Any
    valid: Any
    test: Any
    kinds: str | dict[str, str] | None = None
    image_shape: tuple[int, ...] | None = None
    description: str = ""
    split: str = ""
    entropy: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = {part: tuple(getattr(self, part).shape) for part in ("train", "valid", "test")}
        for part, shape in shapes.items():
            if len(shape) != 2 or shape[1] != shapes["train"][1]:
                raise DataError(
                    f"{self.name}: train, valid and test need the same number of columns, got {part} of "
                    f"shape {shape} beside train of shape {shapes['train']}"
                )
            if 0 in shape:
                raise DataError(f"{self.name}: {part} has no {'rows' if shape[0] == 0 else 'columns'}")

    @property
    def arguments(self) -> dict[str, Any]:
        """What estimators are told of the rows, where their constructors take it."""
        return {"kinds": self.kinds, "image_shape": self.image_shape}

    @cached_property
    def has_missing(self) -> bool:
        """Whether any value is missing (NaN or null) of columns that are not empty in the training rows."""
        empty = [count == len(self.train) for count in count_missing(self.train)]
        parts = (count_missing(rows) for rows in (self.train, self.valid, self.test))
        return any(count > 0 for part in parts for count, none in zip(part, empty, strict=True) if not none)

    @property
    def n_variables(self) -> int:
        """Number of columns, D."""
        return int(self.train.shape[1])


@dataclass(frozen=True)
class DatasetInfo:
    """One line of the list of named data sets."""

    name: str
    description: str
    n_variables: int
    kind: str
    source: str
    licence: str


def count_missing(rows: Any) -> list[int]:
    """Return the number of missing values of each column of an array or a polars DataFrame.

    >>> count_missing(np.array([[1.0, np.nan], [np.nan, np.nan]]))
    [1, 2]
    """
    if isinstance(rows, np.ndarray):
        is_float = np.issubdtype(rows.dtype, np.floating)
        return np.isnan(rows).sum(axis=0).tolist() if is_float else [0] * rows.shape[1]
    return list(rows.fill_nan(None).null_count().row(0))
