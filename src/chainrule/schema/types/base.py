"""What every column type offers: from values to codes and back, and what a code's probability is worth."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.dates import in_unit_of, number_of_date
from chainrule.schema.number_formats import NumberFormat, in_number_format
from chainrule.schema.values import Unit
from chainrule.storage import as_described

if TYPE_CHECKING:
    from chainrule.schema.tables import Column
    from chainrule.schema.types.bins import LevelBins
    from chainrule.schema.types.summary import ColumnSummary
    from chainrule.supports import Support

__all__ = [
    "LARGEST_CODE",
    "MAX_EXACT_CODE",
    "UNSEEN",
    "BlockCodedType",
    "ColumnType",
    "Floats",
    "integer_limits",
    "is_broken",
    "is_integer_dtype",
    "number_or_none",
    "spelt",
    "unless_nan",
]

Floats = NDArray[np.float64]

LARGEST_CODE = float(np.finfo(np.float32).max)
"""Codes are float32."""
MAX_EXACT_CODE = 2**24
"""Up to here, float32 holds every integer."""
UNSEEN = -np.inf
"""The code of a level that the training rows lack, where such levels are let through."""


@dataclass(frozen=True)
class ColumnType(ABC):
    """What one column of the data is, with what was learned of it: levels, a range, a scale.

    A column type is a subclass in a file of its own and an entry in `COLUMN_TYPES`. Codes are the numbers by
    which models know values: float32, NaN where a value is missing, `UNSEEN` for a level never seen.

    Parameters
    ----------
    name : str
        The column's name; ``"x1"``, ``"x2"``, ... where the container has none.
    dtype : str, default="float64"
        The column's dtype in the user's container, to decode into.
    unit : {"", "days", "seconds"}, default=""
        Dates: what their numbers count, from the start of 1970.
    number_format : NumberFormat, optional
        Text that spells numbers: how it is written.
    """

    kind: ClassVar[str]
    """What users call the type."""
    support_type: ClassVar[type[Support]]
    """The class of `support`."""
    is_numeric: ClassVar[bool] = True
    """Whether values lie on a number line, so that means, quantiles and distances make sense."""
    is_discrete: ClassVar[bool] = True
    """Whether values have probabilities rather than a density."""

    name: str
    dtype: str = "float64"
    unit: Unit = ""
    number_format: NumberFormat | None = None

    # ------------------------------------------------------------ learning

    @classmethod
    @abstractmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Return the type of a column nothing was declared of, or None if it is of another type."""

    @classmethod
    @abstractmethod
    def declared(cls, column: Column) -> Self:
        """Return the type of a column that was declared to be of this kind.

        Raises
        ------
        DataError
            If its values do not allow that: naming the column, the row, and what to do.
        """

    @property
    def n_folded_levels(self) -> int:
        """How many rare levels have become one."""
        return 0

    @classmethod
    def folding(cls, column: Column, least: int) -> Self:
        """Return the type of a column of which levels of fewer than `least` rows are to be taken for one.

        Raises
        ------
        DataError
            If this kind has no levels that could be.
        """
        raise DataError(
            f"column {column.name!r}: rare levels are folded in columns of text, declared "
            f"'categorical:{least}'; this one is declared {cls.kind}"
        )

    @classmethod
    def shared_by(cls, matrix: NDArray[Any], is_declared: bool) -> dict[str, Any] | None:
        """Return the arguments that all columns of a numeric array share, or None if it is not of this type.

        `is_declared` says whether the user declared this kind for the whole array.
        """
        return None

    def with_rows(self, codes: NDArray[Any]) -> Self:
        """Return the type with what is learned of training rows alone, from their codes (n,)."""
        return self

    # ------------------------------------------------------------ values and codes

    @abstractmethod
    def encode(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return one code per row of a column in this type's unit; see `encode_column`."""

    @abstractmethod
    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the values of codes of which none is missing."""

    @abstractmethod
    def encode_scalar(self, value: Any) -> float:
        """Return the code of one value that is not missing: a level, a number, or the text that spells it.

        Raises
        ------
        DataError
            If the column cannot have that value.
        """

    def encode_column(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return one code per row, NaN where the value is missing.

        `unseen` is the code of a level of which a share is reserved for those that the training rows lack;
        None refuses it.
        """
        if len(column.values) == 0:  # of no type that could be checked
            return column.over_rows(np.empty(0))
        return self.encode(self.in_own_unit(column), unseen)

    def in_own_unit(self, column: Column) -> Column:
        """Return a column as numbers where its text spells them, and dates in this type's unit."""
        return in_unit_of(self.unit, self.as_numbers(column))

    def as_numbers(self, column: Column) -> Column:
        """Return a column whose text, where that spells this column's numbers, has become numbers."""
        return in_number_format(self.number_format, column)

    def known_values(self, column: Column) -> NDArray[Any]:
        """Return the values of a column as rows are made of them: dates as numbers, numbers as texts."""
        if self.number_format is None:
            return self.in_own_unit(column).values
        return column.values if column.storage == "text" else self.number_format.write_all(column.values)

    def decode_column(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the values of codes: numbers, or Python objects for levels that are text.

        With missing values these are Python objects, too, and None where the value is missing.
        """
        missing = np.isnan(codes)
        if not missing.any():
            return self.decode(codes)
        values = np.full(len(codes), None, dtype=object)
        values[~missing] = self.decode(codes[~missing])
        return values

    # ------------------------------------------------------------ what models see

    @property
    @abstractmethod
    def support(self) -> Support:
        """The codes that models see."""

    def families(self, n_rows: int) -> tuple[str, ...]:
        """Return the names of the families that can model the column, that for `n_rows` rows first."""
        from chainrule.conditionals import families_of  # brings PyTorch, which baselines do without

        return families_of(self.support)

    @property
    def reserved(self) -> float:
        """The share of probability that is kept for levels never seen in training."""
        return 0.0

    @property
    def bins(self) -> LevelBins | None:
        """Runs of levels that models see as one."""
        return None

    @property
    def n_parameters(self) -> int:
        """Number of frequencies that the type itself holds."""
        return 0 if self.bins is None else len(self.bins.levels)

    @property
    def is_refined(self) -> bool:
        """Whether models see less than the codes, so that `coarse` and `refine` have something to do."""
        return self.bins is not None

    def coarse(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the codes (n,) as models see them."""
        return codes

    def refine(self, codes: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Return codes (n,) for codes as models see them, drawing what models do not see."""
        return codes

    @abstractmethod
    def log_abs_det_jacobian(self, codes: NDArray[Any]) -> Floats:
        """Return the term from the log-probability of each code to that of the value, nats, (n,).

        For a missing value anything will do.
        """

    @property
    def seen_log_det(self) -> float | None:
        """What `log_abs_det_jacobian` is for every code but `UNSEEN`; None where it depends on the code."""
        return None

    # ------------------------------------------------------------ values as numbers

    @property
    def step(self) -> Fraction | None:
        """The step of the grid that real numbers lie on, as far as training rows show; None without one."""
        return None

    @property
    @abstractmethod
    def levels(self) -> Sequence[Any] | None:
        """The values of codes 0, 1, ...; None where they have no end or a density."""

    @property
    def n_codes(self) -> float:
        """Number of codes; infinite where there is no end."""
        return math.inf if self.levels is None else len(self.levels)

    @property
    def n_indicators(self) -> int:
        """Number of columns of numbers that stand for this one in correlations: one, or one for each name."""
        return 1

    def numbers(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return codes, which need not be whole, as numbers on the line of values; NaN stays NaN."""
        return codes

    def codes_of_numbers(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the codes of numbers on the line of values, where such codes need not be whole."""
        return numbers

    @abstractmethod
    def describe(self) -> str:
        """Return the kind and what it is made of, in a few words."""

    # ------------------------------------------------------------ storage

    def to_dict(self) -> dict[str, Any]:
        """Return the type in JSON-safe form."""
        metadata: dict[str, Any] = {"kind": self.kind}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default or each.name in ("name", "dtype"):
                metadata[each.name] = list(value) if isinstance(value, tuple) else value
        if self.number_format is not None:
            metadata["number_format"] = self.number_format.to_dict()
        return metadata

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any]) -> Self:
        """Undo `to_dict`; StorageError where a value is none that the annotation of its field allows."""
        arguments = {name: value for name, value in metadata.items() if name != "kind"}
        return as_described(arguments, cls, f"column {metadata.get('name')!r}")

    # ------------------------------------------------------------ refusals

    def number_of(self, value: Any) -> float | None:
        """Return the number that a value or its text spells, a date as what the column counts; else None."""
        number = self.number_as_written(value)
        return number_or_none(value) if number is None else number

    def number_as_written(self, value: Any) -> float | None:
        """Return the number of a date, or of a text in the column's number format; else None."""
        if self.unit:
            return number_of_date(value, self.unit)
        if self.number_format is not None and isinstance(value, str):
            return self.number_format.read(value)
        return None

    def numbers_of_rows(self, column: Column) -> Floats:
        """Return one number per row, (n, 1), NaN where it is missing; refuse what holds no numbers."""
        if not column.is_numeric:
            row = next((r for r, value in enumerate(column.values) if isinstance(value, str)), 0)
            raise DataError(
                f"column {self.name!r} is {self.kind} and takes numbers, "
                f"but holds {column.values[row]!r} in row {column.row(row)}"
            )
        return np.asarray(column.over_rows(column.values.astype(np.float64)))[:, None]


@dataclass(frozen=True)
class BlockCodedType(ColumnType, ABC):
    """A type of which many columns of a numeric array are coded at once, as those of an image."""

    @property
    def is_coded_in_blocks(self) -> bool:
        """Whether this column is: always, unless a type says otherwise."""
        return True

    @classmethod
    @abstractmethod
    def encode_block(cls, columns: Sequence[Self], block: Floats, first_row: int) -> Floats:
        """Return the codes of several columns' values (n, G), of which the first row has a number from 0."""

    @classmethod
    @abstractmethod
    def decode_block(cls, columns: Sequence[Self], block: Floats) -> Floats:
        """Return the values (n, G) of several columns' codes."""

    @classmethod
    def refuse_block(
        cls, columns: Sequence[Self], bad: NDArray[np.bool_], block: Floats, first_row: int, reason: str
    ) -> NoReturn:
        """Raise for the first bad column and row; `reason` may use {column}."""
        number = int(np.argmax(bad.any(axis=0)))
        row = int(np.argmax(bad[:, number]))
        text = reason.format(column=columns[number])
        where = f"column {columns[number].name!r} holds {block[row, number]:g} in row {first_row + row + 1}"
        raise DataError(f"{where}: {text}")


def number_or_none(value: Any) -> float | None:
    """Return a number, or the one that a text spells, as a float; else None."""
    number = spelt(value) if isinstance(value, str) else value
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        return None
    try:
        return float(number)
    except OverflowError:
        return math.inf


def spelt(text: Any) -> bool | float | None:
    """Return the truth value or the number that a text spells, else None."""
    if not isinstance(text, str):
        return None
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    for number in (int, float):  # a level may be an integer that no float equals
        try:
            return number(text)
        except ValueError:
            pass
    return None


# ---------------------------------------------------------------- blocks and dtypes


def is_broken(block: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the numbers are not whole; NaN does not count."""
    return unless_nan(block != np.rint(block), block)


def unless_nan(bad: NDArray[np.bool_], block: NDArray[Any]) -> NDArray[np.bool_]:
    """Return `bad` without NaN, which differs from every number."""
    return bad & ~np.isnan(block) if bad.any() else bad


def is_integer_dtype(dtype: str) -> bool:
    """Whether a dtype's name, in any of the containers, is that of integers.

    >>> is_integer_dtype("UInt8"), is_integer_dtype("int64[pyarrow]"), is_integer_dtype("float32")
    (True, True, False)
    """
    return dtype.lower().startswith(("int", "uint"))


def integer_limits(dtype: str) -> tuple[float, float] | None:
    """Return the least and the greatest float that still fits an integer dtype, or None for other dtypes."""
    if not is_integer_dtype(dtype):
        return None
    try:
        info = np.iinfo(dtype.lower().split("[")[0])
    except (TypeError, ValueError):
        info = np.iinfo(np.int64)
    return float(info.min), float(np.floor(np.nextafter(float(info.max) + 1, 0)))
