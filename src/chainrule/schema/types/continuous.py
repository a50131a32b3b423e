"""Continuous columns: real numbers, wide integers and times, with or without point masses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from chainrule import supports
from chainrule.errors import DataError, StorageError
from chainrule.schema.tables import Column
from chainrule.schema.types.base import LARGEST_CODE, BlockCodedType, Floats, integer_limits, is_integer_dtype
from chainrule.schema.types.knots import around_outliers, middle, quantiles
from chainrule.schema.types.summary import MAX_DECIMALS, ColumnSummary, decimals_of, require_numbers

__all__ = ["Continuous"]

LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Continuous(BlockCodedType):
    """A column of real numbers; the code is ``(value - location) / scale``.

    Parameters
    ----------
    location, scale : float
        Mean and standard deviation of the training rows; those of the middle where there are outliers.
    point_masses : tuple of float
        Values that have a probability each, besides the density of all others.
    knots : tuple of float
        Values in rising order between which scores are linear: evenly spread quantiles of those that are no
        point mass, and more around outliers. Of few rows without outliers there are none.
    knot_scores : tuple of float
        The scores of knots; by default those of the same quantiles of the standard normal distribution.
    decimals : int, optional
        To how many digits behind the point values are written; drawn ones are rounded to as many.

    Examples
    --------
    >>> Continuous("rain", location=0.2, scale=0.5, point_masses=(0.0,)).describe()
    'continuous with point mass at 0'
    """

    kind: ClassVar[str] = "continuous"
    support_type: ClassVar[type[supports.Support]] = supports.Reals
    is_discrete: ClassVar[bool] = False
    levels: ClassVar[None] = None

    location: Annotated[float, Meta(ge=-LARGEST, le=LARGEST)] = 0.0
    scale: Annotated[float, Meta(gt=0, le=LARGEST)] = 1.0
    point_masses: Annotated[tuple[float, ...], Meta(max_length=1000)] = ()
    knots: Annotated[tuple[float, ...], Meta(max_length=1000)] = ()
    knot_scores: Annotated[tuple[float, ...], Meta(max_length=1000)] = ()
    decimals: Annotated[int, Meta(ge=0, le=MAX_DECIMALS)] | None = None

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any]) -> Self:
        """Undo `to_dict`; StorageError also where single precision cannot tell point masses apart."""
        column = super().from_dict(metadata)
        codes = column.point_mass_codes
        if len(set(codes)) < len(codes) or any(abs(code) > LARGEST_CODE for code in codes):
            raise StorageError(f"column {column.name!r}: its point masses are no different numbers")
        if len(column.knots) == 1 or (np.diff(column.knot_codes) <= 0).any():
            raise StorageError(f"column {column.name!r}: its knots do not rise")
        scores = column.knot_scores
        if scores and (len(scores) != len(column.knots) or (np.diff(scores) <= 0).any()):
            raise StorageError(f"column {column.name!r}: the scores of its knots do not rise with them")
        return column

    # ------------------------------------------------------------ learning

    @classmethod
    def infer(cls, summary: ColumnSummary) -> Self | None:
        """Take numbers that are nothing else; values that come again and again are point masses."""
        if not summary.column.is_numeric:
            return None
        masses = tuple(float(value) for value in summary.point_masses)
        values: Floats = summary.column.values.astype(np.float64)
        others = values[~np.isin(values, masses)]
        column = cls.declared(summary.column)._with_scores(others)
        codes = replace(column, point_masses=masses).point_mass_codes
        # Single precision may not tell a value from the one before.
        distinct = tuple(value for n, value in enumerate(masses) if codes[n] not in codes[:n])
        return replace(column, point_masses=distinct)

    def _with_scores(self, values: Floats) -> Self:
        """Return the type with knots, from the values that are no point mass: many, or with outliers."""
        if not len(values):
            return self
        median, spread = middle(values)
        bent = around_outliers(values, median, spread)
        if bent is None:
            return replace(self, knots=tuple(quantiles(values, self.scale).tolist()))
        self._warn_of_stray(values, median)
        knots, scores = (tuple(each.tolist()) for each in bent)
        return replace(self, location=median, scale=spread, knots=knots, knot_scores=scores)

    def _warn_of_stray(self, values: Floats, median: float) -> None:
        """Warn if a single value lies ten times as far out as all others: it may be an error."""
        farthest, second = np.argsort(np.abs(values - median))[[-1, -2]]
        if abs(values[farthest] - median) > 10 * abs(values[second] - median):
            warnings.warn(
                f"column {self.name!r}: {values[farthest]:g} lies far from all others, the next is "
                f"{values[second]:g}: is it an error?",
                stacklevel=2,
            )

    @classmethod
    def declared(cls, column: Column) -> Self:
        """Take numbers that are not all the same, without point masses."""
        require_numbers(column, cls.kind)
        if column.values.min() == column.values.max():
            raise DataError(
                f"column {column.name!r} was declared continuous but is constant ({column.values[0]:g}), "
                "so it has no density: drop it, or leave out its kind"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            location = column.values.mean(axis=0, dtype=np.float64)
            scale = column.values.std(axis=0, dtype=np.float64)
        plain = cls.standardised(column.name, float(location), float(scale), column.dtype, column.unit)
        is_single = column.dtype.lower().startswith(("float32", "float[pyarrow]"))
        values = column.values.astype(np.float32) if is_single else column.values
        return replace(plain, decimals=decimals_of(values))

    @classmethod
    def standardised(cls, name: str, location: float, scale: float, dtype: str, unit: Any = "") -> Self:
        """Return the type of a column with this mean and standard deviation."""
        if not (np.isfinite([location, scale]).all() and scale > 0 and np.isfinite(1 / scale)):
            raise DataError(
                f"column {name!r} cannot be standardised in float64 (mean {location:g}, standard deviation "
                f"{scale:g}): bring it to a moderate scale"
            )
        return cls(name, dtype, unit, location=location, scale=scale)

    # ------------------------------------------------------------ values and codes

    @cached_property
    def point_mass_codes(self) -> tuple[float, ...]:
        """The codes of the point masses, each a number that float32 holds."""
        return tuple(float(np.float32((value - self.location) / self.scale)) for value in self.point_masses)

    @cached_property
    def knot_codes(self) -> tuple[float, ...]:
        """The codes of the knots."""
        return tuple((value - self.location) / self.scale for value in self.knots)

    def encode(self, column: Column, unseen: float | None) -> NDArray[Any]:
        """Return the standardised numbers."""
        return self.encode_block([self], self.numbers_of_rows(column), 0)[:, 0]

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers, whole ones where the column's dtype is one of integers."""
        return self.decode_block([self], codes.astype(np.float64)[:, None])[:, 0]

    def encode_scalar(self, value: Any) -> float:
        """Return the code of a finite number."""
        number = self.number_of(value)
        if number is None or not np.isfinite(number):
            raise DataError(f"column {self.name!r} is continuous and takes finite numbers, not {value!r}")
        code = (number - self.location) / self.scale
        if abs(code) > LARGEST_CODE:
            raise DataError(
                f"column {self.name!r} cannot be {value}: too far from the training rows "
                f"(mean {self.location:g}, sd {self.scale:g})"
            )
        return float(np.float32(code))

    @classmethod
    def encode_block(cls, columns: Sequence[Self], block: Floats, first_row: int) -> Floats:
        """Return standardised numbers; refuse those that float32 cannot hold."""
        with np.errstate(over="ignore"):
            codes = (block - _locations(columns)) / _scales(columns)
        bad = np.abs(codes) > LARGEST_CODE
        if bad.any():
            reason = "too far from the training rows (mean {column.location:g}, sd {column.scale:g})"
            cls.refuse_block(columns, bad, block, first_row, reason)
        for number, column in enumerate(columns):
            if column.point_masses:
                codes[:, number] = column.codes_of_numbers(block[:, number])
        return np.asarray(codes)

    @classmethod
    def decode_block(cls, columns: Sequence[Self], block: Floats) -> Floats:
        """Return the values of standardised numbers."""
        values: Floats = block * _scales(columns) + _locations(columns)
        for number, column in enumerate(columns):
            if column.point_masses:
                values[:, number] = column.numbers(block[:, number])
            limits = integer_limits(column.dtype)
            if limits is not None:
                values[:, number] = np.clip(np.rint(values[:, number]), *limits)
            elif column.decimals is not None:
                values[:, number] = np.round(values[:, number], column.decimals)
        return values

    # ------------------------------------------------------------ what models see

    @property
    def support(self) -> supports.Support:
        """The real numbers."""
        return supports.Reals(self.point_mass_codes, self.knot_codes, self.knot_scores)

    def log_abs_det_jacobian(self, codes: NDArray[Any]) -> Floats:
        """Return minus the log of the scale, but nothing for point masses, which have a probability."""
        log_det = np.full(len(codes), -np.log(self.scale))
        if self.point_masses:
            log_det[np.isin(codes, self.point_mass_codes)] = 0.0
        return log_det

    @property
    def seen_log_det(self) -> float | None:
        """Minus the log of the scale."""
        return None if self.point_masses else -float(np.log(self.scale))

    # ------------------------------------------------------------ values as numbers

    @property
    def step(self) -> Fraction | None:
        """One for integers; the value of the last digit where numbers have so many."""
        if is_integer_dtype(self.dtype):
            return Fraction(1)
        return None if self.decimals is None else Fraction(1, 10**self.decimals)

    def numbers(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the values of codes; those of point masses are exact."""
        values: Floats = codes * self.scale + self.location
        for value, code in zip(self.point_masses, self.point_mass_codes, strict=True):
            values = np.where(codes.astype(np.float32) == np.float32(code), value, values)
        return values

    def codes_of_numbers(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the codes of numbers; those of point masses are exact in float32."""
        codes: Floats = (numbers - self.location) / self.scale
        for value, code in zip(self.point_masses, self.point_mass_codes, strict=True):
            near = codes.astype(np.float32) == np.float32(code)
            # single precision may not tell them apart, but only the point mass itself is one
            beside = np.nextafter(
                np.float32(code), np.where(numbers < value, -np.inf, np.inf).astype(np.float32)
            )
            codes = np.where(numbers == value, code, np.where(near, beside, codes))
        return codes

    def describe(self) -> str:
        """Return the point masses, and what dates count."""
        shown = ", ".join(f"{value:g}" for value in self.point_masses)
        masses = f" with point mass{'es' * (len(self.point_masses) > 1)} at {shown}" if shown else ""
        return f"continuous{masses}{f', in {self.unit}' if self.unit else ''}"


def _locations(columns: Sequence[Continuous]) -> Floats:
    return np.array([column.location for column in columns])


def _scales(columns: Sequence[Continuous]) -> Floats:
    return np.array([column.scale for column in columns])
