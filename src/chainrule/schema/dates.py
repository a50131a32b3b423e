"""Dates as numbers, days or seconds from the start of 1970, and back."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.values import Unit

if TYPE_CHECKING:
    from chainrule.schema.tables import Column

__all__ = [
    "SECONDS_OF_DAY",
    "dates_of",
    "days_or_seconds",
    "days_or_seconds_of_objects",
    "in_unit_of",
    "is_date_type",
    "number_of_date",
    "objects_of",
    "text_of_date",
    "time_zone",
]

SECONDS_OF_DAY = 86_400
_MICROSECONDS = 1_000_000
_EPOCH = dt.datetime(1970, 1, 1)
_FORMS = ("%d.%m.%Y", "%Y/%m/%d")  # beside ISO 8601


def days_or_seconds(series: Any) -> tuple[NDArray[Any], Unit]:
    """Return the numbers of a narwhals Series of dates without nulls, and what they count."""
    import narwhals as nw

    microseconds = series.dt.timestamp("us").to_numpy().astype(np.int64)
    if isinstance(series.dtype, nw.Date):
        return microseconds // (SECONDS_OF_DAY * _MICROSECONDS), "days"
    return microseconds / _MICROSECONDS, "seconds"


def is_date_type(kind: type) -> bool:
    """Whether Python objects of this type are dates, with or without a time of day."""
    return issubclass(kind, (dt.date, np.datetime64))


def days_or_seconds_of_objects(values: NDArray[Any], name: str) -> tuple[NDArray[Any], Unit]:
    """Return the numbers of Python dates, and what they count."""
    if all(isinstance(value, dt.date) and not isinstance(value, dt.datetime) for value in values):
        return np.array([value.toordinal() for value in values]) - _EPOCH.toordinal(), "days"
    return np.array([_seconds(value, name) for value in values]), "seconds"


def _seconds(value: Any, name: str) -> float:
    if isinstance(value, np.datetime64):
        return float(value.astype("datetime64[us]").astype(np.int64) / _MICROSECONDS)
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if value.tzinfo is not None:
        raise DataError(
            f"column {name!r} holds Python objects with time zones: convert it to a column of a date type"
        )
    return float((value - _EPOCH).total_seconds())


def in_unit_of(unit: Unit, column: Column) -> Column:
    """Return a column of dates as numbers that count `unit`; refuse dates where there are to be none.

    Raises
    ------
    DataError
        If only one of the two has to do with dates.
    """
    if column.unit == unit:
        return column
    if not (column.unit and unit):
        holds, takes = ("dates" if each else "no dates" for each in (column.unit, unit))
        raise DataError(f"column {column.name!r} holds {holds}, but the training rows have {takes} in it")
    values = column.values * SECONDS_OF_DAY if unit == "seconds" else column.values / SECONDS_OF_DAY
    return replace(column, values=values, unit=unit)


def number_of_date(value: Any, unit: Unit) -> float | None:
    """Return the number of one date, or of the text that spells it; None if it is none.

    >>> number_of_date("1970-02-01", "days"), number_of_date("1.2.1970", "days")
    (31.0, 31.0)
    """
    if isinstance(value, str):
        value = _read_date(value)
    if not is_date_type(type(value)):
        return None
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        seconds = value.timestamp()
    else:
        seconds = _seconds(value, "")
    return seconds / SECONDS_OF_DAY if unit == "days" else seconds


def _read_date(text: str) -> dt.datetime | None:
    """Return the date that a text spells in one of the forms in which files have them; else None."""
    with suppress(ValueError):
        return dt.datetime.fromisoformat(text)
    for form in _FORMS:
        with suppress(ValueError):
            return dt.datetime.strptime(text, form)
    return None


def text_of_date(number: float, unit: Unit) -> str:
    """Return the ISO text of a date.

    >>> text_of_date(31, "days"), text_of_date(86_400, "seconds")
    ('1970-02-01', '1970-01-02T00:00:00')
    """
    return str(np.datetime64(round(number), "D" if unit == "days" else "s"))


def dates_of(numbers: NDArray[Any], unit: Unit) -> NDArray[np.datetime64]:
    """Return numbers, or None where a date is missing, as days or microseconds; these may be NaT."""
    missing = np.array([number is None for number in numbers.tolist()], dtype=bool)
    known = np.where(missing, 0, numbers).astype(np.float64)
    if unit == "days":
        dates = np.rint(known).astype(np.int64).astype("datetime64[D]")
    else:
        dates = np.rint(known * _MICROSECONDS).astype(np.int64).astype("datetime64[us]")
    dates[missing] = np.datetime64("NaT")
    return dates


def objects_of(dates: NDArray[np.datetime64]) -> NDArray[Any]:
    """Return dates as Python objects, None for NaT."""
    objects = np.empty(len(dates), dtype=object)
    objects[:] = dates.tolist()
    return objects


def time_zone(dtype: str) -> str | None:
    """Return the time zone in the name of a dtype of any of the containers.

    >>> time_zone("datetime64[ns, UTC]"), time_zone("timestamp[us, tz=Europe/Oslo]"), time_zone("Date")
    ('UTC', 'Europe/Oslo', None)
    """
    found = re.search(r"\[\w+, (?:tz=)?([^\]]+)\]", dtype)
    return None if found is None or found[1] == "None" else found[1]
