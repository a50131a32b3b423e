"""Build the user's container from decoded columns, in which None stands for a missing value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import StorageError
from chainrule.schema.dates import dates_of, objects_of, time_zone
from chainrule.schema.types import ColumnType

__all__ = ["build_frame", "build_matrix", "build_object_array"]

Values = Sequence[NDArray[Any]]


def build_matrix(values: Values, dtype: str) -> NDArray[Any]:
    """Return a numeric array (n, D), NaN where a value is missing.

    Raises
    ------
    StorageError
        If the dtype has no such values.
    """
    matrix = np.empty((len(values[0]), len(values)), dtype=dtype)
    try:
        for d, column in enumerate(values):
            matrix[:, d] = column
    except (OverflowError, TypeError, ValueError) as error:
        raise StorageError(f"the columns cannot be made into an array of {dtype}: {error}") from error
    return matrix


def build_object_array(variables: Sequence[ColumnType], values: Values, dtype: str) -> NDArray[Any]:
    """Return an array (n, D) of Python objects or of text."""
    array = np.empty((len(values[0]), len(values)), dtype=object)
    for d, (variable, column) in enumerate(zip(variables, values, strict=True)):
        array[:, d] = objects_of(dates_of(column, variable.unit)) if variable.unit else column.tolist()
    if np.dtype(dtype).kind == "U":  # drawn numbers in a format may be longer than those seen
        return array.astype(str)
    return array.astype(np.dtype(dtype))


def build_frame(container: str, variables: Sequence[ColumnType], values: Values, integer_names: bool) -> Any:
    """Return a DataFrame of the container's library with the variables' names and dtypes.

    Raises
    ------
    StorageError
        If the library is not installed, or has no such dtypes: a model was altered, or is of another version.
    """
    try:
        return _BUILDERS[container](variables, values, integer_names)
    except ImportError as error:
        raise StorageError(
            f"the columns belong in a {container} table, but {container} is not installed"
        ) from error
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StorageError(f"the columns cannot be made into a {container} table: {reason}") from error


def _build_pandas(variables: Sequence[ColumnType], values: Values, integer_names: bool) -> Any:
    import pandas as pd

    columns: Mapping[int, Any] = {
        d: _pandas_column(variable, column)
        for d, (variable, column) in enumerate(zip(variables, values, strict=True))
    }
    frame = pd.DataFrame(columns)
    names = [variable.name for variable in variables]
    frame.columns = pd.Index([int(name) for name in names] if integer_names else names)
    return frame


def _pandas_column(variable: ColumnType, values: NDArray[Any]) -> Any:
    import pandas as pd

    if variable.unit:
        return _pandas_dates(variable, dates_of(values, variable.unit))
    if not variable.dtype.startswith("category"):
        listed = values.tolist() if values.dtype == object else values
        return pd.Series(listed, dtype=_pandas_dtype(variable.dtype, values))
    names = _names(variable)
    position = {level: code for code, level in enumerate(names)} | {None: -1}
    codes = [position[value] for value in values.tolist()]
    ordered = variable.dtype.endswith("[ordered]")
    return pd.Series(pd.Categorical.from_codes(codes, categories=names, ordered=ordered))


def _names(variable: ColumnType) -> list[Any]:
    """Return the levels of a categorical dtype; that of an empty column, a missing value, is none."""
    return [level for level in variable.levels or () if level is not None]


def _pandas_dates(variable: ColumnType, dates: NDArray[np.datetime64]) -> Any:
    import pandas as pd

    if variable.dtype == "object" or variable.dtype.startswith("date32"):
        return pd.Series(objects_of(dates), dtype=variable.dtype)
    series, zone = pd.Series(dates.astype("datetime64[us]")), time_zone(variable.dtype)
    if zone is not None:
        series = series.dt.tz_localize("UTC").dt.tz_convert(zone)
    return series.astype(variable.dtype)


def _pandas_dtype(dtype: str, values: NDArray[Any]) -> str:
    """Return the dtype of a column, or what pandas itself makes of it where it cannot hold missing values."""
    has_missing = values.dtype == object and any(value is None for value in values)
    if not has_missing or not re.fullmatch(r"bool|u?int\d+", dtype):
        return dtype
    return "object" if dtype == "bool" else "float64"


def _build_polars(variables: Sequence[ColumnType], values: Values, integer_names: bool) -> Any:
    import polars as pl

    columns = []
    for variable, column in zip(variables, values, strict=True):
        if variable.unit:
            columns.append(_polars_dates(variable, dates_of(column, variable.unit)))
            continue
        if variable.dtype == "Object":  # nothing can be cast to it
            columns.append(pl.Series(variable.name, column.tolist(), dtype=pl.Object))
            continue
        dtype = pl.Enum(_names(variable)) if variable.dtype == "Enum" else _polars_dtype(variable.dtype)
        columns.append(pl.Series(variable.name, column.tolist()).cast(dtype))
    return pl.DataFrame(columns)


def _polars_dtype(name: str) -> Any:
    import polars as pl

    dtype = getattr(pl, name, None)
    if not (isinstance(dtype, type) and issubclass(dtype, pl.DataType)):
        raise TypeError(f"there is no dtype {name!r}")
    return dtype


def _polars_dates(variable: ColumnType, dates: NDArray[np.datetime64]) -> Any:
    import polars as pl

    series = pl.Series(variable.name, dates.astype("datetime64[us]"))
    if variable.dtype == "Object":
        return pl.Series(variable.name, objects_of(dates), dtype=pl.Object)
    if variable.dtype == "Date":
        return series.cast(pl.Date)
    unit, zone = re.findall(r"\w+", variable.dtype)[1], time_zone(variable.dtype)
    series = series.cast(pl.Datetime(unit))
    return series if zone is None else series.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)


def _build_pyarrow(variables: Sequence[ColumnType], values: Values, integer_names: bool) -> Any:
    import pyarrow as pa

    columns = [
        _pyarrow_dates(variable, dates_of(column, variable.unit))
        if variable.unit
        else _pyarrow_column(variable.dtype, column)
        for variable, column in zip(variables, values, strict=True)
    ]
    return pa.table(columns, names=[variable.name for variable in variables])


def _pyarrow_column(dtype: str, values: NDArray[Any]) -> Any:
    import pyarrow as pa

    parts = re.match(r"dictionary<values=(\w+), indices=(\w+), ordered=(\d)>", dtype)
    if parts is None:
        return pa.array(values.tolist()).cast(_pyarrow_type(dtype))
    dictionary = pa.dictionary(_pyarrow_type(parts[2]), _pyarrow_type(parts[1]), parts[3] == "1")
    return pa.array(values.tolist()).cast(dictionary.value_type).dictionary_encode().cast(dictionary)


def _pyarrow_dates(variable: ColumnType, dates: NDArray[np.datetime64]) -> Any:
    import pyarrow as pa

    if variable.dtype.startswith("timestamp"):
        kind = pa.timestamp(re.findall(r"\w+", variable.dtype)[1], time_zone(variable.dtype))
    else:
        kind = pa.date32() if variable.dtype.startswith("date32") else pa.date64()
    return pa.array(dates.astype("datetime64[us]")).cast(kind)


def _pyarrow_type(name: str) -> Any:
    import pyarrow as pa

    return pa.type_for_alias(name)


_BUILDERS: dict[str, Callable[[Sequence[ColumnType], Values, bool], Any]] = {
    "pandas": _build_pandas,
    "polars": _build_polars,
    "pyarrow": _build_pyarrow,
}
