"""The schema of a table: all its variables, and the way to codes and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError, StorageError
from chainrule.schema.building import build_frame, build_object_array
from chainrule.schema.coding import check_codes, decode_column, decode_matrix, encode_table
from chainrule.schema.inference import infer_variables
from chainrule.schema.tables import Container, Table, read_table
from chainrule.schema.variables import Kind, Variable, pack_variables, unpack_variables

__all__ = ["Schema"]


@dataclass(frozen=True)
class Schema:
    """The variables of a table, learned from its training rows.

    Parameters
    ----------
    variables : tuple of Variable
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

    variables: tuple[Variable, ...]
    container: Container
    dtype: str | None = None
    integer_names: bool = False

    @classmethod
    def infer(cls, X: Any, kinds: str | Mapping[Any, str] | None = None) -> Schema:
        """Find the kind of every column from the training rows.

        An array of zeros and ones is binary; an array of integers is ordinal, with one range for all
        its columns (an image), unless it spans more than 1000; other arrays and DataFrames are read
        column by column.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, D)
            Training rows, at least two.
        kinds : str or mapping, optional
            The kind of all columns, or of some of them by name or number (from 0). A declared kind
            wins over what the values suggest.

        Raises
        ------
        DataError
            If the rows cannot be used as they are: naming the column, the row (counted from 1), and
            what to do.
        """
        table = read_table(X)
        variables = infer_variables(table, kinds)
        return cls(variables, table.container, table.dtype, table.integer_names)

    # ------------------------------------------------------------ facts

    @property
    def n_variables(self) -> int:
        """Number of variables, D."""
        return len(self.variables)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The variables' names."""
        return tuple(variable.name for variable in self.variables)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The variables' kinds."""
        return tuple(variable.kind for variable in self.variables)

    @cached_property
    def n_levels(self) -> tuple[int | None, ...]:
        """Number of codes of each variable; None for a continuous one."""
        return tuple(variable.n_levels for variable in self.variables)

    @cached_property
    def log_det(self) -> float:
        """What to add to a log-density of codes, in nats, for the density in the user's units."""
        scales = [variable.scale for variable in self.variables if variable.kind == "continuous"]
        return -float(np.log(scales).sum()) if scales else 0.0

    @property
    def is_discrete(self) -> bool:
        """Whether no variable is continuous, so that the model gives probabilities."""
        return "continuous" not in self.kinds

    @property
    def named(self) -> bool:
        """Whether the container names its columns by strings."""
        return self.container != "numpy" and not self.integer_names

    def describe(self) -> str:
        """Return a short summary: how many variables of which kinds."""
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(self.kinds).most_common())
        return f"{self.n_variables} variable{'s' * (self.n_variables != 1)}: {counts}"

    # ------------------------------------------------------------ codes

    def encode(self, X: Any, *, estimator: str = "Schema") -> NDArray[np.float32]:
        """Turn rows into codes.

        Ordinal values beyond the range of the training rows become the end levels, which stand for
        "that or less" and "that or more".

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, D)
            Columns of a DataFrame may come in any order.
        estimator : str
            Who asks, for the error message about a wrong number of columns.

        Returns
        -------
        ndarray of shape (n, D), float32, C-contiguous

        Raises
        ------
        DataError
            If columns are missing, or a value is missing, infinite, unseen or of the wrong type.
        """
        table = read_table(X)
        return encode_table(self._aligned(table, estimator), self.variables)

    def _aligned(self, table: Table, estimator: str) -> Table:
        """Return the table with its columns in the order of the variables."""
        by_name = self.named and table.named
        missing = [name for name in self.names if name not in set(table.names)] if by_name else []
        if table.n_columns != self.n_variables:
            raise DataError(self._width_message(table, estimator, missing, by_name))
        if missing:
            unknown = sorted(set(table.names) - set(self.names))
            raise DataError(f"X lacks the column(s) {_quoted(missing)} and has {_quoted(unknown)} instead")
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
            return f"{message}: it lacks {_quoted(missing)}"
        unknown = sorted(set(table.names) - set(self.names)) if by_name else []
        return f"{message}: drop {_quoted(unknown)}" if unknown else message

    def decode(self, codes: NDArray[Any]) -> Any:
        """Turn codes into rows in the user's container, columns, dtypes and units.

        Parameters
        ----------
        codes : ndarray of shape (n, D)

        Raises
        ------
        DataError
            If the shape is wrong, or a code is none of a variable's codes.
        """
        codes = check_codes(codes, self.variables)
        if self.container == "numpy":
            dtype = np.dtype(self.dtype)
            if dtype.kind in "biuf":
                return decode_matrix(codes, self.variables, dtype)
        values = [decode_column(codes[:, d], variable) for d, variable in enumerate(self.variables)]
        if self.container == "numpy":
            return build_object_array(values, str(self.dtype))
        return build_frame(self.container, self.variables, values, self.integer_names)

    # ------------------------------------------------------------ storage

    def to_dict(self) -> dict[str, Any]:
        """Return the schema in JSON-safe form; columns that are alike share an entry."""
        return {
            "container": self.container,
            "dtype": self.dtype,
            "integer_names": self.integer_names,
            "variables": pack_variables(self.variables, with_names=self.container != "numpy"),
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Schema:
        """Undo `to_dict`.

        Raises
        ------
        StorageError
            If the facts are not those of a schema.
        """
        try:
            variables = unpack_variables(facts["variables"])
            container, dtype, integer_names = facts["container"], facts["dtype"], facts["integer_names"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageError(f"the stored schema is damaged ({type(error).__name__}: {error})") from error
        if container not in get_args(Container) or not variables:
            raise StorageError(
                f"the stored schema is damaged (container {container!r}, {len(variables)} columns)"
            )
        return cls(variables, container, dtype, bool(integer_names))


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
