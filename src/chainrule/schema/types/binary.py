"""Binary columns: truth values, and whatever has two levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from chainrule import supports
from chainrule.errors import DataError
from chainrule.schema.tables import Column
from chainrule.schema.types.base import BlockCodedType, Floats, unless_nan
from chainrule.schema.types.levels import LeveledType
from chainrule.schema.types.summary import BLOCK, ColumnSummary, levels_of
from chainrule.schema.values import shortened

__all__ = ["Binary"]


@dataclass(frozen=True)
class Binary(BlockCodedType, LeveledType):
    """A column of two levels, of which the second has the code 1.

    Examples
    --------
    >>> Binary("sex", levels=("female", "male"), dtype="str").describe()
    "binary, 'female' or 'male'"
    """

    kind: ClassVar[str] = "binary"
    support_type: ClassVar[type[supports.Support]] = supports.Binary

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.levels) != 2:
            raise DataError(f"column {self.name!r}: a binary variable has 2 levels, got {len(self.levels)}")

    @classmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Take truth values, and two levels."""
        if summary.column.storage == "boolean":
            return cls.of_column(summary.column, (False, True))
        is_binary = summary.are_levels and len(summary.levels) == 2
        return cls.of_column(summary.column, summary.levels) if is_binary else None

    @classmethod
    def declared(cls, column: Column) -> Self:
        """Take zeros and ones, even where only one of them comes, or any two levels."""
        if column.storage == "boolean":
            return cls.of_column(column, (False, True))
        levels = levels_of(column)
        if column.is_numeric and set(levels) <= {0, 1}:
            return cls.of_column(column, (0, 1))
        if len(levels) != 2:
            raise DataError(
                f"column {column.name!r} was declared binary but has {len(levels)} distinct value(s) "
                f"({_first_few(levels)}): declare it categorical, or drop it"
            )
        return cls.of_column(column, levels)

    @classmethod
    def are_all(cls, column: Column, levels: tuple[Any, ...]) -> bool:
        """Return whether it says so, or has zeros and ones."""
        return super().are_all(column, levels) or levels == (0, 1)

    @classmethod
    def shared_by(cls, matrix: NDArray[Any], is_declared: bool) -> dict[str, Any] | None:
        """Return the levels of an array of zeros and ones, or of truth values."""
        if not _is_zero_one(matrix):
            return None
        return {"levels": (False, True) if matrix.dtype == bool else (0, 1)}

    @property
    def support(self) -> supports.Support:
        """Zero and one."""
        return supports.Binary()

    @property
    def is_coded_in_blocks(self) -> bool:
        """Whether the levels are the codes."""
        return self.levels == (0, 1)  # (False, True) equals it

    @property
    def are_numbers(self) -> bool:
        """Whether the levels are the numbers 0 and 1, and not truth values."""
        return self.levels == (0, 1) and not isinstance(self.levels[0], bool)

    @classmethod
    def encode_block(cls, columns: Sequence[Self], block: Floats, first_row: int) -> Floats:
        """Return the zeros and ones as they are; refuse other numbers."""
        bad = unless_nan((block != 0) & (block != 1), block)
        if bad.any():
            cls.refuse_block(columns, bad, block, first_row, "an unseen level; known levels are 0 and 1")
        return block

    @classmethod
    def decode_block(cls, columns: Sequence[Self], block: Floats) -> Floats:
        """Return the zeros and ones as they are."""
        return block

    def describe(self) -> str:
        """Return the two levels, shortened where they are long."""
        return f"binary, {shortened(self.levels[0])} or {shortened(self.levels[1])}"


def _is_zero_one(matrix: NDArray[Any]) -> bool:
    if not np.issubdtype(matrix.dtype, np.floating):
        return bool(matrix.min() >= 0 and matrix.max() <= 1)
    step = max(1, BLOCK // max(1, matrix[:1].size))
    blocks = (matrix[start : start + step] for start in range(0, len(matrix), step))
    return all(bool(((block == 0) | (block == 1) | np.isnan(block)).all()) for block in blocks)


def _first_few(levels: Sequence[Any]) -> str:
    shown = ", ".join(repr(level) for level in levels[:5])
    return f"{shown}, ..." if len(levels) > 5 else shown
