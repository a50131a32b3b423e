"""Whether a model's own likelihood tells the rows that it learned from: a test of membership.

Whoever has the model and a row can ask how probable the row is, and guess that very probable rows were
learned from (Yeom et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chainrule.metrics.classification import Auc, area_under_curve
from chainrule.metrics.statistics import Summary

__all__ = ["FALSE_POSITIVES", "Membership", "membership_test"]

Floats = NDArray[np.float64]

FALSE_POSITIVES = 0.01
"""The share of held-out rows that may be taken for training rows."""

_N_BOOTSTRAPS = 200


@dataclass(frozen=True, eq=False)
class Membership:
    """How well log-likelihoods tell training rows from held-out ones.

    Attributes
    ----------
    auc : Auc
        The area under the ROC curve: 0.5 where training rows are as probable as others.
    true_positives : Summary
        The share of training rows that are more probable than all but one in a hundred held-out rows, which
        is 0.01 where nothing was memorised. Its error is that of 200 bootstrap samples of both.
    """

    auc: Auc
    true_positives: Summary

    def to_dict(self) -> dict[str, float]:
        """Return the figures under keys that stay stable."""
        return {
            "auc": self.auc.value,
            "auc_standard_error": self.auc.standard_error,
            "true_positives": self.true_positives.mean,
            "true_positives_standard_error": self.true_positives.standard_error,
        }


def membership_test(train: Floats, held_out: Floats, random_state: int = 0) -> Membership:
    """Tell training rows from held-out ones by their log-likelihoods.

    Parameters
    ----------
    train, held_out : ndarray (n,), (m,)
        Nats per row under the model.
    random_state : int
        Of the bootstrap.

    Examples
    --------
    >>> held_out = np.random.default_rng(0).normal(size=2000)
    >>> found = membership_test(held_out + 9, held_out)
    >>> round(found.auc.value, 3), found.true_positives.mean
    (1.0, 1.0)
    """
    truth = np.repeat([1, 0], [len(train), len(held_out)])
    scores = np.concatenate([train, held_out])
    random = np.random.default_rng(random_state)
    again = [
        true_positives(
            random.choice(train, len(train)), random.choice(held_out, len(held_out)), FALSE_POSITIVES
        )
        for _ in range(_N_BOOTSTRAPS)
    ]
    reached = Summary(
        true_positives(train, held_out, FALSE_POSITIVES), float(np.std(again, ddof=1)), len(train)
    )
    return Membership(area_under_curve(truth, np.stack([-scores, scores], axis=1)), reached)


def true_positives(train: Floats, held_out: Floats, false_positives: float) -> float:
    """Return the share of training rows above a threshold that just so many held-out rows lie above.

    Of rows that lie at the threshold such a share is taken as makes up the rest, so that many equal rows do
    not matter.

    >>> rows = np.array([1.0, 1.0, 2.0, 3.0])
    >>> true_positives(rows, rows, 0.25), true_positives(rows, rows, 0.1), true_positives(rows + 2, rows, 0.1)
    (0.25, 0.1, 0.7)
    """
    threshold = np.quantile(held_out, 1 - false_positives, method="inverted_cdf")
    at = float((held_out == threshold).mean())
    share = (false_positives - float((held_out > threshold).mean())) / at
    return float((train > threshold).mean() + share * (train == threshold).mean())
