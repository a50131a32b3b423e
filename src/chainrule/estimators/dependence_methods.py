"""What can be asked about the columns of a model: how much they depend on each other, what to ask next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import DataError, ParameterError
from chainrule.estimators.rows import make_generator
from chainrule.schema import Schema

if TYPE_CHECKING:
    from chainrule.estimators.dependence import Dependence, Question
    from chainrule.estimators.query_engines import QueryEngine

__all__ = ["DependenceMethods"]


def _answers_queries(estimator: DependenceMethods) -> bool:
    return estimator.answers_queries


class DependenceMethods(ABC):
    """Mutual information under an estimator whose model answers p(any column | any others)."""

    schema_: Schema

    @property
    @abstractmethod
    def answers_queries(self) -> bool:
        """Whether p(these | those) can be asked for at all."""

    @abstractmethod
    def query_engine(self, n_orders: int | None = None) -> QueryEngine:
        """Return the engine that answers `ConditionalQuery` objects, which are about codes."""

    @abstractmethod
    def _encode_fitted_context(self, context: Any, n_rows: int) -> np.ndarray | None:
        """Return the codes of the side information."""

    @abstractmethod
    def _codes_of(self, known: Any) -> np.ndarray:
        """Return the codes of rows, or one row of them from a mapping, NaN where nothing is known."""

    @available_if(_answers_queries)
    def dependence(
        self,
        *,
        n_rows: int = 1000,
        context: Any = None,
        n_orders: int | None = None,
        random_state: Any = 0,
    ) -> Dependence:
        """Return how much each two columns tell about each other, from the model itself.

        Mutual information in nats, normalised too, with standard errors. Over levels it is an exact sum; only
        of columns without levels, or of very many, values are drawn.

        Parameters
        ----------
        n_rows : int, default=1000
            How many values are drawn of a column that has more of them than that.
        context : array or DataFrame, shape (1, C), optional
            One context, under which the columns depend on each other as they do there.
        n_orders : int, optional
            As in `conditional`.
        random_state : None, int, Generator or RandomState, default=0

        Returns
        -------
        Dependence
            With `mutual_information`, `standard_error` and `normalised`, (D, D) each, and `pairs()`.

        Raises
        ------
        QueryError
            If the model's order is fixed.
        ParameterError
            If `n_rows` is no whole number of at least 2.

        Examples
        --------
        >>> from chainrule import OrderlessNADE
        >>> x1, x3 = np.random.default_rng(0).integers(0, 2, (2, 500))
        >>> X = np.stack([x1, x1, x3], axis=1)
        >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=60, random_state=0).fit(X)
        >>> pair = model.dependence().pairs()[0]
        >>> pair.first, pair.second, round(pair.normalised, 1)
        ('x1', 'x2', 1.0)
        """
        check_is_fitted(self, "schema_")
        from chainrule.estimators.dependence import find_dependence  # with its engine it brings PyTorch

        return find_dependence(
            self.query_engine(n_orders),
            make_generator(random_state),
            n_rows=_checked_rows(n_rows),
            context=self._encode_fitted_context(context, 1),
        )

    @available_if(_answers_queries)
    def next_question(
        self,
        target: str | int,
        *,
        given: Mapping[Any, Any] | None = None,
        n_rows: int = 1000,
        context: Any = None,
        n_orders: int | None = None,
        random_state: Any = 0,
    ) -> list[Question]:
        """Return the other columns, ranked by how much knowing them is expected to tell about one.

        That is I(column; target | what is given), in nats, under the model: by how much the entropy of the
        target falls on average once the column's value is known (Lindley 1956).

        Parameters
        ----------
        target : str or int
            By name or number from 0.
        given : mapping of column to value, optional
            What is known already.
        n_rows, context, n_orders, random_state
            As in `dependence`.

        Returns
        -------
        list of Question
            With `column`, `information` and `standard_error`, the best question first. Columns that are given
            are left out.

        Raises
        ------
        QueryError
            If the model's order is fixed, or the target is given.
        DataError
            If there is no such column, or it cannot have such a value.

        Examples
        --------
        >>> from chainrule import OrderlessNADE
        >>> x1, x3 = np.random.default_rng(0).integers(0, 2, (2, 500))
        >>> X = np.stack([x1, x1, x3], axis=1)
        >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=60, random_state=0).fit(X)
        >>> [question.column for question in model.next_question("x1")]
        ['x2', 'x3']
        """
        check_is_fitted(self, "schema_")
        from chainrule.estimators.dependence import rank_questions

        (d,) = self.schema_.column_numbers([target])
        if given is not None and not isinstance(given, Mapping):
            raise DataError(f"what is given is a mapping from columns to values, not {type(given).__name__}")
        return rank_questions(
            self.query_engine(n_orders),
            self._codes_of({} if given is None else given)[0],
            d,
            make_generator(random_state),
            n_rows=_checked_rows(n_rows),
            context=self._encode_fitted_context(context, 1),
        )


def _checked_rows(n_rows: Any) -> int:
    if not isinstance(n_rows, Integral) or n_rows < 2:
        raise ParameterError(f"n_rows must be a whole number of at least 2, got {n_rows!r}")
    return int(n_rows)
