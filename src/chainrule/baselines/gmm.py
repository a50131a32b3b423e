"""Gaussian mixture with the interface of the other estimators, honest about discrete columns and PCA."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import logsumexp
from scipy.stats import qmc
from sklearn.decomposition import PCA
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from chainrule.baselines.base import MixtureState
from chainrule.baselines.gaussian_mixture import PrincipalMixture, fit_axes, fit_gaussians, rows_in_reach
from chainrule.baselines.selection import MAX_TIME, best_of, candidates, end_of
from chainrule.errors import KindError, StorageError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.parameters import COUNT, SHARED_CONSTRAINTS
from chainrule.estimators.rows import CodedRows
from chainrule.estimators.surprisal import MarginalSurprisal, Surprisal, split_without_unseen
from chainrule.schema import UNSEEN, Schema
from chainrule.schema.values import quoted
from chainrule.storage import ArraySpec, StoredArrays, as_described
from chainrule.supports import Binary, Grid, Reals, Support

__all__ = ["GMM"]

# More variables than this are reduced to principal axes by default, and to so many at most.
_MAX_KEPT = 50
_MAX_COMPONENTS = 50
_ROWS_PER_AXIS = 3
_BATCH_NUMBERS = 4_000_000
# Added to the variances along axes in units of 1: hardly any, and enough to tame a component of few rows.
_REGULARISATIONS = (1e-6, 3e-2)


class GMM(DensityEstimator):
    """Mixture of full Gaussians, chosen on validation rows.

    On continuous columns the likelihood is an exact density. A discrete column is made continuous by adding
    uniform noise u from [0, 1) to its codes (uniform dequantisation). The density of x + u bounds the
    probability of x from below, ``log P(x) >= E_u log p(x + u)``, so that what `score_samples` returns may be
    set beside log-probabilities; `likelihood_` then is ``"lower bound"``.

    With many columns the mixture lives on the leading principal axes. The other directions get a Gaussian of
    their own, and the change of axes its log-determinant: the result is a density over all columns.

    Parameters
    ----------
    n_components : int or sequence of int, optional
        How many components, or several numbers to choose from on the validation rows. None tries rising
        numbers until the validation likelihood falls.
    pca : "auto", int, float or None
        How many principal axes to keep, or (a float below 1) the share of the variance that they have to
        hold, 50 axes at most. None keeps the columns as they are; "auto" is None up to 50 columns and 0.99
        beyond.
    regularisation : float, optional
        Added to the variances of each component, in units of the columns' (or axes') variances. None chooses
        on the validation rows.
    n_draws : int
        Draws of the noise u over which the bound is taken.
    max_rows : int, optional
        At most so many training rows are what the mixture is fitted to. None takes as many as a fit of
        bounded time can use, which with hundreds of axes are few.
    max_time : float, optional
        Seconds of a fit: numbers of components that would take longer are not tried. By default all are.
    kinds : str or mapping, optional
        Kind of all columns, or of single ones: "binary", "ordinal" or "continuous".
    contamination : "auto" or float
        Share of rows that are anomalies, in (0, 0.5]; see `predict`.
    validation_fraction : float
        Share of the training rows to choose on when `fit` is given no `X_val`; with 0 the Bayesian
        information criterion chooses.
    verbose : bool
        Show a progress bar.
    random_state : int, Generator or RandomState, optional

    Attributes
    ----------
    n_components_ : int
        The chosen number of components.
    likelihood_ : {"exact", "lower bound"}
    schema_ : Schema
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_, n_parameters_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import GMM
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> model = GMM(random_state=0).fit(X)
    >>> model.likelihood_, model.sample(4, random_state=0).shape
    ('exact', (4, 2))
    """

    supported: ClassVar[tuple[type[Support], ...]] = (Binary, Grid, Reals)
    sees_bins = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **DensityEstimator._parameter_constraints,
        **SHARED_CONSTRAINTS,
        "n_components": [COUNT, "array-like", None],
        "pca": [StrOptions({"auto"}), COUNT, Interval(RealNotInt, 0, 1, closed="neither"), None],
        "regularisation": [Interval(Real, 0, None, closed="left"), None],
        "n_draws": [COUNT],
        "max_rows": [COUNT, None],
        "max_time": MAX_TIME,
    }

    mixture_: PrincipalMixture
    _discrete: np.ndarray
    _units: np.ndarray
    _lattice: np.ndarray
    _multipliers: np.ndarray

    def __init__(
        self,
        n_components: int | Sequence[int] | None = None,
        *,
        pca: str | int | float | None = "auto",
        regularisation: float | None = None,
        n_draws: int = 8,
        max_rows: int | None = None,
        max_time: float | None = None,
        kinds: str | Mapping[Any, str] | None = None,
        contamination: float | str = "auto",
        validation_fraction: float = 0.1,
        verbose: bool | int = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.pca = pca
        self.regularisation = regularisation
        self.n_draws = n_draws
        self.max_rows = max_rows
        self.max_time = max_time
        self.kinds = kinds
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.verbose = verbose
        self.random_state = random_state

    def _fit_codes(self, train: CodedRows, valid: CodedRows | None, generator: np.random.Generator) -> None:
        until = end_of(self.max_time)
        self._find_columns()
        if not len(self._varying):
            raise KindError(
                "GMM needs at least one column that is not constant; Independent models constants"
            )
        codes = train.codes[:, self._varying]
        noise = generator.random((len(codes), len(self._discrete)))
        self._units = np.ones(codes.shape[1])
        self._units = _units(self._continuous(codes, noise), self._levels)
        y = self._continuous(codes, noise)
        # What the draws of u are made of: a lattice, and multipliers that move it from row to row.
        self._lattice = qmc.LatinHypercube(len(self._discrete), rng=generator).random(self.n_draws)
        self._multipliers = generator.integers(2**63, size=(2, codes.shape[1]), dtype=np.uint64) * 2 + 1
        y_val = None
        if valid is not None:
            codes_val = valid.codes[:, self._varying]
            y_val = self._continuous(codes_val, generator.random((len(codes_val), len(self._discrete))))
        axes, n_kept = fit_axes(y, y_val, self._kept(codes.shape[1]), _MAX_KEPT)
        self._keep(self._choose(axes, n_kept, y, y_val, generator, until))

    def _find_columns(self) -> None:
        """Note which columns vary (a constant one has probability 1) and which of those are discrete."""
        n_codes = np.array(self.schema_.n_codes)
        self._varying = np.flatnonzero(n_codes != 1)
        self._levels = n_codes[self._varying]
        self._discrete = np.flatnonzero(np.isfinite(self._levels))

    def _choose(
        self,
        axes: PCA,
        n_kept: int,
        y: np.ndarray,
        y_val: np.ndarray | None,
        generator: np.random.Generator,
        until: float,
    ) -> PrincipalMixture:
        """Return the best mixture over numbers of components and regularisations."""
        w = axes.transform(y)[:, :n_kept]
        log_units = np.log(self._units).sum()
        regularisations = _REGULARISATIONS if self.regularisation is None else (self.regularisation,)

        def score(model: PrincipalMixture) -> float:
            if y_val is not None:
                return float(model.log_prob(y_val).mean() - log_units)
            penalty = 0.5 * model.n_parameters * np.log(len(y)) / len(y)
            return float(model.log_prob(y).mean() - penalty - log_units)

        def fit(n_components: int) -> PrincipalMixture:
            tried = [
                fit_gaussians(axes, w, n_components, extra, generator, self.max_rows)
                for extra in regularisations
            ]
            return max(tried, key=score)

        numbers = range(1, _MAX_COMPONENTS + 1)
        enough = _ROWS_PER_AXIS * n_kept
        most = max((k for k in numbers if k * enough <= rows_in_reach(len(w), n_kept, k)), default=1)
        label = type(self).__name__ if self.verbose else None
        return best_of(candidates(self.n_components, most), fit, score, label, until)

    def _keep(self, model: PrincipalMixture) -> None:
        self.mixture_ = model
        self.n_components_: int = model.n_components
        self.n_parameters_: int = model.n_parameters
        self.likelihood_ = "lower bound" if len(self._discrete) else "exact"

    def _check_kinds(self, schema: Schema) -> None:
        super()._check_kinds(schema)
        for variable in schema.variables:
            support = variable.support
            if isinstance(support, Reals) and support.point_masses:
                values = variable.numbers(np.array(support.point_masses)).tolist()
                raise KindError(
                    f"GMM has no point masses, such as those of column {variable.name!r} at "
                    f"{quoted(values)}; Mixture has them, or declare the column continuous: "
                    f"kinds={{{variable.name!r}: 'continuous'}}"
                )

    def _kept(self, n_variables: int) -> int | float | None:
        if isinstance(self.pca, str):
            return 0.99 if n_variables > _MAX_KEPT else None
        return self.pca

    def _continuous(self, codes: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Return codes with noise (n, n_discrete) added to the discrete columns, in the mixture's units."""
        y: np.ndarray = codes.astype(np.float64)
        y[:, self._discrete] += noise
        y /= self._units
        return y

    def _score_codes(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        size = max(64, _BATCH_NUMBERS // codes.shape[1])
        batches = (codes[start : start + size] for start in range(0, len(codes), size))
        parts = [self._mean_over_draws(self.mixture_.log_prob, batch) for batch in batches]
        scores: np.ndarray = np.concatenate([*parts, np.zeros(0)]) - np.log(self._units).sum()
        return scores

    @property
    def surprisal_given(self) -> Literal["others", "before"]:
        """What `surprisal` is given: all other columns."""
        return "others"

    def surprisals(self) -> Surprisal:
        """Return how the fitted model's log-likelihoods split over columns and cells, on codes."""
        check_is_fitted(self, "schema_")
        return _GaussianSurprisal(self)

    def _of_all_columns(self, scores: np.ndarray) -> np.ndarray:
        """Return scores (n, n_varying) of all columns, (n, D): 0 of the constant ones."""
        every = np.zeros((len(scores), self.n_features_in_))
        every[:, self._varying] = scores
        return every

    def _mean_over_draws(self, density: Callable[[np.ndarray], np.ndarray], codes: np.ndarray) -> np.ndarray:
        """Return the log of the mean density of rows, (n,) or (n, D'), over the draws of u.

        By Jensen's inequality the expectation of that of all columns lies below log P(x), and above the mean
        of the logs. A row's draws depend on its values alone, so its score does not on the rows beside it.
        """
        draws = [density(y) for y in self._draws(codes)]
        mean: np.ndarray = logsumexp(draws, axis=0) - np.log(len(draws))
        return mean

    def _draws(self, codes: np.ndarray) -> list[np.ndarray]:
        """Return the varying columns of rows in the mixture's units under each draw of u."""
        codes = codes[:, self._varying]
        moved = self._moves(codes)
        lattice = self._lattice if len(self._discrete) else self._lattice[:1]
        return [self._continuous(codes, (u + moved) % 1.0) for u in lattice]

    def _moves(self, codes: np.ndarray) -> np.ndarray:
        """Return how far each row's lattice is moved, (n, n_discrete) in [0, 1).

        A hash of the codes' bits, in integers that wrap around: exact in whatever order it is computed.
        """
        bits = np.ascontiguousarray(codes, dtype=np.float32).view(np.uint32).astype(np.uint64)
        from_row, to_column = self._multipliers
        row = (bits * from_row).sum(axis=1, dtype=np.uint64)
        hashed = (row ^ (row >> np.uint64(29)))[:, None] * to_column[self._discrete]
        moves: np.ndarray = (hashed >> np.uint64(11)) / 2.0**53
        return moves

    def _sample_codes(self, n: int, generator: np.random.Generator, context: np.ndarray | None) -> np.ndarray:
        codes = self.mixture_.sample(n, generator) * self._units
        highest = self._levels[self._discrete] - 1
        codes[:, self._discrete] = np.clip(np.floor(codes[:, self._discrete]), 0, highest)
        drawn = np.zeros((n, self.n_features_in_), dtype=np.float32)
        drawn[:, self._varying] = codes
        return drawn

    def _get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {"units": self._units, "lattice": self._lattice, "multipliers": self._multipliers}
        return {"n_components": self.n_components_}, arrays | self.mixture_.to_arrays()

    def _set_state(self, metadata: Mapping[str, Any], arrays: StoredArrays) -> None:
        state = as_described(metadata, MixtureState, "the state")
        self._find_columns()
        n = len(self._varying)
        self._units = arrays.read("units", ArraySpec((n,), "float64"))
        self._lattice = arrays.read("lattice", ArraySpec((self.n_draws, len(self._discrete)), "float64"))
        self._multipliers = arrays.read("multipliers", ArraySpec((2, n), "uint64"))
        if not ((self._units > 0).all() and (self._lattice >= 0).all() and (self._lattice <= 1).all()):
            raise StorageError("the units and draws of noise of the mixture are none")
        of_mixture = arrays.without(("units", "lattice", "multipliers"))
        self._keep(PrincipalMixture.from_arrays(n, state.n_components, of_mixture))


class _GaussianSurprisal(MarginalSurprisal):
    """The split of a Gaussian mixture, whose marginals and conditionals are known."""

    estimator: GMM

    def of_columns(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the gains in the log-density of leading columns."""
        schema = self.estimator.schema_
        scores = split_without_unseen(self._split, codes, context, schema.n_codes)
        return scores + schema.log_abs_det_jacobian_of_cells(codes)

    def _split(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        model = self.estimator
        leading = model._mean_over_draws(model.mixture_.log_prob_of_leading, codes)
        return model._of_all_columns(np.diff(leading, axis=1, prepend=0.0) - np.log(model._units))

    def of_cells(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the loss in log-density with each cell of a row."""
        model = self.estimator
        # To the other columns a level that it has never seen is the first one.
        known = np.where(codes == UNSEEN, np.float32(0), codes)
        without = model._mean_over_draws(lambda y: model.mixture_.given_others(y)[0], known)
        whole = model._score_codes(known, context) + np.log(model._units).sum()
        scores = model._of_all_columns(whole[:, None] - without - np.log(model._units))
        return np.where(codes == known, scores, 0.0) + model.schema_.log_abs_det_jacobian_of_cells(codes)

    def expected(
        self, codes: np.ndarray, context: np.ndarray | None, d: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the conditional mean of a real number; of a discrete column, of values tried one by one."""
        model = self.estimator
        variable = model.schema_.variables[d]
        if variable.is_discrete:
            return super().expected(codes, context, d)
        column = model._varying.tolist().index(d)
        without, means = np.stack([model.mixture_.given_others(y) for y in model._draws(codes)], axis=1)
        shares = np.exp(without - logsumexp(without, axis=0))[..., column]
        mean = (shares * means[..., column]).sum(axis=0) * model._units[column]
        return variable.numbers(mean), np.full(len(codes), np.nan)


def _units(y: np.ndarray, n_levels: np.ndarray) -> np.ndarray:
    """Return the unit of each variable: shared by columns that are measured alike, such as pixels."""
    spread: np.ndarray = y.std(axis=0)
    if len(set(n_levels)) == 1:
        spread = np.full(y.shape[1], y.std())
    units: np.ndarray = np.maximum(spread, 1e-6)
    return units
