"""Mixtures of products over the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from chainrule.baselines.base import ProductEstimator
from chainrule.baselines.em import fit_by_em
from chainrule.baselines.product_mixture import ProductMixture, independent_product
from chainrule.baselines.selection import MAX_TIME, best_of, candidates, end_of
from chainrule.estimators.parameters import COUNT, SHARED_CONSTRAINTS
from chainrule.estimators.rows import CodedRows
from chainrule.kernels.clock import working_time
from chainrule.supports import Binary, Support

__all__ = ["Mixture", "MixtureOfBernoullis"]

# Rows x parameters of a component x components up to which a number of components is tried: some ten
# seconds of EM.
_MAX_WORK = 4e9
_ROWS_PER_COMPONENT = 10
# Rows of the independent model beside each component's own. Half a row is too little for the frequencies of
# many levels, of which a component's rows hold few.
_SMOOTHINGS = (0.5, 5.0, 50.0)


class Mixture(ProductEstimator):
    """Mixture of products over columns of any kind, fitted by expectation maximisation.

    Within a component the columns are independent: level frequencies for discrete columns, frequencies of
    runs of levels for ordinal ones of more than 256 levels (`LevelBins`), a Gaussian for each continuous
    one, and frequencies of its point masses. Missing values are marginalised, exactly: the score of a row is
    that of its observed values.

    Parameters
    ----------
    n_components : int or sequence of int, optional
        How many components, or several numbers to choose from on the validation rows. None tries rising
        numbers until the validation likelihood falls.
    smoothing : float, optional
        Each component sees so many rows of the independent model beside its own. Must be above 0. By default
        0.5, and where columns have more than two levels the best of 0.5, 5 and 50 on the validation rows.
    max_iter : int
        Upper limit of the EM steps.
    tol : float
        EM stops when a step gains less than so many nats per row and variable.
    max_rows : int, optional
        At most so many training rows, drawn at random, and of the validation rows in proportion, are what
        components are fitted to and chosen on; levels, bins and what smooths them come from all. By default
        all are.
    max_time : float, optional
        Seconds of a fit: numbers of components that would take longer are not tried. By default all are.
    kinds : str or mapping, optional
        Kind of all columns, or of single ones: "binary", "categorical", "ordinal" or "continuous".
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
    schema_ : Schema
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_, n_parameters_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import Mixture
    >>> X = np.repeat([[0, 0], [1, 1]], 50, axis=0)
    >>> model = Mixture(n_components=2, random_state=0).fit(X)
    >>> bool(model.score([[1, 1]]) > model.score([[1, 0]]))
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ProductEstimator._parameter_constraints,
        **SHARED_CONSTRAINTS,
        "n_components": [COUNT, "array-like", None],
        "smoothing": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [COUNT],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_rows": [COUNT, None],
        "max_time": MAX_TIME,
    }

    def __init__(
        self,
        n_components: int | Sequence[int] | None = None,
        *,
        smoothing: float | None = None,
        max_iter: int = 100,
        tol: float = 1e-5,
        max_rows: int | None = None,
        max_time: float | None = None,
        kinds: str | Mapping[Any, str] | None = None,
        contamination: float | str = "auto",
        validation_fraction: float = 0.1,
        verbose: bool | int = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.smoothing = smoothing
        self.max_iter = max_iter
        self.tol = tol
        self.max_rows = max_rows
        self.max_time = max_time
        self.kinds = kinds
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.verbose = verbose
        self.random_state = random_state

    def _fit_codes(self, train: CodedRows, valid: CodedRows | None, generator: np.random.Generator) -> None:
        until = end_of(self.max_time)
        self._set_parts()
        codes = self.parts_.split(train.codes)
        codes_val = None if valid is None else self.parts_.split(valid.codes)
        independent = independent_product(self.parts_.layout, codes)
        if self.max_rows is not None and self.max_rows < len(codes):
            share = self.max_rows / len(codes)
            codes = _drawn(codes, share, generator)
            codes_val = None if codes_val is None else _drawn(codes_val, share, generator)
        most = min(
            len(codes) / _ROWS_PER_COMPONENT, _MAX_WORK / (len(codes) * max(independent.n_parameters, 1))
        )

        def fit(n_components: int, smoothing: float) -> ProductMixture:
            return fit_by_em(
                codes,
                independent,
                n_components,
                generator,
                smoothing=smoothing,
                max_iter=self.max_iter,
                tol=self.tol,
            )[0]

        def score(mixture: ProductMixture) -> float:
            if codes_val is not None:
                return float(mixture.log_prob(codes_val).mean())
            penalty = 0.5 * mixture.n_parameters * np.log(len(codes)) / len(codes)
            return float(mixture.log_prob(codes).mean() - penalty)

        label = type(self).__name__ if self.verbose else None
        numbers = candidates(self.n_components, most)
        first, *more = self._smoothings(codes_val is not None)
        best = best_of(numbers, partial(fit, smoothing=first), score, label, until)
        for smoothing in more:  # which bears more components, hardly fewer
            if working_time() > until:
                break
            enough = [number for number in numbers if number >= best.n_components]
            other = best_of(enough, partial(fit, smoothing=smoothing), score, label, until)
            if score(other) <= score(best):
                break
            best = other
        self._keep(best)

    def _smoothings(self, is_validated: bool) -> Sequence[float]:
        """Return the smoothings to try, in rising order; the information criterion could not choose."""
        if self.smoothing is not None:
            return [self.smoothing]
        has_levels = len(self.parts_.layout.multilevel) > 0
        return _SMOOTHINGS if has_levels and is_validated else _SMOOTHINGS[:1]


def _drawn(rows: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Return so many of the rows, one at least, drawn at random."""
    return rows[generator.choice(len(rows), math.ceil(share * len(rows)), replace=False)]


class MixtureOfBernoullis(Mixture):
    """Mixture of products of Bernoullis: `Mixture` for binary columns only.

    Parameters and attributes are those of `Mixture`.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import MixtureOfBernoullis
    >>> X = np.repeat([[0, 0, 0], [1, 1, 1]], 50, axis=0)
    >>> model = MixtureOfBernoullis(random_state=0).fit(X)
    >>> model.sample(3, random_state=0).shape
    (3, 3)
    """

    supported: ClassVar[tuple[type[Support], ...]] = (Binary,)
