"""Empty columns: all cells are missing, so that there is nothing to model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from chainrule import supports
from chainrule.errors import DataError
from chainrule.schema.tables import Column
from chainrule.schema.types.base import ColumnType, Floats
from chainrule.schema.types.summary import ColumnSummary

__all__ = ["Empty"]


@dataclass(frozen=True)
class Empty(ColumnType):
    """A column that no training row has a value in: a constant, which every model takes and none pays for.

    Its one level is that the cell is missing, with the code 0 and the probability 1. What other rows hold
    there is warned about and passed over.

    Examples
    --------
    >>> Empty("notes").describe()
    'empty'
    """

    kind: ClassVar[str] = "empty"
    support_type: ClassVar[type[supports.Support]] = supports.Levels
    is_numeric: ClassVar[bool] = False
    levels: ClassVar[Sequence[Any]] = (None,)

    @classmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Take nothing: columns without any value are found before types are asked."""
        return None

    @classmethod
    def declared(cls, column: Column) -> Self:
        """Refuse to take what holds values; a column without any is empty whatever it was declared."""
        raise DataError(
            f"column {column.name!r} was declared empty but holds {column.values[0]!r} in row "
            f"{column.row(0)}: drop the column, or leave out its kind"
        )

    def encode_column(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return zeros, whatever the cells hold."""
        n_values = len(column.values)
        if n_values:
            warnings.warn(
                f"column {self.name!r} was empty in the training rows: its {n_values} values are passed over",
                stacklevel=2,
            )
        return np.zeros(n_values if column.present is None else len(column.present))

    def known_values(self, column: Column) -> NDArray[Any]:
        """Return None for each value: a table that the column was empty in need not be able to hold it."""
        return self.decode(column.values)

    def encode(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return zeros, one for each value."""
        return np.zeros(len(column.values))

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return None, the missing value, for each code."""
        return np.full(len(codes), None, dtype=object)

    def encode_scalar(self, value: Any) -> NoReturn:
        """Refuse any value."""
        raise DataError(
            f"column {self.name!r} cannot be {value!r}: it was empty in the training rows; leave it out"
        )

    @property
    def support(self) -> supports.Support:
        """The one level."""
        return supports.Levels(1)

    def log_abs_det_jacobian(self, codes: NDArray[Any]) -> Floats:
        """Return zeros."""
        return np.zeros(len(codes))

    @property
    def seen_log_det(self) -> float:
        """Nothing."""
        return 0.0

    def describe(self) -> str:
        """Return the kind, which says it all."""
        return "empty"
