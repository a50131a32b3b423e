"""What column types with named levels share: binary and categorical ones."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NoReturn, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.tables import Column
from chainrule.schema.types.base import UNSEEN, ColumnType, Floats, number_or_none, spelt
from chainrule.schema.values import did_you_mean, quoted

__all__ = ["OTHER", "LeveledType"]

Level = str | bool | int | float
MAX_LISTED = 10
# A constant has probability 1, but for this.
RESERVED_BY_CONSTANT = 1e-6
OTHER = "other"
"""The level that rare ones become where these are folded."""


@dataclass(frozen=True)
class LeveledType(ColumnType, ABC):
    """A column of named levels; the code of a value is its position among them.

    Parameters
    ----------
    levels : tuple
        The user's values.
    reserved : float, default=0.0
        The share of probability that is kept for levels never seen in training.
    n_folded : int, default=0
        How many levels of too few training rows have become one, `OTHER`, which then stands for levels never
        seen, too.
    """

    is_numeric: ClassVar[bool] = False

    levels: tuple[Level, ...] = ()
    reserved: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    n_folded: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.n_folded and OTHER not in self.levels:
            raise DataError(f"column {self.name!r}: levels were folded, but there is no level {OTHER!r}")
        if len(set(self.levels)) < len(self.levels):
            raise DataError(f"column {self.name!r}: a level comes twice")
        if any(isinstance(level, int) and not -(2**63) <= level < 2**64 for level in self.levels):
            raise DataError(f"column {self.name!r}: a level is an integer of more than 64 bits")

    @classmethod
    def of_column(cls, column: Column, levels: tuple[Any, ...]) -> Self:
        """Return a type that reserves a share for levels unless these are all there can be."""
        n = len(column.values)
        reserved = 0.0 if cls.are_all(column, levels) else 1 / (n + 1)
        if len(levels) == 1 and not column.categories:
            reserved = min(RESERVED_BY_CONSTANT, 1 / (n + 1))
        return cls(column.name, column.dtype, column.unit, levels=levels, reserved=reserved)

    @classmethod
    def are_all(cls, column: Column, levels: tuple[Any, ...]) -> bool:
        """Return whether the column says that it has no further levels."""
        return bool(column.categories) or column.storage == "boolean"

    @property
    def n_folded_levels(self) -> int:
        """How many rare levels have become one."""
        return self.n_folded

    # ------------------------------------------------------------ values and codes

    def encode(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return the position of each value among the levels."""
        codes = self._positions(column)
        unknown = codes < 0
        if not unknown.any():
            return column.over_rows(codes)
        if unseen is None or not self.reserved:
            self._refuse_level(column, unknown)
        return column.over_rows(np.where(unknown, unseen, codes))

    def _positions(self, column: Column) -> NDArray[np.intp]:
        """Return the position of each value among the levels, -1 where it is none of them."""
        numeric_levels = not any(isinstance(level, str) for level in self.levels)
        if numeric_levels and (column.is_numeric or column.storage == "boolean"):
            return _numeric_positions(column.values, np.asarray(self.levels))
        position = {level: code for code, level in enumerate(self.levels)}
        unknown = position[OTHER] if self.n_folded else -1
        found = (position.get(value, unknown) for value in column.values)
        return np.fromiter(found, dtype=np.intp, count=len(column.values))

    def _refuse_level(self, column: Column, unseen: NDArray[np.bool_]) -> NoReturn:
        row = int(np.argmax(unseen))
        value = column.values[row]
        value = value.item() if isinstance(value, np.generic) else value
        raise DataError(
            f"column {self.name!r} holds {value!r} in row {column.row(row)}: an unseen level; "
            f"known levels are {quoted(self.levels)}"
        )

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the levels at the positions."""
        levels = np.array([*self.levels, None], dtype=object)[:-1]
        if not any(isinstance(level, str) for level in self.levels):
            levels = np.asarray(self.levels)
        return levels[codes.astype(np.intp)]

    def encode_scalar(self, value: Any) -> float:
        """Return the position of a level, or of the one that a text spells."""
        number = self.number_as_written(value)
        value = value if number is None else number
        # a level that is the text itself comes before one that the text spells
        for candidate in (value, spelt(value), self._in_single_precision(value)):
            if isinstance(candidate, (str, bool, int, float)) and candidate in self.levels:
                return float(self.levels.index(candidate))
        hint = did_you_mean(value, [level for level in self.levels if isinstance(level, str)])
        raise DataError(
            f"column {self.name!r} has no level {value!r}; "
            f"known levels are {quoted(self.levels, MAX_LISTED)}{hint}"
        )

    def _in_single_precision(self, value: Any) -> float | None:
        """Return a number as a column of float32 holds it, in which 0.1 is not the 0.1 of Python."""
        number = number_or_none(value)
        is_single = self.dtype.lower().startswith(("float32", "float[pyarrow]"))
        return float(np.float32(number)) if is_single and number is not None else None

    # ------------------------------------------------------------ what models see

    def log_abs_det_jacobian(self, codes: NDArray[Any]) -> Floats:
        """Return the log of the share that is not reserved, or that is, for levels never seen."""
        seen = np.full(len(codes), self.seen_log_det)
        if self.reserved:
            seen[codes == UNSEEN] = np.log(self.reserved)
        return seen

    @property
    def seen_log_det(self) -> float:
        """The log of the share that is not reserved for levels never seen."""
        return float(np.log1p(-self.reserved))


def _numeric_positions(values: NDArray[Any], levels: NDArray[Any]) -> NDArray[np.intp]:
    order = np.argsort(levels, kind="stable")
    slots = np.minimum(np.searchsorted(levels[order], values), len(levels) - 1)
    codes = order[slots]
    return np.where(levels[codes] == values, codes, -1)
