"""What is known about one variable: its kind, its values, its scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np

from chainrule.errors import DataError

__all__ = ["KINDS", "Kind", "Variable", "pack_variables", "plain_level", "quoted", "unpack_variables"]

Kind = Literal["binary", "categorical", "ordinal", "continuous"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Unit = Literal["", "days", "seconds"]

_MOST_LETTERS = 40  # of a level in a description


@dataclass(frozen=True)
class Variable:
    """One column of the data.

    Parameters
    ----------
    name : str
        The column's name; ``"x1"``, ``"x2"``, ... where the container has none.
    kind : {"binary", "categorical", "ordinal", "continuous"}
        Which family of conditionals can model it.
    levels : tuple
        Binary and categorical: the user's values; the position is the code.
    low, high : int
        Ordinal: the inclusive range of values; the code is ``value - low``.
    location, scale : float
        Continuous: the code is ``(value - location) / scale``. Ordinal: mean and standard deviation of the
        codes of the training rows where the range is wide, else 0 and 1.
    dtype : str
        The column's dtype in the user's container, to decode into.
    spikes : tuple of float
        Continuous: values that have a probability each, besides the density of all others.
    reserved : float
        Binary and categorical: the share of probability that is kept for levels never seen in training.
    unit : {"", "days", "seconds"}
        Dates: what their numbers count, from the start of 1970.

    Examples
    --------
    >>> Variable("sex", "binary", levels=("female", "male"), dtype="str").n_levels
    2
    >>> Variable("age", "ordinal", low=17, high=90, dtype="int64").n_levels
    74
    """

    name: str
    kind: Kind
    levels: tuple[Any, ...] = ()
    low: int = 0
    high: int = 0
    location: float = 0.0
    scale: float = 1.0
    dtype: str = "float64"
    spikes: tuple[float, ...] = ()
    reserved: float = 0.0
    unit: Unit = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(
                f"column {self.name!r}: {self.kind!r} is not a kind; kinds are {', '.join(KINDS)}"
            )
        if self.kind == "binary" and len(self.levels) != 2:
            raise DataError(f"column {self.name!r}: a binary variable has 2 levels, got {len(self.levels)}")
        if self.kind == "categorical" and not self.levels:
            raise DataError(f"column {self.name!r}: a categorical variable needs at least one level")
        if self.kind == "ordinal" and self.low > self.high:
            raise DataError(f"column {self.name!r}: the range {self.low}..{self.high} is empty")
        if self.kind == "continuous" and not (
            self.scale > 0 and np.isfinite([self.scale, self.location]).all()
        ):
            raise DataError(f"column {self.name!r}: location and scale must be finite and the scale positive")
        if not 0 <= self.reserved < 1:
            raise DataError(
                f"column {self.name!r}: the reserved share must be in [0, 1), got {self.reserved}"
            )

    @property
    def n_levels(self) -> int | None:
        """Number of distinct codes; None for a continuous variable."""
        if self.kind == "continuous":
            return None
        return self.high - self.low + 1 if self.kind == "ordinal" else len(self.levels)

    @property
    def spike_codes(self) -> tuple[float, ...]:
        """The codes of the spikes, each a number that float32 holds.

        >>> Variable("rain", "continuous", location=0.2, scale=0.5, spikes=(0.0,)).spike_codes
        (-0.4000000059604645,)
        """
        return tuple(float(np.float32((value - self.location) / self.scale)) for value in self.spikes)

    def describe(self) -> str:
        """Return the kind and what it is made of, in a few words.

        Levels are shortened where they are long.

        >>> Variable("age", "ordinal", low=17, high=90, dtype="int64").describe()
        'ordinal, 17 to 90'
        """
        if self.kind == "continuous":
            return f"continuous{self._spikes_in_words()}{f', in {self.unit}' if self.unit else ''}"
        if self.kind == "ordinal":
            return f"ordinal, {self.low} to {self.high}{f' {self.unit} from 1970 on' if self.unit else ''}"
        if len(self.levels) == 1:
            return f"constant, {_shortened(self.levels[0])}"
        if self.kind == "binary":
            return f"binary, {_shortened(self.levels[0])} or {_shortened(self.levels[1])}"
        return f"categorical, {len(self.levels)} levels"

    def _spikes_in_words(self) -> str:
        if not self.spikes:
            return ""
        shown = ", ".join(f"{value:g}" for value in self.spikes)
        return f" with point mass{'es' * (len(self.spikes) > 1)} at {shown}"


def _shortened(level: Any) -> str:
    shown = repr(level)
    return shown if len(shown) <= _MOST_LETTERS else f"{shown[: _MOST_LETTERS - 3]}..."


def quoted(values: Sequence[Any], most: int = 5) -> str:
    """List values in a message, the first few of them.

    >>> quoted(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(value) for value in values[:most])
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown


def plain_level(value: Any, name: str) -> Any:
    """Return a level as a plain Python str, bool, int or float, which JSON can hold."""
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, (str, bool, int, float)):
        raise DataError(
            f"column {name!r} holds values of type {type(plain).__name__}, "
            "which cannot be levels: convert the column to numbers or text"
        )
    return plain


def pack_variables(variables: Iterable[Variable], with_names: bool) -> list[dict[str, Any]]:
    """Describe variables in JSON-safe form; neighbours that differ only in name or scale share an entry."""
    packed = []
    for _, run in groupby(variables, key=_shared_facts):
        members = list(run)
        packed.append(_pack_run(members, with_names))
    return packed


def _shared_facts(variable: Variable) -> tuple[Any, ...]:
    # types tell the level True from 1, which are equal
    types = tuple(type(level).__name__ for level in variable.levels)
    return (
        variable.kind,
        variable.levels,
        types,
        variable.low,
        variable.high,
        variable.dtype,
        variable.spikes,
        variable.reserved,
        variable.unit,
    )


def _pack_run(members: list[Variable], with_names: bool) -> dict[str, Any]:
    first = members[0]
    entry: dict[str, Any] = {"kind": first.kind, "dtype": first.dtype, "repeat": len(members)}
    if with_names:
        entry["names"] = [variable.name for variable in members]
    if first.kind == "ordinal":
        entry |= {"low": first.low, "high": first.high}
    elif first.kind != "continuous":
        entry["levels"] = list(first.levels)
    if any((variable.location, variable.scale) != (0.0, 1.0) for variable in members):
        entry["location"] = [variable.location for variable in members]
        entry["scale"] = [variable.scale for variable in members]
    if first.spikes:
        entry["spikes"] = list(first.spikes)
    if first.reserved:
        entry["reserved"] = first.reserved
    if first.unit:
        entry["unit"] = first.unit
    return entry


def unpack_variables(packed: Iterable[Mapping[str, Any]]) -> tuple[Variable, ...]:
    """Undo `pack_variables`; variables without a name become ``x1``, ``x2``, ..."""
    variables: list[Variable] = []
    for entry in packed:
        variables += _unpack_run(entry, first_number=len(variables) + 1)
    return tuple(variables)


def _unpack_run(entry: Mapping[str, Any], first_number: int) -> list[Variable]:
    count = entry["repeat"]
    names = entry.get("names") or [f"x{first_number + i}" for i in range(count)]
    template = Variable(
        name="",
        kind=entry["kind"],
        levels=tuple(entry.get("levels", ())),
        low=entry.get("low", 0),
        high=entry.get("high", 0),
        dtype=entry["dtype"],
        spikes=tuple(entry.get("spikes", ())),
        reserved=entry.get("reserved", 0.0),
        unit=entry.get("unit", ""),
    )
    locations, scales = entry.get("location", [0.0] * count), entry.get("scale", [1.0] * count)
    rows = zip(names, locations, scales, strict=True)
    return [replace(template, name=name, location=location, scale=scale) for name, location, scale in rows]
