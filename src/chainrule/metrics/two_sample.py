"""The two-sample test by a classifier (Lopez-Paz and Oquab 2017): trees tell drawn rows from real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.metrics.classification import Auc, area_under_curve, threads_for
from chainrule.metrics.statistics import Summary

if TYPE_CHECKING:
    from chainrule.schema import ColumnType

__all__ = ["TwoSampleTest", "two_sample_test"]

Codes = NDArray[np.floating]

_N_FOLDS = 5
_MAX_ROWS = 10_000  # of each side
_MAX_SHUFFLED = 2**22  # numbers that are scored at once
_MAX_BINS = 255  # what the trees can tell apart in a column of levels


@dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """How well trees tell drawn rows from real ones.

    Attributes
    ----------
    auc : Auc
        The mean over the folds of the area under the ROC curve on rows that the fold's trees have not seen.
        Its error is that of DeLong et al. over these rows; the trees are taken as given.
    importances : ndarray (D,)
        By how much the area falls where the values of a column are shuffled over the unseen rows.
    """

    auc: Auc
    importances: NDArray[np.float64]

    @property
    def score(self) -> Summary:
        """``1 - max(0, 2 AUC - 1)`` with its standard error: 1 where no difference is found, 0 at worst."""
        area = self.auc.summary
        return Summary(1 - max(0.0, 2 * area.mean - 1), 2 * area.standard_error, area.n_rows)

    def giveaways(self, most: int = 3) -> list[int]:
        """Return the columns that give drawn rows away, worst first: those with an importance above zero."""
        worst = np.argsort(-self.importances, kind="stable")[:most]
        return [int(d) for d in worst if self.importances[d] > 0]


def two_sample_test(
    variables: Sequence[ColumnType], real: Codes, drawn: Codes, random_state: int = 0
) -> TwoSampleTest:
    """Tell drawn rows from real ones in five folds, each by gradient-boosted trees of the other four.

    As many rows of both are taken, up to 10,000. Of columns of more than 255 levels the most frequent ones
    are told apart, the others count as one.

    Parameters
    ----------
    variables : sequence of ColumnType
    real, drawn : ndarray (n, D), (m, D)
        Codes; NaN where a cell is missing. Of fewer than five rows nothing is found: NaN.
    random_state : int
        Of the choice of rows, of the folds and of the trees.

    Examples
    --------
    >>> from chainrule.schema import Continuous
    >>> rows = np.random.default_rng(0).normal(size=(400, 2))
    >>> found = two_sample_test([Continuous("a"), Continuous("b")], rows[:200], rows[200:] + [9, 0])
    >>> round(found.auc.value, 4), round(found.score.mean, 4), found.giveaways()
    (0.9975, 0.005, [0])
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    random = np.random.default_rng(random_state)
    n = min(len(real), len(drawn), _MAX_ROWS)
    if n < _N_FOLDS:
        return TwoSampleTest(Auc(math.nan, np.zeros(2 * n)), np.zeros(len(variables)))
    rows = np.concatenate([codes[random.permutation(len(codes))[:n]] for codes in (real, drawn)])
    features = _features(variables, rows, real)
    is_drawn = np.repeat([0, 1], n)
    trees = HistGradientBoostingClassifier(
        categorical_features=[not variable.is_numeric for variable in variables],
        early_stopping=False,
        random_state=random_state,
    )
    folds = StratifiedKFold(_N_FOLDS, shuffle=True, random_state=random_state)
    areas, falls = [], []
    with threads_for(features):
        for learned, unseen in folds.split(features, is_drawn):
            trees.fit(features[learned], is_drawn[learned])
            area = area_under_curve(is_drawn[unseen], trees.predict_proba(features[unseen]))
            areas.append(area)
            falls.append(area.value - _shuffled_areas(trees, features[unseen], is_drawn[unseen], random))
    together = Auc(
        float(np.mean([area.value for area in areas])), np.concatenate([area.influence for area in areas])
    )
    return TwoSampleTest(together, np.mean(falls, axis=0))


def _shuffled_areas(
    trees: Any, features: Codes, is_drawn: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the area where one column after the other is shuffled over the rows, (D,)."""
    n, n_columns = features.shape
    at_once = max(1, _MAX_SHUFFLED // features.size)
    areas = []
    for start in range(0, n_columns, at_once):
        # A call has its price, whatever the number of rows.
        columns = range(start, min(start + at_once, n_columns))
        shuffled = np.tile(features, (len(columns), 1, 1))
        for place, d in enumerate(columns):
            shuffled[place, :, d] = random.permutation(features[:, d])
        scores = trees.predict_proba(shuffled.reshape(-1, n_columns))
        areas += [area_under_curve(is_drawn, part).value for part in scores.reshape(len(columns), n, -1)]
    return np.array(areas)


def _features(variables: Sequence[ColumnType], rows: Codes, real: Codes) -> Codes:
    """Return the codes as trees take them: of very many levels the place by frequency, one for all rare."""
    features = rows.astype(np.float32)
    for d, variable in enumerate(variables):
        if variable.is_numeric or variable.n_codes <= _MAX_BINS:
            continue
        known, there = real[~np.isnan(real[:, d]), d], ~np.isnan(rows[:, d])
        counts = np.bincount(known.astype(np.int64), minlength=int(variable.n_codes))
        place = np.empty(len(counts))
        place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        features[there, d] = place[rows[there, d].astype(np.int64)].clip(max=_MAX_BINS - 1)
    return features
