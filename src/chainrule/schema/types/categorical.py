"""Categorical columns: text, categories, and a few different integers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Self

from chainrule import supports
from chainrule.errors import DataError
from chainrule.schema.tables import Column
from chainrule.schema.types.levels import OTHER, LeveledType
from chainrule.schema.types.summary import ColumnSummary, levels_of
from chainrule.schema.values import shortened

__all__ = ["Categorical"]


@dataclass(frozen=True)
class Categorical(LeveledType):
    """A column of any number of levels; a constant column has one.

    Examples
    --------
    >>> Categorical("port", levels=("Cherbourg", "Queenstown", "Southampton")).describe()
    'categorical, 3 levels'
    """

    kind: ClassVar[str] = "categorical"
    support_type: ClassVar[type[supports.Support]] = supports.Levels

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.levels:
            raise DataError(f"column {self.name!r}: a categorical variable needs at least one level")

    @classmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Take levels of any number: text, categories, a few different integers, a constant."""
        return cls.of_column(summary.column, summary.levels) if summary.are_levels else None

    @classmethod
    def declared(cls, column: Column) -> Self:
        """Take whatever values there are."""
        return cls.of_column(column, levels_of(column))

    @classmethod
    def folding(cls, column: Column, least: int) -> Self:
        """Take levels of fewer than `least` rows for one, `OTHER`: the names of the others alone are kept."""
        counts = Counter(column.values.tolist())
        levels = levels_of(column)
        if not all(isinstance(level, str) for level in levels):
            raise DataError(
                f"column {column.name!r}: rare levels are folded in columns of text; this one has numbers"
            )
        kept = tuple(level for level in levels if counts[level] >= least or level == OTHER)
        n_folded = len(levels) - len(kept)
        if not n_folded:
            return cls.of_column(column, levels)
        known = kept if OTHER in kept else (*kept, OTHER)
        return cls(column.name, column.dtype, column.unit, levels=known, n_folded=n_folded)

    @property
    def support(self) -> supports.Support:
        """Names."""
        return supports.Levels(len(self.levels))

    @property
    def n_indicators(self) -> int:
        """Number of levels."""
        return len(self.levels)

    def describe(self) -> str:
        """Return the number of levels, or the one of a constant."""
        folded = f", of which {OTHER!r} stands for {self.n_folded} rare ones" if self.n_folded else ""
        if len(self.levels) == 1:
            return f"constant, {shortened(self.levels[0])}{folded}"
        return f"categorical, {len(self.levels)} levels{folded}"
