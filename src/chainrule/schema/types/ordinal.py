"""Ordinal columns: integers, and days, of a range that training rows show."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from chainrule import supports
from chainrule.errors import DataError, StorageError
from chainrule.schema.dates import text_of_date
from chainrule.schema.tables import Column
from chainrule.schema.types.base import MAX_EXACT_CODE, BlockCodedType, Floats, is_broken
from chainrule.schema.types.bins import LevelBins
from chainrule.schema.types.summary import (
    MAX_INTEGER,
    POINT_MASS_COUNT,
    POINT_MASS_SHARE,
    ColumnSummary,
    fits_ordinal,
    in_days,
    is_integral,
    require_numbers,
)

__all__ = ["MAX_SHARED_RANGE", "Ordinal"]

MAX_SHARED_RANGE = 1000
"""A numeric array whose integers span more than this has no range that all of its columns share."""

Whole = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]

# An ordinal of more levels than this is modelled in bins.
MAX_LEVELS = 256
# With so many training rows for each of up to so many levels or bins, each gets a probability of its own:
# the narrow components of a mixture that heavy single levels need are easily lost in a fit.
MAX_FREE_LEVELS = 128
ROWS_PER_LEVEL = 100


@dataclass(frozen=True)
class Ordinal(BlockCodedType):
    """A column of integers; the code is ``value - low``.

    Values beyond the range of the training rows become the end levels, which stand for "that or less" and
    "that or more". Of very many levels, models see the number of a bin, a run of levels; within a bin all
    models agree on a smoothed histogram of the training rows, see `LevelBins`.

    Parameters
    ----------
    low, high : int
        The inclusive range of values.
    bins : LevelBins, optional
        Runs of levels that are modelled as one.
    inflated : tuple of int
        Values that stand out: many more rows have them than those beside them.

    Examples
    --------
    >>> Ordinal("age", low=17, high=90, dtype="int64").describe()
    'ordinal, 17 to 90'
    """

    kind: ClassVar[str] = "ordinal"
    support_type: ClassVar[type[supports.Support]] = supports.Grid

    low: Whole = 0
    high: Whole = 0
    bins: LevelBins | None = None
    inflated: Annotated[tuple[Whole, ...], Meta(max_length=1000)] = ()

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise DataError(f"column {self.name!r}: the range {self.low}..{self.high} is empty")
        if self.high - self.low >= MAX_EXACT_CODE:
            raise DataError(f"column {self.name!r}: the range {self.low}..{self.high} is too wide")

    # ------------------------------------------------------------ learning

    @classmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Take integers that span less than 2**20, and days."""
        return cls._of_column(summary.column) if summary.is_integers else None

    @classmethod
    def declared(cls, column: Column) -> Self:
        """Take integers whose codes float32 can hold."""
        column = in_days(column)
        require_numbers(column, "ordinal")
        wrong = column.values != np.rint(column.values)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"column {column.name!r} was declared ordinal, which needs integers, but holds "
                f"{column.values[row]:g} in row {column.row(row)}: round it or declare it continuous"
            )
        low, high = column.values.min(), column.values.max()
        if not fits_ordinal(low, high):
            raise DataError(
                f"column {column.name!r} spans {low:g} to {high:g}, too wide for an ordinal: use continuous"
            )
        return cls._of_column(column)

    @classmethod
    def _of_column(cls, column: Column) -> Self:
        low, high = int(column.values.min()), int(column.values.max())
        inflated = inflated_values(column.values.astype(np.int64), low, high)
        return cls(column.name, column.dtype, column.unit, low=low, high=high, inflated=inflated)

    @classmethod
    def shared_by(cls, matrix: NDArray[Any], is_declared: bool) -> dict[str, Any] | None:
        """Return the range of an array of integers (an image), unless it spans too much to be shared."""
        if matrix.dtype == bool:
            return None
        low, high = np.fmin.reduce(matrix, axis=None), np.fmax.reduce(matrix, axis=None)
        if not is_declared and float(high) - float(low) > MAX_SHARED_RANGE:
            return None
        if not (is_integral(matrix) and fits_ordinal(low, high)):
            return None
        return {"low": int(low), "high": int(high)}

    def with_rows(self, codes: NDArray[Any]) -> Self:
        """Return the type with bins for training rows, where there are very many levels."""
        if self.high - self.low < MAX_LEVELS:
            return self
        return replace(self, bins=LevelBins.fit(codes, self.high - self.low + 1))

    # ------------------------------------------------------------ values and codes

    def encode(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return the distances from the least value."""
        return self.encode_block([self], self.numbers_of_rows(column), 0)[:, 0]

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the integers, or floats where the column's dtype is one of these."""
        values = codes.astype(np.float64) + self.low
        is_float = self.dtype.lower().startswith(("float", "double", "halffloat"))
        return values if is_float else values.astype(np.int64)

    def encode_scalar(self, value: Any) -> float:
        """Return the distance of an integer from the least value."""
        number = self.number_of(value)
        if number is None or not np.isfinite(number) or number != round(number):
            takes = "dates" if self.unit else "integers"
            raise DataError(
                f"column {self.name!r} is ordinal and takes {takes} from {self._range()}, not {value!r}"
            )
        if not self.low <= number <= self.high:
            raise DataError(f"column {self.name!r} cannot be {value}: its values range from {self._range()}")
        return number - self.low

    def _range(self) -> str:
        """Return the ends of the range, as dates if they count the time."""
        low, high = (text_of_date(end, self.unit) if self.unit else end for end in (self.low, self.high))
        return f"{low} to {high}"

    @classmethod
    def encode_block(cls, columns: Sequence[Self], block: Floats, first_row: int) -> Floats:
        """Return the distances from each column's least value; say where values lie beyond the ends."""
        bad = is_broken(block)
        if bad.any():
            cls.refuse_block(
                columns, bad, block, first_row, "the column is ordinal, which takes integers only"
            )
        low, high = _shared(column.low for column in columns), _shared(column.high for column in columns)
        outside = (block < low) | (block > high)
        if outside.any():
            columns[int(np.argmax(outside.any(axis=0)))]._warn_of_tails(int(outside.sum()))
        return np.asarray(np.clip(block, low, high) - low)

    @classmethod
    def decode_block(cls, columns: Sequence[Self], block: Floats) -> Floats:
        """Return the values of the distances."""
        return np.asarray(block + _shared(column.low for column in columns))

    def _warn_of_tails(self, n_outside: int) -> None:
        """Say how many values are scored as the end of a range that they lie beyond."""
        warnings.warn(
            f"{n_outside} values lie beyond the range of the training rows, such as those of column "
            f"{self.name!r} ({self._range()}): they are scored as the nearest end, "
            "which stands for everything beyond it",
            stacklevel=2,
        )

    # ------------------------------------------------------------ what models see

    @property
    def support(self) -> supports.Support:
        """The levels, or their bins, in order."""
        if self.bins is None:
            return supports.Grid(self.high - self.low + 1, tuple(value - self.low for value in self.inflated))
        return supports.Grid(self.bins.n_bins, self.bins.inflated)

    def families(self, n_rows: int) -> tuple[str, ...]:
        """Return the families of ordered levels; where rows are many, first that with a logit for each."""
        names = super().families(n_rows)
        n_levels = self.high - self.low + 1 if self.bins is None else self.bins.n_bins
        if n_levels > min(MAX_FREE_LEVELS, n_rows // ROWS_PER_LEVEL):
            return names
        return ("categorical", *(name for name in names if name != "categorical"))

    def coarse(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of the bins; what is missing stays missing."""
        if self.bins is None:
            return codes
        observed = ~np.isnan(codes)
        numbers = codes.copy()
        numbers[observed] = self.bins.bin_of(codes[observed])
        return numbers

    def refine(self, codes: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Return drawn levels for the numbers of bins."""
        return codes if self.bins is None else self.bins.draw(codes.astype(np.intp), generator)

    def log_abs_det_jacobian(self, codes: NDArray[Any]) -> Floats:
        """Return log P(level | its bin)."""
        log_prob = np.zeros(len(codes))
        if self.bins is not None:
            observed = ~np.isnan(codes)
            log_prob[observed] = self.bins.log_prob_within(codes[observed])
        return log_prob

    @property
    def seen_log_det(self) -> float | None:
        """Nothing, where there are no bins."""
        return 0.0 if self.bins is None else None

    # ------------------------------------------------------------ values as numbers

    @property
    def levels(self) -> Sequence[Any]:
        """The integers."""
        return range(self.low, self.high + 1)

    def numbers(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return codes on the line of values."""
        return codes + self.low

    def codes_of_numbers(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the distances of numbers from the least value."""
        return numbers - self.low

    def describe(self) -> str:
        """Return the range."""
        return f"ordinal, {self._range()}"

    # ------------------------------------------------------------ storage

    def to_dict(self) -> dict[str, Any]:
        """Return the type in JSON-safe form."""
        metadata = super().to_dict()
        return metadata if self.bins is None else metadata | {"bins": self.bins.to_dict()}

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        stored = metadata.get("bins")
        column = super().from_dict({**metadata, "bins": None})
        if stored is None:
            return column
        bins = LevelBins.from_dict(stored)
        if bins.starts[-1] != column.high - column.low + 1:
            raise StorageError(f"column {column.name!r}: its bins are not those of its range")
        return replace(column, bins=bins)


def inflated_values(values: NDArray[np.int64], low: int, high: int) -> tuple[int, ...]:
    """Return the integers of which there are twice as many as of the four beside each, on average.

    As point masses of real numbers they make up a few in a thousand rows; of very many levels, which are
    modelled in bins, there are none.

    >>> inflated_values(np.repeat([1, 2, 3, 4, 5, 6], [50, 60, 55, 300, 50, 45]), 1, 6)
    (4,)
    """
    if high - low >= MAX_LEVELS:
        return ()
    counts = np.bincount(values - low, minlength=high - low + 1)
    beside = _sums_beside(counts) / np.maximum(_sums_beside(np.ones(len(counts))), 1)
    enough = max(POINT_MASS_COUNT, POINT_MASS_SHARE * len(values))
    return tuple((low + np.flatnonzero((counts >= enough) & (counts > 2 * beside))).tolist())


def _sums_beside(counts: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of the two entries before and the two behind each."""
    padded = np.pad(counts, 2)
    return np.asarray(padded[:-4] + padded[1:-3] + padded[3:-1] + padded[4:])


def _shared(numbers: Iterable[int]) -> Any:
    """Return one number where all are equal, which makes broadcasting quick, else an array."""
    listed = list(numbers)
    return listed[0] if len(set(listed)) == 1 else np.array(listed, dtype=np.float64)
