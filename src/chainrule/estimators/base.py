"""What every density estimator has in common: rows in any container in, nats per row out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from msgspec import structs
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import DataError, KindError, ParameterError
from chainrule.estimators.anomalies import CONTAMINATION, AnomalyMixin, offset_of, rows_for_offset
from chainrule.estimators.description import MAX_CONSTANT_COLUMNS, Description, SavedModel
from chainrule.estimators.finite import require_finite
from chainrule.estimators.parameters import argument_to_json, arguments_from_json
from chainrule.estimators.query_methods import Columns, QueryMethods
from chainrule.estimators.rows import CodedRows, as_columns, make_generator, split_rows, take, take_of_both
from chainrule.estimators.sklearn_bases import BaseEstimator, DensityMixin
from chainrule.estimators.surprisal import MarginalSurprisal, Surprisal, SurprisalMethods
from chainrule.estimators.unseen import Scorer, score_summed_over_unseen, warn_of_unseen
from chainrule.schema import COLUMN_TYPES, UNSEEN, Schema
from chainrule.storage import StoredArrays, as_described, write_folder
from chainrule.supports import Support

__all__ = ["DensityEstimator"]


class DensityEstimator(DensityMixin, AnomalyMixin, SurprisalMethods, QueryMethods, BaseEstimator, ABC):
    """Base of all estimators: a subclass sees only codes, the numbers inside a `Schema`.

    A subclass stores its parameters in ``__init__`` (among them `kinds`, `contamination` and `random_state`)
    and implements the five hooks at the end of this class.
    """

    supported: ClassVar[tuple[type[Support], ...]] = (Support,)
    """Supports of the columns that the model can have."""
    sees_bins: ClassVar[bool] = True
    """Whether integers of a very wide range are modelled in bins; see `LevelBins`."""
    supports_context: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, Any]] = {"contamination": CONTAMINATION}

    kinds: str | Mapping[Any, str] | None
    random_state: Any
    schema_: Schema
    context_schema_: Schema | None
    n_features_in_: int
    n_parameters_: int
    history_: Any = None
    likelihood_: str = "exact"
    # How a file that was read in pieces was split; None where rows were shuffled, or given as parts.
    split_: dict[str, Any] | None = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.supports_missing
        return tags

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        context: Any = None,
        X_val: Any = None,
        context_val: Any = None,
    ) -> Self:
        """Learn the distribution of the rows of `X`.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            Training rows.
        y : ignored
        context : array or DataFrame, shape (n, C), optional
            Side information; the model then is p(x | context).
        X_val, context_val : like `X` and `context`, optional
            Rows on which to stop early or to choose. Without them a `validation_fraction` of `X` is used.

        Raises
        ------
        DataError
            If rows cannot be used; the message names the column.
        KindError
            If a column is of a kind that this model cannot model.
        ParameterError
            If a constructor argument is out of its range.
        """
        self._check_parameters()
        before = dict(vars(self))
        try:
            self._fit(X, context, X_val, context_val)
        except OSError:
            raise  # The disk failed, not the fit: what was learned so far is kept.
        except Exception:
            # A fit that fails leaves the estimator as it was, not half of the old and half of the new.
            self.__dict__ = before
            raise
        return self

    def check(self, schema: Schema) -> None:
        """Raise what `fit` would raise of the constructor arguments and of the kinds of columns.

        Parameters
        ----------
        schema : Schema
            That of the rows to fit.
        """
        self._check_parameters()
        self._check_kinds(schema)

    def _fit(self, X: Any, context: Any, X_val: Any, context_val: Any) -> None:
        generator = make_generator(self.random_state)
        schema = Schema.infer(X, self._declared_kinds(), missing=self.supports_missing)
        self._check_kinds(schema)
        self._check_context_use(context, context_val, X_val)
        context_schema = None if context is None else Schema.infer(as_columns(context))
        codes = schema.encode(X, missing=self.supports_missing)
        fine = self._meet_rows(schema, codes)
        beside = self._encode_context(context_schema, context, len(codes))
        if X_val is None:
            fraction = getattr(self, "validation_fraction", 0.1)
            rows_train, rows_val = split_rows(len(codes), fraction, generator)
            codes, codes_val = codes[rows_train], codes[rows_val]
            beside, beside_val = take(beside, rows_train), take(beside, rows_val)
        else:
            codes_val = schema.encode(X_val, missing=self.supports_missing, unseen=UNSEEN)
            beside_val = self._encode_context(context_schema, context_val, len(codes_val))
        schema = schema.with_rows(codes, fine) if self.sees_bins else schema
        self._set_schema(schema, context_schema)
        known = (codes_val != UNSEEN).all(axis=1)  # rows with unseen levels would tell nothing to stop by
        self._fit_codes(
            self._coded_rows(codes, beside),
            self._coded_rows(codes_val[known], take(beside_val, known)) if known.any() else None,
            generator,
        )
        rows = rows_for_offset(self.contamination, len(codes), len(codes_val), codes.shape[1])
        some = take_of_both((codes, codes_val), rows), take_of_both((beside, beside_val), rows)
        self.offset_: float = offset_of(self.contamination, self.log_likelihoods(*some))

    def _meet_rows(self, schema: Schema, codes: np.ndarray) -> Collection[int]:
        """Look at all rows before a fit; return the columns of which models are to see every level."""
        return ()

    def _meet_rows_like(self, other: DensityEstimator) -> None:
        """Take over what another of the same parameters learned from all rows."""

    def _coded_rows(self, codes: np.ndarray, context: np.ndarray | None) -> CodedRows:
        log_det = float(self.schema_.log_abs_det_jacobian(codes).mean())
        return CodedRows(self.schema_.coarse(codes), context, log_det)

    def score_samples(
        self,
        X: Any,
        context: Any = None,
        *,
        given: Columns | None = None,
        of: Columns | None = None,
        n_orders: int | None = None,
        return_spread: bool = False,
    ) -> Any:
        """Return the log-likelihood of each row, float64 of shape (n,), or log p(these | those).

        Nats, in the units of `X`: the log-probability of discrete columns plus the log-density of continuous
        ones. A level that the training rows lack is warned about and counts with the share of probability
        that is reserved for such levels, as if its cell were missing otherwise.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            With missing values, if the model is of any order: they are left out, and the answer is about
            what is there.
        context : array or DataFrame, shape (n, C), optional
        given : column or sequence of columns, optional
            By name or number from 0: condition on these.
        of : column or sequence of columns, optional
            Whose probability is asked for; by default all that are not given.
        n_orders : int, optional
            Over how many orders the probabilities are averaged; by default the model's `n_orderings`.
        return_spread : bool
            Return also the standard deviation over the orders of each row's log-probability, (n,).

        Raises
        ------
        QueryError
            If a fixed order cannot answer the question.
        DataError
            If columns are unknown or both given and asked for, or rows cannot be used.
        ParameterError
            If `n_orders` is no positive number, or the spread is asked for of one order.

        Examples
        --------
        >>> from chainrule import OrderlessNADE
        >>> X = np.random.default_rng(0).integers(0, 2, (200, 3))
        >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=2, random_state=0).fit(X)
        >>> whole = model.score_samples(X, of=[0, 1])
        >>> parts = model.score_samples(X, of=0) + model.score_samples(X, of=1, given=0)
        >>> bool(np.allclose(whole, parts, atol=0.1))
        True
        """
        if given is not None or of is not None or n_orders is not None or return_spread:
            return self._score_query(X, context, given, of, n_orders, return_spread)
        return self.log_likelihoods(*self.encode_rows(X, context))

    def score(self, X: Any, y: Any = None, context: Any = None) -> float:
        """Return the mean log-likelihood of the rows in nats."""
        return float(self.score_samples(X, context).mean())

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Any = None,
        context: Any = None,
        n_orders: int | None = None,
        rules: Sequence[str] | None = None,
        random_state: Any = None,
    ) -> Any:
        """Draw rows from the fitted distribution, or from that of the rest given some values.

        Draws are exact and take the same time however improbable the given values are: none is rejected.

        Parameters
        ----------
        n_samples : int
            How many rows; if `given` are rows, how many completions of each.
        given : mapping of column to value, or rows with missing values, optional
            What all samples share, or rows to complete: each completion stands after the others of its row.
        context : array or DataFrame, shape (1, C), or one row per sample or per given row, optional
            With one row all are drawn given it.
        n_orders : int, optional
            From how many orders each sample's is drawn; by default the model's `n_orderings`.
        rules : sequence of str, optional
            Rules between columns that no sample breaks, beside those of the model; see `probability`.
        random_state : None, int, Generator or RandomState
            None draws anew at each call.

        Returns
        -------
        Rows in the container of the training data, with its columns and types.

        Raises
        ------
        QueryError
            If a fixed order cannot answer the question, or a rule cannot be.
        DataError
            If a column is unknown, a value is none that the column can have, or rows have other columns.
        """
        check_is_fitted(self, "schema_")
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ParameterError(f"n_samples must be a whole number of at least 1, got {n_samples!r}")
        if given is not None or n_orders is not None or rules:
            return self._sample_given(int(n_samples), given, context, n_orders, rules, random_state)
        n_context = 1 if context is None else len(as_columns(context))
        context_codes = self._encode_fitted_context(context, n_context)
        if context_codes is not None:
            if n_context not in (1, n_samples):
                raise DataError(f"context has {n_context} rows, expected 1 or n_samples = {n_samples}")
            context_codes = np.repeat(context_codes, n_samples // n_context, axis=0)
        return self._decode_whole(self.draw_codes(n_samples, make_generator(random_state), context_codes))

    def draw_codes(self, n: int, generator: np.random.Generator, context: np.ndarray | None) -> np.ndarray:
        """Return n drawn rows of codes, (n, D)."""
        return self.schema_.refine(self._sample_codes(n, generator, context), generator)

    def save(self, path: str | Path) -> None:
        """Save the fitted model into a folder: `model.safetensors` and `model.json`."""
        check_is_fitted(self, "schema_")
        metadata, arrays = self._describe()
        metadata["schema"] = self.schema_.to_dict()
        context_schema = self.context_schema_
        metadata["context_schema"] = None if context_schema is None else context_schema.to_dict()
        metadata |= {"offset": getattr(self, "offset_", None), "split": self.split_}
        write_folder(path, metadata, arrays)

    @classmethod
    def restore(cls, metadata: Mapping[str, Any], arrays: StoredArrays) -> Self:
        """Return the fitted estimator that `save` described."""
        saved = as_described(metadata, SavedModel, "the model")
        most = max(arrays.n_numbers, MAX_CONSTANT_COLUMNS)
        context_schema = (
            None if saved.context_schema is None else Schema.from_dict(saved.context_schema, most)
        )
        estimator = cls._from_description(saved, arrays, Schema.from_dict(saved.schema, most), context_schema)
        if saved.offset is not None:
            estimator.offset_ = saved.offset
        if saved.split is not None:
            estimator.split_ = structs.asdict(saved.split)
        return estimator

    def _describe(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return class, parameters and what was learned, but not the schemas: members share theirs."""
        state, arrays = self._get_state()
        parameters = self._parameters_to_json()
        return {"class": type(self).__name__, "parameters": parameters, "state": state}, arrays

    @classmethod
    def _from_description(
        cls,
        description: Description,
        arrays: StoredArrays,
        schema: Schema,
        context_schema: Schema | None,
    ) -> Self:
        """Return the fitted estimator that `_describe` described."""
        estimator = cls._from_json_parameters(description.parameters)
        estimator.check(schema)
        estimator._set_schema(schema, context_schema)
        estimator._set_state(description.state, arrays)
        return estimator

    def _parameters_to_json(self) -> dict[str, Any]:
        """Return the constructor arguments as JSON can hold them."""
        return {name: argument_to_json(value) for name, value in self.get_params(deep=False).items()}

    @classmethod
    def _from_json_parameters(cls, metadata: Mapping[str, Any]) -> Self:
        """Return the unfitted estimator whose arguments `_parameters_to_json` returned."""
        return cls(**arguments_from_json(metadata, cls))

    def _set_schema(self, schema: Schema, context_schema: Schema | None) -> None:
        self.__dict__.pop("offset_", None)  # that of an earlier fit, which this one may not live to replace
        self.schema_ = schema
        self.context_schema_ = context_schema
        self.n_features_in_ = schema.n_variables
        if schema.named:
            self.feature_names_in_: np.ndarray = np.array(schema.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def encode_rows(self, X: Any, context: Any = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the codes of rows and of their context."""
        check_is_fitted(self, "schema_")
        codes = self._encode_to_score(X)
        return codes, self._encode_fitted_context(context, len(codes))

    def log_likelihoods(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return nats per row of codes in the user's units, (n,), or refuse; levels may be `UNSEEN`."""
        scores = self._score_seen(self._score_codes, self.schema_.coarse(codes), context)
        scores = scores + self.schema_.log_abs_det_jacobian(codes)
        return require_finite(scores, codes, self.schema_, self.has_rules)

    def _encode_to_score(self, X: Any) -> np.ndarray:
        """Return the codes of rows; levels that the training rows lack are `UNSEEN` and warned about."""
        codes = self.schema_.encode(
            X, estimator=type(self).__name__, missing=self.supports_missing, unseen=UNSEEN
        )
        warn_of_unseen(codes, self.schema_)
        return codes

    def _score_seen(self, score: Scorer, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the scores of rows without those of their cells that are `UNSEEN`."""
        unseen = codes == UNSEEN
        if not unseen.any():
            return score(codes, context)
        if self.supports_missing:
            return score(np.where(unseen, np.nan, codes), context)
        return score_summed_over_unseen(score, codes, context, self.schema_.n_codes)

    def _declared_kinds(self) -> str | Mapping[Any, str] | None:
        """Return the kinds of columns that the user has set."""
        return self.kinds

    def _check_parameters(self) -> None:
        """Hold the constructor arguments against `_parameter_constraints`, in scikit-learn's form."""
        try:
            self._validate_params()
        except InvalidParameterError as error:
            raise ParameterError(str(error)) from None

    def _check_kinds(self, schema: Schema) -> None:
        for variable in schema.variables:
            if variable.n_codes != 1 and not issubclass(variable.support_type, self.supported):
                kinds = [k for k, t in COLUMN_TYPES.items() if issubclass(t.support_type, self.supported)]
                raise KindError(
                    f"{type(self).__name__} cannot model column {variable.name!r}, which is {variable.kind}; "
                    f"it models {', '.join(sorted(kinds))} columns"
                )

    def _check_context_use(self, context: Any, context_val: Any, X_val: Any) -> None:
        if context is not None and not self.supports_context:
            raise DataError(f"{type(self).__name__} takes no context; NADE and MADE do")
        if X_val is None and context_val is not None:
            raise DataError("context_val belongs to X_val, which is missing: give both or neither")
        if X_val is not None and (context is None) != (context_val is None):
            raise DataError("context and context_val go together: give both or neither with X_val")

    def _encode_fitted_context(self, context: Any, n_rows: int) -> np.ndarray | None:
        if (context is None) != (self.context_schema_ is None):
            expected = "no context" if self.context_schema_ is None else "a context, as in fit"
            raise DataError(f"this {type(self).__name__} expects {expected}")
        return self._encode_context(self.context_schema_, context, n_rows)

    def _encode_context(self, schema: Schema | None, context: Any, n_rows: int) -> np.ndarray | None:
        if schema is None:
            return None
        codes = schema.encode(as_columns(context), estimator=f"the context of {type(self).__name__}")
        if len(codes) != n_rows:
            raise DataError(f"context has {len(codes)} rows, expected {n_rows}, one per row of X")
        return codes

    @property
    def is_any_order(self) -> bool:
        """Whether the model is trained over all orders, and answers any question."""
        return False

    @property
    def has_rules(self) -> bool:
        """Whether rows that break a rule have no probability at all."""
        return bool(getattr(self, "rules", None))

    @property
    def supports_missing(self) -> bool:
        """Whether rows may have missing values, in `fit` and in `score_samples`."""
        return False

    @property
    def surprisal_given(self) -> Literal["others", "before"]:
        """Whether `surprisal` is given all other columns, or only those before: where the order is fixed."""
        return "others" if self.supports_missing else "before"

    def surprisals(self) -> Surprisal:
        """Return how the fitted model's log-likelihoods split over columns and cells, on codes."""
        check_is_fitted(self, "schema_")
        return MarginalSurprisal(self)

    @abstractmethod
    def _fit_codes(self, train: CodedRows, valid: CodedRows | None, generator: np.random.Generator) -> None:
        """Learn from rows; set `n_parameters_` and what the other hooks need."""

    @abstractmethod
    def _score_codes(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return nats per row of codes as `Schema.coarse` gives them, float64 (n,)."""

    @abstractmethod
    def _sample_codes(self, n: int, generator: np.random.Generator, context: np.ndarray | None) -> np.ndarray:
        """Return n drawn rows of codes as `Schema.coarse` gives them, (n, D)."""

    @abstractmethod
    def _get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the learned state: JSON-safe metadata and arrays."""

    @abstractmethod
    def _set_state(self, metadata: Mapping[str, Any], arrays: StoredArrays) -> None:
        """Take back what `_get_state` returned; StorageError if it could not have."""
