"""A column type of one's own: clothing sizes, which are text and have an order.

To register it is all that it takes: after ``import size_column`` columns of sizes are taken for sizes, and
``kinds={"size": "size"}`` declares one.

``python examples/size_column.py`` fits a table with sizes and draws from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import polars as pl

from chainrule import MADE, supports
from chainrule.errors import DataError
from chainrule.schema import register_column_type
from chainrule.schema.tables import Column
from chainrule.schema.types.levels import LeveledType
from chainrule.schema.types.summary import ColumnSummary

__all__ = ["SIZES", "Size"]

SIZES = ("XS", "S", "M", "L", "XL", "XXL")


@register_column_type
@dataclass(frozen=True)
class Size(LeveledType):
    """A column of sizes; the code is the position among `SIZES`.

    `LeveledType` turns levels into codes and back. What is new is the support: numbers on a line, so that
    families for ordinals model them, in which neighbours are alike.
    """

    kind: ClassVar[str] = "size"
    support_type: ClassVar[type[supports.Support]] = supports.Grid

    @classmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Take text of which every value is a size."""
        column = summary.column
        return cls.declared(column) if set(column.values) <= set(SIZES) and len(column.values) else None

    @classmethod
    def declared(cls, column: Column) -> Self:
        """Take sizes and nothing else; all of them can come, so no share is kept for others."""
        strange = sorted({str(value) for value in column.values} - set(SIZES))
        if strange:
            raise DataError(f"column {column.name!r} holds {strange[0]!r}, which is no size of {SIZES}")
        return cls(column.name, column.dtype, levels=SIZES)

    @property
    def support(self) -> supports.Support:
        """Six numbers on a line."""
        return supports.Grid(len(self.levels))

    def describe(self) -> str:
        """Return what it is."""
        return f"size, {SIZES[0]} to {SIZES[-1]}"


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    height = rng.normal(172, 9, 3000).round()
    codes = np.clip((height - 150 + rng.normal(0, 4, 3000)) // 9, 0, 5).astype(int)
    rows = pl.DataFrame({"height": height, "size": [SIZES[code] for code in codes]})
    model = MADE((64,), max_epochs=30, random_state=0).fit(rows)
    print(*(f"{column.name}: {column.describe()}" for column in model.schema_.variables), sep="\n")
    print(model.sample(5, random_state=0))
