"""Our estimators where SDV's synthesizers are expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import narwhals as nw
import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import DataError, StorageError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.loading import load
from chainrule.estimators.orderless import OrderlessNADE
from chainrule.estimators.rows import make_generator
from chainrule.estimators.sklearn_bases import BaseEstimator
from chainrule.storage import as_described, write_json

__all__ = ["SDVSynthesizer"]

_FILE = "synthesizer.json"
_KINDS = {"categorical": "categorical", "boolean": "categorical"}
_ID = "id"


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """What is saved beside the model."""

    columns: list[str]
    ids: list[str]


class SDVSynthesizer(BaseEstimator):
    """A density estimator with the interface of SDV's single-table synthesizers.

    It can stand wherever such a synthesizer can, for example in SDV's own evaluation; SDV itself is not
    needed. Conditions are met exactly, whatever they are: no row is drawn and rejected.

    Parameters
    ----------
    metadata : object or mapping, optional
        SDV's metadata, or what its ``to_dict`` returns. Columns of sdtype "categorical" or "boolean" become
        categorical; those of sdtype "id" are not learned: drawn rows are numbered there. Of all others
        the kind is inferred.
    estimator : density estimator, optional
        Not fitted; copied before the fit. By default ``OrderlessNADE()``, which meets any condition.
    random_state : None, int, Generator or RandomState
        Of draws; `reset_sampling` begins anew with it.

    Attributes
    ----------
    estimator_ : density estimator
        Fitted.

    Examples
    --------
    >>> import polars as pl
    >>> from chainrule import Independent
    >>> people = pl.DataFrame({"age": [20, 30, 40, 50] * 50, "sex": ["f", "m"] * 100})
    >>> synthesizer = SDVSynthesizer(estimator=Independent(), random_state=0)
    >>> synthesizer.fit(people)
    >>> synthesizer.sample(num_rows=3).shape
    (3, 2)
    """

    def __init__(
        self,
        metadata: Any = None,
        estimator: DensityEstimator | None = None,
        random_state: Any = None,
    ) -> None:
        self.metadata = metadata
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, data: Any) -> None:
        """Learn the distribution of a table.

        Parameters
        ----------
        data : DataFrame

        Raises
        ------
        DataError
            If the metadata describe several tables or other columns, or rows cannot be used.
        """
        frame = nw.from_native(data, eager_only=True)
        sdtypes = _sdtypes_of(self.metadata)
        if unknown := sorted(set(sdtypes) - set(frame.columns)):
            raise DataError(f"the metadata describe the column {unknown[0]!r}, which the table lacks")
        self._columns = list(frame.columns)
        self._ids = [name for name in self._columns if sdtypes.get(name) == _ID]
        estimator = OrderlessNADE() if self.estimator is None else clone(self.estimator)
        kinds = {name: _KINDS[sdtype] for name, sdtype in sdtypes.items() if sdtype in _KINDS}
        if kinds and estimator.kinds is None:
            estimator.set_params(kinds=kinds)
        self.estimator_: DensityEstimator = estimator.fit(frame.drop(self._ids).to_native())
        self.reset_sampling()

    def sample(self, num_rows: int) -> Any:
        """Draw rows.

        Parameters
        ----------
        num_rows : int

        Returns
        -------
        DataFrame
            In the container, columns and types of the table that was learned from.
        """
        check_is_fitted(self, "estimator_")
        return self._numbered(self.estimator_.sample(num_rows, random_state=self._generator))

    def sample_from_conditions(self, conditions: Iterable[Any]) -> Any:
        """Draw rows that have given values.

        Parameters
        ----------
        conditions : iterable of Condition
            SDV's, or any objects with ``get_num_rows()`` and ``get_column_values()``.

        Returns
        -------
        DataFrame
            The rows of the first condition, those of the second, ...

        Raises
        ------
        QueryError
            If the model's order is fixed and cannot answer.
        DataError
            If there is no condition, or a column is unknown, or a value is none that it can have.
        """
        check_is_fitted(self, "estimator_")
        parts = [
            self.estimator_.sample(
                condition.get_num_rows(),
                given=dict(condition.get_column_values()),
                random_state=self._generator,
            )
            for condition in conditions
        ]
        if not parts:
            raise DataError("no conditions: give at least one")
        frames = [nw.from_native(part, eager_only=True) for part in parts]
        return self._numbered(nw.concat(frames).to_native())

    def sample_remaining_columns(self, known_columns: Any) -> Any:
        """Draw the other columns of rows of which some columns are known.

        Parameters
        ----------
        known_columns : DataFrame
            Rows with some of the columns.

        Returns
        -------
        DataFrame
            As many rows, in the same order, with what is known as it is.

        Raises
        ------
        QueryError, DataError
            As in `sample_from_conditions`.
        """
        check_is_fitted(self, "estimator_")
        known = nw.from_native(known_columns, eager_only=True)
        if unknown := sorted(set(known.columns) - set(self._columns)):
            raise DataError(f"known_columns has the column {unknown[0]!r}, which the model lacks")
        known = known.drop([name for name in self._ids if name in known.columns])
        missing = [nw.lit(None).alias(name) for name in self._learned if name not in known.columns]
        whole = known.with_columns(*missing).select(self._learned)
        return self._numbered(self.estimator_.sample(given=whole.to_native(), random_state=self._generator))

    def reset_sampling(self) -> None:
        """Let the next draws be those of a new synthesizer, if there is a `random_state`."""
        self._generator = make_generator(self.random_state)

    def save(self, filepath: str | Path) -> None:
        """Save the fitted model into a folder, where `chainrule.load` finds it, too."""
        check_is_fitted(self, "estimator_")
        self.estimator_.save(filepath)
        write_json(Path(filepath) / _FILE, {"columns": self._columns, "ids": self._ids})

    @classmethod
    def load(cls, filepath: str | Path) -> Self:
        """Return the synthesizer that was saved into a folder.

        Raises
        ------
        StorageError
            If there is none, or it was altered.
        """
        path = Path(filepath) / _FILE
        try:
            saved = as_described(msgspec.json.decode(path.read_bytes()), _Saved, str(path))
        except (OSError, msgspec.DecodeError) as error:
            raise StorageError(f"{filepath} holds no synthesizer: {error}") from error
        synthesizer = cls()
        synthesizer.estimator_ = load(filepath)
        synthesizer._columns, synthesizer._ids = saved.columns, saved.ids
        if sorted(synthesizer._learned) != sorted(synthesizer.estimator_.schema_.names):
            raise StorageError(f"{path} names other columns than the model: it belongs to another one")
        synthesizer.reset_sampling()
        return synthesizer

    @property
    def _learned(self) -> list[str]:
        """The names of the columns that the model has."""
        return [name for name in self._columns if name not in self._ids]

    def _numbered(self, rows: Any) -> Any:
        """Return rows with numbers from 0 in the columns that only tell them apart."""
        if not self._ids:
            return rows
        frame = nw.from_native(rows, eager_only=True)
        space = nw.get_native_namespace(frame)
        numbers = [nw.new_series(name, np.arange(len(frame)), nw.Int64, backend=space) for name in self._ids]
        return frame.with_columns(*numbers).select(self._columns).to_native()


def _sdtypes_of(metadata: Any) -> dict[str, str]:
    """Return what SDV's metadata say of each column."""
    if metadata is None:
        return {}
    described: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else metadata.to_dict()
    tables: Sequence[Mapping[str, Any]] = list(described.get("tables", {"": described}).values())
    if len(tables) != 1:
        raise DataError(f"the metadata describe {len(tables)} tables, expected one")
    return {name: column.get("sdtype", "") for name, column in tables[0].get("columns", {}).items()}
