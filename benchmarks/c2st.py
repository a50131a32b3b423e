"""The two-sample test by a classifier (Lopez-Paz and Oquab 2017): trees tell drawn rows from real ones."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from chainrule.metrics.classification import Auc, area_under_curve

__all__ = ["two_sample_auc"]

Array = np.ndarray


def two_sample_auc(real: Array, drawn: Array, categorical: list[bool], random_state: int = 0) -> Auc:
    """Return the area under the ROC curve of a classifier of real and drawn rows, on rows it has not seen.

    As many rows of both are taken; half of them are learned from. 0.5 is the best: no difference is found.

    Parameters
    ----------
    real, drawn : ndarray (n, D), (m, D)
        Numbers, and codes of levels below 255; NaN for what is neither.
    categorical : list of bool
        Which columns hold codes.
    random_state : int
        Of the choice of rows and of the trees.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(2000, 2))
    >>> two_sample_auc(rows[:1000], rows[1000:] + 9, [False, False]).value
    1.0
    """
    random = np.random.default_rng(random_state)
    n = min(len(real), len(drawn))
    half = n // 2
    some = [rows[random.permutation(len(rows))[:n]] for rows in (real, drawn)]
    learned, unseen = (np.concatenate([rows[part] for rows in some]) for part in (np.s_[:half], np.s_[half:]))
    classifier = HistGradientBoostingClassifier(
        categorical_features=categorical, early_stopping=False, random_state=random_state
    )
    classifier.fit(learned, np.repeat([0, 1], half))
    return area_under_curve(np.repeat([0, 1], n - half), classifier.predict_proba(unseen))
