"""Count columns: whole numbers from zero on, without an upper bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from chainrule import supports
from chainrule.errors import DataError
from chainrule.schema.tables import Column
from chainrule.schema.types.base import MAX_EXACT_CODE, ColumnType, Floats
from chainrule.schema.types.summary import ColumnSummary, require_numbers

__all__ = ["Count"]


@dataclass(frozen=True)
class Count(ColumnType):
    """A column of counts; the code is the count.

    Only columns that are declared so are counts. Unlike an ordinal, which knows the values between the least
    and the greatest one of the training rows, it gives every whole number a probability.

    Examples
    --------
    >>> Count("visits", dtype="int64").describe()
    'count, from 0 on'
    """

    kind: ClassVar[str] = "count"
    support_type: ClassVar[type[supports.Support]] = supports.Counts
    levels: ClassVar[None] = None

    @classmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Take nothing that was not declared."""
        return None

    @classmethod
    def declared(cls, column: Column) -> Self:
        """Take whole numbers from zero on."""
        require_numbers(column, cls.kind)
        counts = cls(column.name, column.dtype)
        counts._checked(column)
        return counts

    def encode(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return the counts."""
        self.numbers_of_rows(column)  # or refuse
        return column.over_rows(self._checked(column))

    def _checked(self, column: Column) -> Floats:
        """Return the values; refuse one that is no count, or beyond what float32 holds exactly."""
        values = column.values.astype(np.float64)
        bad = (values < 0) | (values != np.rint(values)) | (values > MAX_EXACT_CODE)
        if bad.any():
            index = int(np.argmax(bad))
            raise DataError(
                f"column {self.name!r} is a count, which takes whole numbers from 0 to {MAX_EXACT_CODE}, but "
                f"holds {values[index]:g} in row {column.row(index)}: declare it continuous, or mend the row"
            )
        return values

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the counts, as floats where the column's dtype is one of these."""
        is_float = self.dtype.lower().startswith(("float", "double", "halffloat"))
        return codes.astype(np.float64 if is_float else np.int64)

    def encode_scalar(self, value: Any) -> float:
        """Return a count."""
        number = self.number_of(value)
        if number is None or not 0 <= number <= MAX_EXACT_CODE or number != round(number):
            raise DataError(
                f"column {self.name!r} is a count and takes whole numbers from 0 on, not {value!r}"
            )
        return number

    @property
    def support(self) -> supports.Support:
        """The whole numbers from zero on."""
        return supports.Counts()

    def log_abs_det_jacobian(self, codes: NDArray[Any]) -> Floats:
        """Return zeros: codes are the values."""
        return np.zeros(len(codes))

    @property
    def seen_log_det(self) -> float:
        """Nothing."""
        return 0.0

    def describe(self) -> str:
        """Return the kind, which says it all."""
        return "count, from 0 on"
