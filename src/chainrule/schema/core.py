"""The schema of a table: all its variables, and the way to codes and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.building import build_frame, build_matrix, build_object_array
from chainrule.schema.coding import (
    check_codes,
    decode_matrix,
    encode_table,
    in_formats,
    refuse_missing_codes,
    restore_rows,
    restore_values,
)
from chainrule.schema.inference import infer_columns
from chainrule.schema.lookup import column_numbers, encode_value
from chainrule.schema.packing import (
    MAX_COLUMNS,
    StoredSchema,
    check_container,
    pack_columns,
    unpack_columns,
)
from chainrule.schema.tables import Container, Table, read_table, refuse_missing
from chainrule.schema.types import ColumnType, Empty
from chainrule.schema.types.levels import OTHER
from chainrule.schema.values import quoted
from chainrule.storage import as_described

if TYPE_CHECKING:
    from chainrule.supports import Support

__all__ = ["Schema"]


@dataclass(frozen=True)
class Schema:
    """The variables of a table, learned from its training rows.

    Parameters
    ----------
    variables : tuple of ColumnType
        One per column, in the order of the columns.
    container : {"numpy", "pandas", "polars", "pyarrow"}
        What the rows came in, and what `decode` gives back.
    dtype : str or None
        The dtype of a numpy array; None for the other containers.
    integer_names : bool, default=False
        Whether a pandas table names its columns by integers, as ``pd.DataFrame(array)`` does.

    Examples
    --------
    >>> X = np.array([[0.5, 1.0], [1.5, 0.0], [2.5, 1.0]])
    >>> schema = Schema.infer(X)
    >>> schema.describe()
    '2 variables: 1 continuous, 1 binary'
    >>> np.allclose(schema.decode(schema.encode(X)), X)
    True
    """

    variables: tuple[ColumnType, ...]
    container: Container
    dtype: str | None = None
    integer_names: bool = False

    @classmethod
    def infer(cls, X: Any, kinds: str | Mapping[Any, str] | None = None, missing: bool = False) -> Schema:
        """Find the kind of every column from the training rows.

        An array of zeros and ones is binary; an array of integers is ordinal, with one range for all
        its columns (an image), unless it spans more than 1000; other arrays and DataFrames are read
        column by column. Of these columns are

        - binary: truth values, and whatever has two values;
        - categorical: text, categories, and at most ten different integers, in twice as many rows or more;
        - ordinal: other integers, of any dtype, that span less than 2**20, and dates (in days);
        - continuous: wider integers, real numbers, and times (in seconds). Numbers that make up 5 % of the
          rows, and ten of them, are point masses: the density is that of all others.

        Levels that come from values, and not from a categorical dtype, leave a share of 1 / (n + 1) of the
        probability to levels that are still to come. Text of more than 100 levels, if these are more than
        half of the rows, is refused; text and integers that are all different are warned about. Columns of
        arrays of real numbers are continuous, binary or constant, and have no point masses; nor have those
        that are declared continuous.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, D)
            Training rows, at least two.
        kinds : str or mapping, optional
            The kind of all columns, or of some of them by name or number (from 0). A declared kind
            wins over what the values suggest.
        missing : bool, default=False
            Whether cells may be missing (NaN, None, null). They are left out: the cells that are there
            tell the kinds, levels, ranges and scales. A column without any is warned about and kept as
            missing; it needs no permission.

        Raises
        ------
        DataError
            If the rows cannot be used as they are: naming the column, the row (counted from 1), and
            what to do.
        """
        table = read_table(X)
        variables = infer_columns(table, kinds, missing)
        return cls(variables, table.container, table.dtype, table.integer_names)

    def with_rows(self, codes: NDArray[Any], fine: Collection[int] = ()) -> Schema:
        """Return the schema with what column types learn of training rows alone, from their codes (n, D).

        Of the columns `fine`, by number, models are to see every level: nothing is learned of them.
        """
        each = enumerate(self.variables)
        return replace(self, variables=tuple(v if d in fine else v.with_rows(codes[:, d]) for d, v in each))

    # ------------------------------------------------------------ metadata

    @property
    def n_variables(self) -> int:
        """Number of variables, D."""
        return len(self.variables)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The variables' names."""
        return tuple(variable.name for variable in self.variables)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The variables' kinds."""
        return tuple(variable.kind for variable in self.variables)

    @property
    def n_parameters(self) -> int:
        """Number of frequencies that column types hold."""
        return sum(variable.n_parameters for variable in self.variables)

    @cached_property
    def supports(self) -> tuple[Support, ...]:
        """The codes that models see, of each variable."""
        return tuple(variable.support for variable in self.variables)

    @cached_property
    def n_codes(self) -> tuple[float, ...]:
        """Number of codes of each variable; infinite where there is no end."""
        return tuple(variable.n_codes for variable in self.variables)

    @property
    def is_discrete(self) -> bool:
        """Whether no variable has a density, so that the model gives probabilities."""
        return all(variable.is_discrete for variable in self.variables)

    @property
    def named(self) -> bool:
        """Whether the container names its columns by strings."""
        return self.container != "numpy" and not self.integer_names

    def describe(self) -> str:
        """Return a short summary: how many variables of which kinds."""
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(self.kinds).most_common())
        n_folded = sum(variable.n_folded_levels for variable in self.variables)
        folded = f"; {n_folded} rare levels are folded into {OTHER!r}" if n_folded else ""
        return f"{self.n_variables} variable{'s' * (self.n_variables != 1)}: {counts}{folded}"

    # ------------------------------------------------------------ codes

    def encode(
        self, X: Any, *, estimator: str = "Schema", missing: bool = False, unseen: float | None = None
    ) -> NDArray[np.float32]:
        """Turn rows into codes.

        Ordinal values beyond the range of the training rows become the end levels, which stand for
        "that or less" and "that or more".

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, D)
            Columns of a DataFrame may come in any order.
        estimator : str
            Who asks, for the error message about a wrong number of columns.
        missing : bool, default=False
            Whether cells may be missing (NaN, None, null); their code is NaN. Those of columns that were
            empty in the training rows always may.
        unseen : float, optional
            The code of a level that the training rows lack, such as `UNSEEN`, or NaN to take it for missing.
            Without it, such a level is refused. So are those that no share of probability is reserved for:
            where a categorical dtype, or 0 and 1, tells all levels that there can be.

        Returns
        -------
        ndarray of shape (n, D), float32, C-contiguous

        Raises
        ------
        DataError
            If columns are missing, or a value is missing, infinite, unseen or of the wrong type.
        """
        table = self.read(X, estimator)
        if not missing:
            refuse_missing(table, {d for d, each in enumerate(self.variables) if isinstance(each, Empty)})
        return encode_table(table, self.variables, unseen)

    def coarse(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return codes (n, D) as models see them: of integers of a very wide range, the numbers of bins."""
        if not self._refined:
            return codes
        seen = codes.copy()
        for d in self._refined:
            seen[:, d] = self.variables[d].coarse(codes[:, d])
        return seen

    def refine(self, codes: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Return codes (n, D) for codes as models see them, drawing what models do not see."""
        if not self._refined:
            return codes
        refined = codes.copy()
        for d in self._refined:
            refined[:, d] = self.variables[d].refine(codes[:, d], generator)
        return refined

    @property
    def is_refined(self) -> bool:
        """Whether models see less than the codes of some column."""
        return bool(self._refined)

    @cached_property
    def _refined(self) -> tuple[int, ...]:
        """Numbers of the columns of which models see less than the codes."""
        return tuple(d for d, each in enumerate(self.variables) if each.is_refined)

    def log_abs_det_jacobian(
        self, codes: NDArray[Any], query: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the term from the log-probability of rows of codes to that of the rows, nats, (n,).

        So the log-likelihood of rows X is ``model.log_prob(schema.coarse(codes)) +
        schema.log_abs_det_jacobian(codes)`` with ``codes = schema.encode(X)``.

        Parameters
        ----------
        codes : ndarray of shape (n, D)
            Missing values are NaN, levels never seen `UNSEEN`.
        query : ndarray of bool, shape (n, D), optional
            Whose probability it is; by default that of all.
        """
        if not self._varying and not self._seen_log_dets.any():
            return np.zeros(len(codes))
        cells = self.log_abs_det_jacobian_of_cells(codes)
        total: NDArray[np.float64] = cells.sum(axis=1, where=True if query is None else query)
        return total

    def log_abs_det_jacobian_of_cells(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the terms of `log_abs_det_jacobian`, (n, D); 0 for a missing value.

        For a real number, the log-determinant of standardising, unless it is a point mass, which has a
        probability and no density. For a level, the log of the share that is not reserved for levels never
        seen; for one of these, the log of the reserved share. For an integer in a bin, its log-probability
        there.
        """
        cells = np.tile(self._seen_log_dets, (len(codes), 1))
        for d in self._varying:
            cells[:, d] = self.variables[d].log_abs_det_jacobian(codes[:, d])
        cells[np.isnan(codes)] = 0.0
        return cells

    @cached_property
    def _seen_log_dets(self) -> NDArray[np.float64]:
        """The terms of `log_abs_det_jacobian` that are the same for all codes but `UNSEEN`, (D,)."""
        return np.array([variable.seen_log_det or 0.0 for variable in self.variables])

    @cached_property
    def _varying(self) -> tuple[int, ...]:
        """Numbers of the columns whose terms depend on the code."""
        return tuple(d for d, each in enumerate(self.variables) if each.seen_log_det is None or each.reserved)

    def read(self, X: Any, estimator: str = "Schema") -> Table:
        """Return the table of rows, its columns in the order of the variables; DataError if it has others."""
        return self._aligned(read_table(X), estimator)

    def _aligned(self, table: Table, estimator: str) -> Table:
        """Return the table with its columns in the order of the variables."""
        by_name = self.named and table.named
        known = set(table.names)
        missing = [name for name in self.names if name not in known] if by_name else []
        if table.n_columns != self.n_variables:
            raise DataError(self._width_message(table, estimator, missing, by_name))
        if missing:
            unknown = sorted(known - set(self.names))
            raise DataError(f"X lacks the column(s) {quoted(missing)} and has {quoted(unknown)} instead")
        if not by_name or table.names == self.names:
            return table
        position = {name: d for d, name in enumerate(table.names)}
        return table.take_columns([position[name] for name in self.names])

    def _width_message(self, table: Table, estimator: str, missing: Sequence[str], by_name: bool) -> str:
        message = (
            f"X has {table.n_columns} features, but {estimator} is expecting "
            f"{self.n_variables} features as input"
        )
        if missing:
            return f"{message}: it lacks {quoted(missing)}"
        unknown = sorted(set(table.names) - set(self.names)) if by_name else []
        return f"{message}: drop {quoted(unknown)}" if unknown else message

    def decode(self, codes: NDArray[Any], known: Any = None) -> Any:
        """Turn codes into rows in the user's container, columns, dtypes and units.

        A missing value is NaN in arrays of floats, None in arrays of objects, and null in DataFrames. In
        pandas, which cannot hold it among its own integers and booleans, these columns become float64
        and object.

        Parameters
        ----------
        codes : ndarray of shape (n, D)
            NaN is the code of a missing value.
        known : array-like or DataFrame of shape (m, D), or mapping from columns to values, optional
            What the codes are completions of: so many for each of the rows, which may have missing values,
            or all of what the mapping holds, as in `encode_values`. What is known comes back as it is:
            without the rounding of codes to single precision, and beyond the range of the training rows, too.

        Raises
        ------
        DataError
            If the shape is wrong, a code is none of a variable's codes, or a value is missing and the
            container is an array of integers, booleans or text.
        """
        codes = check_codes(codes, self.variables)
        if self.container == "numpy":
            dtype = np.dtype(self.dtype)
            if not (dtype.hasobject or np.issubdtype(dtype, np.floating)):
                refuse_missing_codes(codes, self.variables, self.dtype)
            if np.issubdtype(dtype, np.bool_) or np.issubdtype(dtype, np.number):
                matrix = decode_matrix(codes, self.variables, dtype)
                self._restore_values(list(matrix.T), known)
                self._restore_rows(list(matrix.T), known)
                return matrix
        values = [variable.decode_column(codes[:, d]) for d, variable in enumerate(self.variables)]
        self._restore_values(values, known)
        values = in_formats(values, self.variables)
        self._restore_rows(values, known)
        return self.build(values)

    def build(self, values: Sequence[NDArray[Any]]) -> Any:
        """Return rows in the user's container from the values of each column, None where one is missing.

        Dates are numbers in the column's unit, numbers in a format its texts.
        """
        if self.container != "numpy":
            return build_frame(self.container, self.variables, values, self.integer_names)
        if np.dtype(self.dtype).kind in "biuf":
            return build_matrix(values, str(self.dtype))
        return build_object_array(self.variables, values, str(self.dtype))

    def _restore_values(self, values: Sequence[NDArray[Any]], known: Any) -> None:
        """Write the numbers of a mapping into decoded columns."""
        if isinstance(known, Mapping):
            numbers = dict(zip(self.column_numbers(list(known)), known.values(), strict=True))
            restore_values(values, self.variables, numbers)

    def _restore_rows(self, values: Sequence[NDArray[Any]], known: Any) -> None:
        """Write what is there of rows into columns, from which rows are made."""
        if known is not None and not isinstance(known, Mapping):
            restore_rows(values, self.variables, self._aligned(read_table(known), "Schema"))

    # ------------------------------------------------------------ what a user names

    def column_numbers(self, columns: Any) -> list[int]:
        """Return the numbers, from 0, of columns.

        Parameters
        ----------
        columns : str, int or iterable of these
            Names, or numbers from 0; of a pandas table with integer column names, these names. The names
            of an array's columns are ``"x1"``, ``"x2"``, ...

        Raises
        ------
        DataError
            If a column is unknown or given twice.

        Examples
        --------
        >>> Schema.infer(np.eye(3)).column_numbers(["x3", 0])
        [2, 0]
        """
        return column_numbers(columns, self.names, self.integer_names)

    def encode_values(self, values: Mapping[Any, Any]) -> dict[int, float]:
        """Turn values of some columns into codes, by the columns' numbers.

        Parameters
        ----------
        values : mapping
            From a column, as in `column_numbers`, to its value: a level or a number, or the text that
            spells it (``"female"``, ``"39"``, ``"1.5"``, ``"True"``).

        Raises
        ------
        DataError
            If a column is unknown, or its value is none of its levels, beyond its range, or not finite.

        Examples
        --------
        >>> schema = Schema.infer([[17, "no"], [90, "yes"], [41, "yes"]])
        >>> schema.encode_values({"x1": "39", "x2": "yes"})
        {0: 22.0, 1: 1.0}
        """
        if not isinstance(values, Mapping):
            raise DataError(f"values must be a mapping from columns to values, got {type(values).__name__}")
        numbers = self.column_numbers(list(values))
        return {
            d: encode_value(values[key], self.variables[d]) for d, key in zip(numbers, values, strict=True)
        }

    # ------------------------------------------------------------ storage

    def to_dict(self) -> dict[str, Any]:
        """Return the schema in JSON-safe form; columns that are alike share an entry."""
        return {
            "container": self.container,
            "dtype": self.dtype,
            "integer_names": self.integer_names,
            "variables": pack_columns(self.variables, with_names=self.container != "numpy"),
        }

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any], max_columns: int = MAX_COLUMNS) -> Schema:
        """Undo `to_dict`.

        Raises
        ------
        StorageError
            If the metadata is not that of a schema, or is that of one of more columns than there may be.
        """
        stored = as_described(metadata, StoredSchema, "the schema")
        variables = unpack_columns(stored.variables, max_columns)
        check_container(stored, variables)
        return cls(variables, stored.container, stored.dtype, stored.integer_names)
