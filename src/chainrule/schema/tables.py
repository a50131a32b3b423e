"""Read any supported container column by column."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError, ValueTypeError
from chainrule.schema.dates import days_or_seconds, days_or_seconds_of_objects, is_date_type
from chainrule.schema.values import Unit, plain_level

__all__ = ["Column", "Container", "Storage", "Table", "is_missing", "read_table", "refuse_missing"]

Container = Literal["numpy", "pandas", "polars", "pyarrow"]
Storage = Literal["boolean", "integer", "float", "text", "category", "mixed"]

_SUPPORTED = "a 2-D numpy array or a DataFrame (pandas, polars or pyarrow)"
_STORAGE_OF_UNIT: dict[Unit, Storage] = {"days": "integer", "seconds": "float"}
_STORAGE_OF_DTYPE: dict[str, Storage] = {"b": "boolean", "i": "integer", "u": "integer", "f": "float"}


@dataclass(frozen=True)
class Column:
    """The values of one column, without its missing cells.

    ``values`` are boolean, integer or float numbers for these storages, else Python objects.
    ``categories`` are the levels that a categorical dtype declares, in its order.
    ``present`` says which of the n rows have a value; it is None where all have one. ``unit`` is what
    numbers that stand for dates count.
    """

    name: str
    values: NDArray[Any]
    storage: Storage
    dtype: str
    categories: tuple[Any, ...] = ()
    present: NDArray[np.bool_] | None = None
    unit: Unit = ""

    @property
    def is_numeric(self) -> bool:
        """Whether the values are integers or floats."""
        return self.storage in ("integer", "float")

    def row(self, index: int) -> int:
        """Return the row, counted from 1, of value number `index`."""
        return index + 1 if self.present is None else int(np.flatnonzero(self.present)[index]) + 1

    def over_rows(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return one number per row from one per value: NaN where a row has no value."""
        if self.present is None:
            return numbers
        filled = np.full(len(self.present), np.nan)
        filled[self.present] = numbers
        return filled


@dataclass(frozen=True)
class Table:
    """A container's rows: either one numeric matrix (n, D), NaN where it is missing, or D columns."""

    container: Container
    dtype: str | None
    names: tuple[str, ...]
    n_rows: int
    matrix: NDArray[Any] | None = None
    columns: tuple[Column, ...] = ()
    integer_names: bool = False
    has_missing: bool = False

    @property
    def n_columns(self) -> int:
        """Number of columns, D."""
        return len(self.names)

    @property
    def named(self) -> bool:
        """Whether the container itself names its columns by strings."""
        return self.container != "numpy" and not self.integer_names

    def column(self, index: int) -> Column:
        """Return column number `index`, from 0."""
        if self.matrix is None:
            return self.columns[index]
        name, values, dtype = self.names[index], self.matrix[:, index], str(self.matrix.dtype)
        storage = _STORAGE_OF_DTYPE[values.dtype.kind]
        return (
            _float_column(name, values, dtype) if self.has_missing else Column(name, values, storage, dtype)
        )

    def take_columns(self, order: Sequence[int]) -> Table:
        """Return a DataFrame's table with its columns in another order."""
        names = tuple(self.names[index] for index in order)
        columns = tuple(self.columns[index] for index in order)
        return replace(self, names=names, columns=columns)


def read_table(data: Any) -> Table:
    """Read rows; refuse what is infinite or of an unsupported type, and tables without rows or columns.

    Parameters
    ----------
    data : array-like or DataFrame of shape (n, D)

    Raises
    ------
    DataError
        Naming the column and the first row (counted from 1) where the trouble is.
    """
    if hasattr(type(data), "collect"):
        raise DataError(f"X is a {type(data).__name__}; expected {_SUPPORTED}: call .collect() first")
    is_frame = hasattr(data, "columns") or hasattr(type(data), "column_names")
    return _read_frame(data) if is_frame else _read_array(_as_array(data))


def refuse_missing(table: Table, empty: Collection[int]) -> None:
    """Refuse missing cells in all columns but those numbers, which are known to be empty."""
    found = (table.column(d) for d in range(table.n_columns) if table.has_missing and d not in empty)
    column = next((column for column in found if column.present is not None), None)
    if column is None:
        return
    absent = ~cast("NDArray[np.bool_]", column.present)
    word = "NaN" if table.matrix is not None else "a missing value (NaN, null)"
    raise DataError(
        f"column {column.name!r} holds {word} in row {int(np.argmax(absent)) + 1} ({int(absent.sum())} such "
        "in the column): fill it in, drop the row, or fit a model of any order, which takes missing values: "
        "OrderlessNADE"
    )


# ---------------------------------------------------------------- arrays


def _as_array(data: Any) -> NDArray[Any]:
    if hasattr(type(data), "tocsr"):
        raise DataError("X is a sparse matrix; expected dense rows: pass X.toarray()")
    if isinstance(data, np.ma.MaskedArray):
        raise DataError(
            "X is a masked array; masked values are not modelled: fill them and pass a plain array"
        )
    if (
        not isinstance(data, np.ndarray)
        and not hasattr(data, "__array__")
        and not isinstance(data, (list, tuple))
    ):
        raise DataError(f"X is a {type(data).__name__}; expected {_SUPPORTED}")
    try:
        array = np.asarray(data)
        if np.issubdtype(array.dtype, np.character) and isinstance(data, (list, tuple)):
            array = np.asarray(data, dtype=object)  # keeps the numbers among the text
    except (ValueError, TypeError) as error:
        raise DataError(f"X is not a table: {error}") from error
    _check_shape(array)
    return array


def _check_shape(array: NDArray[Any]) -> None:
    if array.ndim < 2:
        raise DataError(
            f"X has shape {array.shape}; expected 2D array of rows and columns. Reshape your data: "
            "X.reshape(-1, 1) for one column, X.reshape(1, -1) for one row"
        )
    if array.ndim > 2:
        raise DataError(
            f"X has shape {array.shape}; expected (n, D): flatten each row, X.reshape(len(X), -1)"
        )
    _check_not_empty(array.shape)


def _check_not_empty(shape: tuple[int, ...]) -> None:
    if shape[1] == 0:
        raise DataError(f"X has 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    if shape[0] == 0:
        raise DataError(f"X has 0 sample(s) (shape={shape}) while a minimum of 1 is required.")


def _read_array(array: NDArray[Any]) -> Table:
    names = tuple(f"x{number}" for number in range(1, array.shape[1] + 1))
    dtype = str(array.dtype)
    letter = array.dtype.kind
    if letter in _STORAGE_OF_DTYPE:
        return Table("numpy", dtype, names, len(array), array, has_missing=_has_nan(array, names))
    if np.issubdtype(array.dtype, np.complexfloating):
        raise DataError("Complex data not supported: split the real and the imaginary part into columns")
    if letter not in "OU":
        raise DataError(f"X has dtype {dtype}, which is not supported: convert it to numbers or text")
    columns = tuple(_object_column(name, array[:, d].astype(object), dtype) for d, name in enumerate(names))
    return Table("numpy", dtype, names, len(array), columns=columns, has_missing=_any_missing(columns))


def _has_nan(matrix: NDArray[Any], names: Sequence[str]) -> bool:
    """Whether a matrix holds NaN; refuse infinity."""
    if not np.issubdtype(matrix.dtype, np.floating) or np.isfinite(matrix).all():
        return False
    infinite = np.isinf(matrix).any(axis=0)
    if infinite.any():
        first = int(np.argmax(infinite))
        _float_column(names[first], matrix[:, first], str(matrix.dtype))
    return True


# ---------------------------------------------------------------- columns


def _any_missing(columns: Iterable[Column]) -> bool:
    return any(column.present is not None for column in columns)


def _without(
    missing: NDArray[np.bool_], values: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the values that are there, and which these are (None: all)."""
    return (values[~missing], ~missing) if missing.any() else (values, None)


def _float_column(name: str, values: NDArray[Any], dtype: str) -> Column:
    values, present = _without(np.isnan(values), values)
    return _refuse_infinity(Column(name, values, "float", dtype, (), present))


def _refuse_infinity(column: Column) -> Column:
    """Return the column; refuse it where it holds infinity."""
    bad = np.isinf(column.values)
    if not bad.any():
        return column
    raise DataError(
        f"column {column.name!r} holds infinity (inf) in row {column.row(int(np.argmax(bad)))} "
        f"({int(bad.sum())} such in the column): replace it by a finite number or drop the row"
    )


def _object_column(name: str, values: NDArray[Any], dtype: str) -> Column:
    """Make a column of Python objects numeric where all of them are numbers."""
    missing = np.fromiter((is_missing(value) for value in values), dtype=bool, count=len(values))
    values, present = _without(missing, values)
    if len(values) and all(map(is_date_type, {type(value) for value in values})):
        numbers, unit = days_or_seconds_of_objects(values, name)
        return Column(name, numbers, _STORAGE_OF_UNIT[unit], dtype, (), present, unit)
    storage = _storage_of_objects(name, values)
    if storage not in ("boolean", "integer", "float"):
        return Column(name, values, storage, dtype, (), present)
    return _refuse_infinity(Column(name, _as_numbers(values, storage), storage, dtype, (), present))


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for a missing value: None, NaN, NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _storage_of_objects(name: str, values: Iterable[Any]) -> Storage:
    storages = {_storage_of_type(each, name) for each in {type(value) for value in values}}
    if len(storages) == 1:
        return storages.pop()
    return "float" if storages == {"integer", "float"} else "mixed"


def _storage_of_type(kind: type, name: str) -> Storage:
    if issubclass(kind, (bool, np.bool_)):
        return "boolean"
    if issubclass(kind, (int, np.integer)):
        return "integer"
    if issubclass(kind, (float, np.floating)):
        return "float"
    if issubclass(kind, str):
        return "text"
    raise ValueTypeError(
        f"column {name!r} holds values of type {kind.__name__}; each argument must be "
        "a string or a number: convert the column to numbers or text"
    )


def _as_numbers(values: NDArray[Any], storage: Storage) -> NDArray[Any]:
    if storage == "boolean":
        return values.astype(bool)
    try:
        return values.astype(np.int64 if storage == "integer" else np.float64)
    except OverflowError:  # integers beyond 64 bits
        return values.astype(np.float64)


# ---------------------------------------------------------------- data frames


def _read_frame(data: Any) -> Table:
    import narwhals as nw

    labels = list(data.columns) if hasattr(data, "columns") else []
    if hasattr(type(data), "column_names"):  # pyarrow, where `columns` are the values
        labels = list(data.column_names)
    integer_names = _has_integer_names(labels)
    _check_labels(labels, integer_names)
    if integer_names:
        data = data.set_axis([str(label) for label in labels], axis=1)
    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise DataError(f"X is a {type(data).__name__}; expected {_SUPPORTED}") from None
    container = _container(frame.implementation.value)
    _check_not_empty(frame.shape)
    columns = tuple(_frame_column(frame[name]) for name in frame.columns)
    names, has_missing = tuple(frame.columns), _any_missing(columns)
    return Table(container, None, names, len(frame), None, columns, integer_names, has_missing)


def _container(implementation: str) -> Container:
    containers: tuple[Container, ...] = ("pandas", "polars", "pyarrow")
    for container in containers:
        if implementation == container:
            return container
    raise DataError(f"X is a {implementation} DataFrame; expected {_SUPPORTED}")


def _has_integer_names(labels: Sequence[Any]) -> bool:
    return bool(labels) and all(isinstance(label, (int, np.integer)) for label in labels)


def _check_labels(labels: Sequence[Any], integer_names: bool) -> None:
    for label in labels:
        if not integer_names and not isinstance(label, str):
            raise DataError(
                f"column name {label!r} is a {type(label).__name__}; feature names are only supported if all "
                "are strings: rename the columns, X.columns = X.columns.map(str)"
            )
    seen: set[Any] = set()
    for label in labels:
        if label in seen:
            raise DataError(f"the column name {label!r} appears more than once: rename the columns")
        seen.add(label)


def _frame_column(series: Any) -> Column:
    """Read one narwhals Series."""
    import narwhals as nw

    name, token = series.name, _dtype_token(series)
    if series.dtype.is_float():  # nulls become NaN
        return _float_column(name, series.to_numpy().astype(np.float64), token)
    if series.dtype == nw.Object:
        return _object_column(name, _objects(series), token)
    if not series.null_count():
        return _complete_column(series, token)
    present = ~series.is_null().to_numpy().astype(bool)
    if not present.any():
        units: dict[type, Unit] = {nw.Date: "days", nw.Datetime: "seconds"}
        unit = units.get(type(series.dtype), "")
        return Column(name, np.empty(0, dtype=object), "mixed", token, (), present, unit)
    return replace(_complete_column(series.drop_nulls(), token), present=present)


def _complete_column(series: Any, token: str) -> Column:
    """Read a Series without nulls that is neither of floats nor of Python objects."""
    import narwhals as nw

    name, dtype = series.name, series.dtype
    if dtype == nw.Boolean:
        return Column(name, series.to_numpy().astype(bool), "boolean", token)
    if dtype.is_integer():
        kind = np.uint64 if str(dtype).startswith("U") else np.int64
        return Column(name, series.to_numpy().astype(kind), "integer", token)
    if isinstance(dtype, (nw.Categorical, nw.Enum)):
        categories = tuple(plain_level(level, name) for level in _declared_categories(series))
        return Column(name, _objects(series), "category", token, categories)
    if dtype == nw.String:
        return Column(name, _objects(series), "text", token)
    if isinstance(dtype, (nw.Date, nw.Datetime)):
        numbers, unit = days_or_seconds(series)
        return Column(name, numbers, _STORAGE_OF_UNIT[unit], token, (), None, unit)
    if dtype.is_temporal():
        raise DataError(
            f"column {name!r} holds times of day or durations ({dtype}), which are not modelled: "
            "drop it or turn it into numbers, such as seconds"
        )
    raise DataError(
        f"column {name!r} has dtype {dtype}, which is not supported: convert it to numbers or text"
    )


def _objects(series: Any) -> NDArray[Any]:
    return np.array([*series.to_list(), None], dtype=object)[:-1]  # None keeps numpy from making it 2-D


def _declared_categories(series: Any) -> list[Any]:
    """Return the levels that the dtype itself declares (pandas categories, polars Enum), in its order."""
    native = series.to_native()
    implementation = series.implementation.value
    if implementation == "pandas":
        return list(native.cat.categories)
    if implementation == "polars" and type(native.dtype).__name__ == "Enum":
        return list(native.dtype.categories)
    return []


def _dtype_token(series: Any) -> str:
    """Return a name of the native dtype from which the column can be rebuilt."""
    native = series.to_native()
    implementation = series.implementation.value
    if implementation == "pyarrow":
        return str(native.type)
    if implementation == "polars":
        name = str(type(native.dtype).__name__)
        return f"Datetime[{native.dtype.time_unit}, {native.dtype.time_zone}]" if name == "Datetime" else name
    token = str(native.dtype)
    return f"{token}[ordered]" if token == "category" and native.cat.ordered else token
