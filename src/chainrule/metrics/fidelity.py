"""All measures of drawn rows against real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.metrics.associations import associations, frequent_levels
from chainrule.metrics.cells import few_cells
from chainrule.metrics.classification import Auc, choose_target, tstr_auc
from chainrule.metrics.information import information_similarity, normalised_information
from chainrule.metrics.marginals import Marginal, marginal_distances
from chainrule.metrics.neighbours import TrainingRows, nearer_to_training
from chainrule.metrics.statistics import Summary
from chainrule.metrics.two_sample import TwoSampleTest, two_sample_test
from chainrule.storage import json_safe

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["Fidelity", "FidelityEvaluator", "FidelityReport"]

Codes = NDArray[np.float32]

_MAX_COLUMNS = 100  # of the matrix of associations
_MAX_ASSOCIATED_ROWS = 5000
_N_CELLS = 20  # of a column of numbers, for mutual information
_DISTANCES = 1e8  # between cells: half a second
_MAX_NEIGHBOURS, _MIN_NEIGHBOURS = 1000, 50
_MAX_REFERENCES = 5000  # training rows, and as many held-out ones, to which rows are near


@dataclass(frozen=True, eq=False)
class Fidelity:
    """What some rows have in common with real test rows.

    Attributes
    ----------
    codes : ndarray (n, D)
        The rows; NaN where a cell is missing.
    marginals : tuple of Marginal
        The distance of each column.
    associations : ndarray (D', D')
        How strongly pairs of columns go together in these rows.
    association_difference : float
        Mean absolute difference of that to the test rows, over all pairs.
    exact_matches : float
        The share of rows that equal a training row in every cell.
    distances_to_closest : ndarray
        The distance of some rows to their nearest training row.
    tstr_auc : Auc or None
        What a classifier that was trained on these rows achieves on the test rows; None without a target.
    c2st : TwoSampleTest
        How well trees tell these rows from the test rows.
    information_similarity : float
        How alike the normalised mutual information of pairs of columns is to that in the test rows, from 0
        to 1; pairs weigh as much as they depend on each other.
    nearer_to_training : Summary
        The share of some rows that lie nearer to a training row than to one of as many held-out rows: 0.5
        where nothing was memorised.
    """

    codes: Codes
    marginals: tuple[Marginal, ...]
    associations: NDArray[np.float64]
    association_difference: float
    exact_matches: float
    distances_to_closest: NDArray[np.float64]
    tstr_auc: Auc | None
    c2st: TwoSampleTest
    information_similarity: float
    nearer_to_training: Summary

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.codes)

    @property
    def mean_marginal_distance(self) -> float:
        """Mean distance over columns."""
        return _mean(np.array([marginal.distance for marginal in self.marginals]))

    @property
    def dcr(self) -> float:
        """Median distance to the closest (training) record."""
        return float(np.median(self.distances_to_closest))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-safe values under keys that stay stable."""
        names = [marginal.column for marginal in self.marginals]
        figures: dict[str, Any] = json_safe(
            {
                "n_rows": self.n_rows,
                "margin_distance": self.mean_marginal_distance,
                "margins": {marginal.column: marginal.distance for marginal in self.marginals},
                "association_difference": self.association_difference,
                "copies": self.exact_matches,
                "nearest_distance": self.dcr,
                "auc": None if self.tstr_auc is None else self.tstr_auc.value,
                "auc_standard_error": None if self.tstr_auc is None else self.tstr_auc.standard_error,
                "c2st": self.c2st.score.mean,
                "c2st_standard_error": self.c2st.score.standard_error,
                "c2st_auc": self.c2st.auc.value,
                "c2st_importances": dict(zip(names, self.c2st.importances.tolist(), strict=True)),
                "information_similarity": self.information_similarity,
                "nearer_to_training": self.nearer_to_training.mean,
                "nearer_to_training_standard_error": self.nearer_to_training.standard_error,
            }
        )
        return figures


class FidelityEvaluator:
    """Training and test rows of a table, against which drawn rows are measured.

    Parameters
    ----------
    schema : Schema
        Of the training rows.
    train, test : array or DataFrame
        The training rows are looked for among drawn rows, the test rows are compared with them.
    target : str, int or None, default="auto"
        The column that a classifier learns to predict. ``"auto"``: the last column of two to ten levels, if
        there is one with enough rows; None: no classifier.
    n_rows : int, optional
        How many rows are drawn, and how many training rows stand beside them; by default as many as there
        are training rows.
    random_state : int

    Raises
    ------
    DataError
        If the target is not a column of levels.

    Examples
    --------
    >>> from chainrule.schema import Schema
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 2, size=(200, 3)).astype(float)
    >>> real = FidelityEvaluator(Schema.infer(X[:100]), X[:100], X[100:], target=None)
    >>> fidelity = real.measure(X[:100])
    >>> fidelity.exact_matches, fidelity.dcr
    (1.0, 0.0)
    """

    def __init__(
        self,
        schema: Schema,
        train: Any,
        test: Any,
        *,
        target: str | int | None = "auto",
        n_rows: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.schema = schema
        self.train: Codes = schema.encode(train, missing=True)
        self.test: Codes = schema.encode(test, missing=True, unseen=math.nan)
        self.n_rows: int = min(n_rows or len(self.train), len(self.train))
        self.random_state = random_state
        self.target: int | None = self._target(target)
        self.n_columns: int = min(schema.n_variables, _MAX_COLUMNS)
        self._training_rows = TrainingRows(schema.variables, self.train)
        self._levels = frequent_levels(schema.variables[: self.n_columns], self.train)
        self.associations: NDArray[np.float64] = self._associations(self.test)
        seen = schema.coarse(self.train)
        self._cells = [few_cells(schema.variables[d], seen[:, d], _N_CELLS) for d in range(self.n_columns)]
        self._information = self._informations(self.test)

    @property
    def target_name(self) -> str | None:
        """The name of the column that a classifier learns to predict."""
        return None if self.target is None else self.schema.names[self.target]

    def measure(self, rows: Any) -> Fidelity:
        """Return the measures of drawn rows against the test rows.

        Where training rows have missing cells and none of `rows` has any, each first gets the missing
        cells of a training row, drawn at random: a model that draws complete rows says nothing about them.
        """
        codes = self._with_missing_cells(self.schema.encode(rows, missing=True, unseen=math.nan))
        return self._measure(codes, self._training_rows.are_exact_matches(codes), self._some(codes))

    @cached_property
    def real(self) -> Fidelity:
        """What real rows have in common with the test rows: no model can be expected to do better.

        Exact matches and distances to training rows are those of the test rows, of one half of which the
        share is that lies nearer to training rows than to the other half. All else is that of training rows,
        as many as are drawn.
        """
        codes = self._rows_of_training()
        are_exact_matches = self._training_rows.are_exact_matches(self.test)
        return self._measure(codes, are_exact_matches, self._some(self.test), self._halves[0])

    def _measure(
        self, codes: Codes, are_exact_matches: NDArray[np.bool_], some: Codes, new: Codes | None = None
    ) -> Fidelity:
        """Return the measures of rows; `new` are those whose nearest row is looked for, by default these."""
        variables, found = self.schema.variables, self._associations(codes)
        pairs = np.triu_indices(self.n_columns, 1)
        return Fidelity(
            codes=codes,
            marginals=marginal_distances(variables, self.test, codes),
            associations=found,
            association_difference=_mean(np.abs(found - self.associations)[pairs]),
            exact_matches=float(are_exact_matches.mean()),
            distances_to_closest=self._training_rows.nearest(some),
            tstr_auc=(
                None
                if self.target is None
                else tstr_auc(codes, self.test, variables, self.target, self.random_state)
            ),
            c2st=two_sample_test(variables, self.test, codes, self.random_state),
            information_similarity=information_similarity(self._information, self._informations(codes)),
            nearer_to_training=self._nearer_to_training(codes if new is None else new),
        )

    def _associations(self, codes: Codes) -> NDArray[np.float64]:
        variables = self.schema.variables[: self.n_columns]
        return associations(variables, codes[:_MAX_ASSOCIATED_ROWS, : self.n_columns], self._levels)

    def _informations(self, codes: Codes) -> NDArray[np.float64]:
        some = codes[:_MAX_ASSOCIATED_ROWS]
        return normalised_information(self.schema, some, range(self.n_columns), self._cells)

    @cached_property
    def _halves(self) -> tuple[Codes, Codes]:
        """The test rows in two halves at random: new rows, and held-out ones to be near to."""
        rows = np.random.default_rng(self.random_state).permutation(self.test)
        half = len(rows) // 2
        return rows[:half], rows[half:]

    def _nearer_to_training(self, codes: Codes) -> Summary:
        held_out = self._halves[1]
        n = min(len(self.train), len(held_out), _MAX_REFERENCES)
        if not n or not len(codes):
            return Summary(math.nan, math.nan, 0)
        train = np.random.default_rng(self.random_state).permutation(self.train)[:n]
        return nearer_to_training(self.schema.variables, self._some(codes), train, held_out[:n])

    def _rows_of_training(self) -> Codes:
        rng = np.random.default_rng(self.random_state)
        rows: Codes = self.train[rng.permutation(len(self.train))[: self.n_rows]]
        return rows

    def _some(self, codes: Codes) -> Codes:
        """Return so many rows that their neighbours are found quickly."""
        most = int(np.clip(_DISTANCES // self.train.size, _MIN_NEIGHBOURS, _MAX_NEIGHBOURS))
        rng = np.random.default_rng(self.random_state)
        return codes if len(codes) <= most else codes[rng.permutation(len(codes))[:most]]

    def _with_missing_cells(self, codes: Codes) -> Codes:
        if np.isnan(codes).any() or not np.isnan(self.train).any():
            return codes
        rng = np.random.default_rng(self.random_state)
        like = rng.integers(len(self.train), size=len(codes))
        return np.where(np.isnan(self.train[like]), np.float32(np.nan), codes)

    def _target(self, target: str | int | None) -> int | None:
        variables = self.schema.variables
        if target == "auto":
            return choose_target(variables, self.train, self.test)
        if target is None:
            return None
        number = self.schema.names.index(target) if target in self.schema.names else target
        if not isinstance(number, int) or not 0 <= number < len(variables):
            raise DataError(f"there is no column {target!r} to predict")
        if variables[number].is_numeric:
            raise DataError(
                f"column {variables[number].name!r} is {variables[number].kind}: a classifier needs a "
                "binary or categorical column to predict"
            )
        return number


@dataclass(frozen=True, eq=False)
class FidelityReport:
    """How the rows that models draw compare with real rows of a table.

    Attributes
    ----------
    n_rows : int
        How many rows each model drew, and how many training rows stand beside them.
    target : str or None
        The column that classifiers predict.
    names : tuple of str
        Of all columns.
    columns : tuple of str
        Those of the matrices of associations.
    associations : ndarray (D', D')
        How strongly pairs of columns go together in the test rows.
    test : ndarray (m, D)
        Codes of the test rows.
    real : Fidelity
        The same measures of real rows.
    models : mapping of str to Fidelity
        By the name of the model.
    """

    n_rows: int
    target: str | None
    names: tuple[str, ...]
    columns: tuple[str, ...]
    associations: NDArray[np.float64]
    test: Codes
    real: Fidelity
    models: Mapping[str, Fidelity]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures under keys that stay stable."""
        return {
            "n_rows": self.n_rows,
            "target": self.target,
            "real": self.real.to_dict(),
            "models": {name: fidelity.to_dict() for name, fidelity in self.models.items()},
        }


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
