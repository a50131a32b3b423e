"""The independent model: each column by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from chainrule.baselines.base import ProductEstimator
from chainrule.baselines.product_mixture import independent_product
from chainrule.estimators.parameters import SHARED_CONSTRAINTS
from chainrule.estimators.rows import CodedRows

__all__ = ["Independent"]


class Independent(ProductEstimator):
    """All variables independent: the model that knows the columns but no dependency.

    Discrete columns get the frequencies of their levels, half a row added to each, and ordinal ones of more
    than 256 levels a smoothed histogram (`LevelBins`); continuous columns get a Gaussian, and a frequency for
    each point mass. Missing values are left out: the score of a row is that of its observed
    values.

    Parameters
    ----------
    kinds : str or mapping, optional
        Kind of all columns, or of single ones: "binary", "categorical", "ordinal" or "continuous".
    contamination : "auto" or float
        Share of rows that are anomalies, in (0, 0.5]; see `predict`.
    random_state : int, Generator or RandomState, optional
        Not used: nothing is drawn.

    Attributes
    ----------
    schema_ : Schema
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_, n_parameters_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import Independent
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> Independent().fit(X).score_samples([[0, 1]]).round(4)
    array([-1.3863])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ProductEstimator._parameter_constraints,
        **{name: SHARED_CONSTRAINTS[name] for name in ("kinds", "random_state")},
    }

    validation_fraction: ClassVar[float] = 0.0  # nothing to choose: all rows are for training

    def __init__(
        self,
        *,
        kinds: str | Mapping[Any, str] | None = None,
        contamination: float | str = "auto",
        random_state: Any = None,
    ) -> None:
        self.kinds = kinds
        self.contamination = contamination
        self.random_state = random_state

    def _fit_codes(self, train: CodedRows, valid: CodedRows | None, generator: np.random.Generator) -> None:
        self._set_parts()
        self._keep(independent_product(self.parts_.layout, self.parts_.split(train.codes)))
