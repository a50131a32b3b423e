"""Ensembles of independently fitted members: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from joblib import Parallel, delayed
from msgspec import Meta, Struct
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import QueryError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.chain_surprisal import EnsembleSurprisal
from chainrule.estimators.conditional_query import ADVICE
from chainrule.estimators.description import Description, Template
from chainrule.estimators.loading import find_class
from chainrule.estimators.made import MADE
from chainrule.estimators.parameters import COUNT, SHARED_CONSTRAINTS, check_checkpoint
from chainrule.estimators.query_engines import EnsembleQueryEngine
from chainrule.estimators.rows import CodedRows, make_generator, split_rows
from chainrule.schema import Schema
from chainrule.storage import StoredArrays, as_described

__all__ = ["Ensemble"]

_SEEDS = 2**31 - 1


class _EnsembleState(Struct, forbid_unknown_fields=True):
    """What a saved ensemble says of its members."""

    members: Annotated[list[Description], Meta(min_length=1)]


class Ensemble(DensityEstimator):
    """Several members, each fitted by itself to the same rows; the model is the mean of their probabilities.

    Members differ in their seeds, so in their first weights and the order of their batches. Where `estimator`
    takes the variables in their natural order, the first member does so too and every other one draws an
    order of its own. Questions p(these | those) get the mean of the members' answers, where each of them has
    one.

    Parameters
    ----------
    estimator : density estimator, optional
        What to fit: any estimator of this library, by default ``MADE()``. Each member is a clone of it, with
        its own `random_state`; a `checkpoint` becomes one file per member, so that a fit that goes on takes
        those that are done as they are. Its parameters can be set from
        here, as in ``set_params(estimator__hidden_sizes=(50,))``.
    n_members : int
        How many members to fit, one after the other, or several at a time under `joblib.parallel_config`,
        whose backend may be a cluster.
    kinds : str or mapping, optional
        Kind of all columns, or of single ones, such as "ordinal" or "count". By default
        those of `estimator`.
    contamination : "auto" or float
        Share of rows that are anomalies, in (0, 0.5]; see `predict`.
    validation_fraction : float
        Share of the training rows to validate on when `fit` is given no `X_val`; the same rows for all
        members.
    pool_validation : bool
        Let the validation rows, also those of `X_val`, join the training rows, of which each member then
        draws as many of its own to validate on: together the members learn from all rows. With a few hundred
        rows that is worth a lot, with many it is worth nothing.
    verbose : bool
        Show a progress bar for each member, as ``estimator__verbose`` does.
    random_state : int, Generator or RandomState, optional
        Draws the validation rows and the seeds of the members.

    Attributes
    ----------
    members_ : list of density estimators
        The fitted members; each can score and sample by itself.
    schema_ : Schema
    n_parameters_ : int
        Of all members together.
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import Ensemble, NADE
    >>> X = np.random.default_rng(0).integers(0, 2, (200, 3))
    >>> nade = NADE(hidden_size=8, max_epochs=2)
    >>> model = Ensemble(nade, n_members=3, random_state=0).fit(X)
    >>> model.member_scores(X[:5]).shape
    (3, 5)
    >>> mean = np.exp(model.member_scores(X[:5])).mean(axis=0)
    >>> np.allclose(model.score_samples(X[:5]), np.log(mean))
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **DensityEstimator._parameter_constraints,
        "estimator": [DensityEstimator, None],
        "n_members": [COUNT],
        "pool_validation": ["boolean"],
        **SHARED_CONSTRAINTS,
    }

    members_: list[DensityEstimator]
    # What has looked at all rows in place of the members, while they are fitted.
    _met: DensityEstimator | None = None

    def __init__(
        self,
        estimator: DensityEstimator | None = None,
        n_members: int = 8,
        *,
        kinds: str | Mapping[Any, str] | None = None,
        contamination: float | str = "auto",
        validation_fraction: float = 0.1,
        pool_validation: bool = False,
        verbose: bool | int = False,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_members = n_members
        self.kinds = kinds
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.pool_validation = pool_validation
        self.verbose = verbose
        self.random_state = random_state

    def member_scores(self, X: Any, context: Any = None) -> np.ndarray:
        """Return the log-likelihood of each row under each member, float64 of shape (n_members, n).

        The first k rows of it make the scores of the ensemble of the first k members:
        ``logsumexp(scores[:k], axis=0) - log(k)``.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
        context : array or DataFrame, shape (n, C), optional
            As in `score_samples`.
        """
        check_is_fitted(self, "schema_")
        codes = self._encode_to_score(X)
        context_codes = self._encode_fitted_context(context, len(codes))
        return np.stack([member.log_likelihoods(codes, context_codes) for member in self.members_])

    @property
    def is_any_order(self) -> bool:
        """Whether the members are models of any order."""
        return self._template().is_any_order

    @property
    def supports_missing(self) -> bool:
        """Whether rows may have missing values: where the members take them."""
        return self._template().supports_missing

    def _template(self) -> DensityEstimator:
        return MADE() if self.estimator is None else self.estimator

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._template()._check_parameters()

    @property
    def has_rules(self) -> bool:
        """Whether rows that break a rule have no probability at all: if that is so of the members."""
        return self._template().has_rules

    def _check_kinds(self, schema: Schema) -> None:
        self._template()._check_kinds(schema)

    def _check_context_use(self, context: Any, context_val: Any, X_val: Any) -> None:
        self._template()._check_context_use(context, context_val, X_val)

    def _declared_kinds(self) -> str | Mapping[Any, str] | None:
        return self._template()._declared_kinds() if self.kinds is None else self.kinds

    def _meet_rows(self, schema: Schema, codes: np.ndarray) -> Collection[int]:
        """Let one estimator look at all rows, of which the members learn; return what it returns."""
        self._met = clone(self._template())
        return self._met._meet_rows(schema, codes)

    def _meet_rows_like(self, other: DensityEstimator) -> None:
        self._met = getattr(other, "_met", None)

    def _new_member(self, number: int, seed: int) -> DensityEstimator:
        """Return the unfitted member of that number, counted from 0."""
        member: DensityEstimator = clone(self._template())
        parameters = member.get_params(deep=False)
        changes: dict[str, Any] = {"random_state": seed, "kinds": self._declared_kinds()}
        ordering = parameters.get("ordering")
        # A string only: an order that the user gives is what every member is to have.
        if number > 0 and isinstance(ordering, str) and ordering == "natural":
            changes["ordering"] = "random"
        if parameters.get("checkpoint") is not None:
            check_checkpoint(parameters["checkpoint"], self.random_state)
            path = Path(parameters["checkpoint"])
            changes["checkpoint"] = path.with_name(f"{path.name}.{number}")
        if self.verbose and "verbose" in parameters:
            changes["verbose"] = self.verbose
        member.set_params(**changes)
        return member

    def _fit_codes(self, train: CodedRows, valid: CodedRows | None, generator: np.random.Generator) -> None:
        fraction = 0.0
        if valid is not None and self.pool_validation:
            train, valid, fraction = train.joined(valid), None, self.validation_fraction
        seeds = generator.integers(_SEEDS, size=self.n_members).tolist()
        members = [self._new_member(number, seed) for number, seed in enumerate(seeds)]
        for member in members:
            member._set_schema(self.schema_, self.context_schema_)
            if self._met is not None:
                member._meet_rows_like(self._met)
        parallel = Parallel()
        try:
            if parallel.n_jobs == 1:
                for member, seed in zip(members, seeds, strict=True):
                    _fit_member(member, train, valid, fraction, seed)
            else:
                work = delayed(_fit_member)
                members = parallel(
                    work(member, train, valid, fraction, seed)
                    for member, seed in zip(members, seeds, strict=True)
                )
        finally:
            self._met = None
            # A fit that is interrupted keeps the members that it has, the last one with its best weights.
            fitted = [member for member in members if hasattr(member, "n_parameters_")]
            if fitted:
                self._keep(fitted)

    def _keep(self, members: list[DensityEstimator]) -> None:
        self.members_ = members
        self.n_parameters_: int = sum(member.n_parameters_ for member in members)
        self.likelihood_: str = members[0].likelihood_

    def _score_codes(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        total = np.full(len(codes), -np.inf)
        for member in self.members_:
            np.logaddexp(total, member._score_codes(codes, context), out=total)
        return total - np.log(len(self.members_))

    def surprisals(self) -> EnsembleSurprisal:
        """Return how the fitted model's log-likelihoods split over columns and cells, on codes."""
        check_is_fitted(self, "schema_")
        return EnsembleSurprisal(self, self.members_)

    def _sample_codes(self, n: int, generator: np.random.Generator, context: np.ndarray | None) -> np.ndarray:
        codes = np.empty((n, self.schema_.n_variables), dtype=np.float32)
        drawn = generator.integers(len(self.members_), size=n)
        for number, member in enumerate(self.members_):
            rows = np.flatnonzero(drawn == number)
            if len(rows):
                given = None if context is None else context[rows]
                codes[rows] = member._sample_codes(len(rows), generator, given)
        return codes

    @property
    def answers_queries(self) -> bool:
        """Whether p(these | those) can be asked for: yes, as far as the members answer."""
        return True

    def query_engine(self, n_orders: int | None = None) -> EnsembleQueryEngine:
        """Return the engine that asks all members, each under `n_orders` orders."""
        check_is_fitted(self, "schema_")
        if not self.members_[0].answers_queries:
            raise QueryError(
                f"members of class {type(self.members_[0]).__name__} answer no questions p(these | those). "
                f"{ADVICE}"
            )
        return EnsembleQueryEngine([member.query_engine(n_orders) for member in self.members_])

    def _get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        metadata, arrays = [], {}
        for number, member in enumerate(self.members_):
            member_facts, member_arrays = member._describe()
            metadata.append(member_facts)
            arrays.update({f"{number}.{name}": array for name, array in member_arrays.items()})
        return {"members": metadata}, arrays

    def _set_state(self, metadata: Mapping[str, Any], arrays: StoredArrays) -> None:
        members = as_described(metadata, _EnsembleState, "the state").members
        arrays_of = [arrays.under(f"{number}.") for number in range(len(members))]
        arrays.without(f"{n}.{name}" for n, own in enumerate(arrays_of) for name in own).read_all({})
        self._keep(
            [
                find_class(member.class_)._from_description(member, own, self.schema_, self.context_schema_)
                for member, own in zip(members, arrays_of, strict=True)
            ]
        )

    def _parameters_to_json(self) -> dict[str, Any]:
        metadata = super()._parameters_to_json()
        if self.estimator is not None:
            metadata["estimator"] = {
                "class": type(self.estimator).__name__,
                "parameters": self.estimator._parameters_to_json(),
            }
        return metadata

    @classmethod
    def _from_json_parameters(cls, metadata: Mapping[str, Any]) -> Self:
        ensemble = super()._from_json_parameters({**metadata, "estimator": None})
        if metadata["estimator"] is not None:
            inner = as_described(metadata["estimator"], Template, "the estimator of an ensemble")
            ensemble.estimator = find_class(inner.class_)._from_json_parameters(inner.parameters)
        return ensemble


def _fit_member(
    member: DensityEstimator, train: CodedRows, valid: CodedRows | None, fraction: float, seed: int
) -> DensityEstimator:
    """Fit a member to coded rows, and return it: it may have been sent to another process.

    Where `fraction` is not 0, the member draws such a share of the training rows to validate on.
    """
    generator = make_generator(seed)
    if fraction:
        rows_train, rows_val = split_rows(len(train.codes), fraction, generator)
        train, valid = train.some(rows_train), train.some(rows_val)
    member._fit_codes(train, valid, generator)
    return member
