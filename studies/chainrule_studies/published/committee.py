"""Chains whose conditionals are means over several networks, and mixtures of such chains over orders.

Networks of one order are averaged conditional by conditional: sum over k of w_k p_k(x_d | what comes before)
is a normalised conditional, so the chain of them is a distribution, and its log-likelihood exact. That
averages out at every column what each network has learned by chance; a mixture only weighs whole rows.
Chains of different orders are mixed as rows: sum over orders of v_o p_o(x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["chain", "mixture", "weights"]

Array = NDArray[Any]

# As if so many more rows had come, in equal shares, from what is mixed: a hundred validation rows say little.
_PRIOR_ROWS = 10.0
_MOST_STEPS = 200
_LEAST_GAIN = 1e-8  # nats per observation
_MOST_OBSERVATIONS = 500_000


def chain(cells: Array, shares: Array) -> Array:
    """Return the log-likelihood of each row under the chain of averaged conditionals, float64 (n,).

    Parameters
    ----------
    cells : ndarray of shape (K, n, D)
        log p_k(x_d | what comes before) in one order, in nats.
    shares : ndarray of shape (K,)
        Weights of the networks; they sum to one.

    Examples
    --------
    >>> cells = np.log([[[0.2, 0.5]], [[0.4, 0.7]]])
    >>> np.exp(chain(cells, np.array([0.5, 0.5]))).round(6)
    array([0.18])
    """
    total = np.full(cells.shape[1:], -np.inf)
    with np.errstate(divide="ignore"):
        for log_share, each in zip(np.log(shares), cells, strict=True):
            np.logaddexp(total, log_share + each, out=total)
    return total.sum(axis=1)


def mixture(rows: Array, shares: Array) -> Array:
    """Return the log-likelihood of each row under a mixture, float64 (n,), from (K, n) and weights (K,)."""
    with np.errstate(divide="ignore"):
        mixed: Array = logsumexp(rows + np.log(shares)[:, None], axis=0)
    return mixed


def weights(log_probs: Array | Sequence[Array], prior_rows: float = _PRIOR_ROWS) -> Array:
    """Return the weights of a mixture that make observations most probable, float64 (K,).

    The EM algorithm for weights alone, whose optimum is unique; the prior is a symmetric Dirichlet.

    Parameters
    ----------
    log_probs : ndarray of shape (K, n)
        Nats of each observation (a row, or a cell) under each of K models.
    prior_rows : float
        How many observations the prior counts for.

    Examples
    --------
    >>> weights(np.log([[0.9] * 1000, [0.1] * 1000])).round(3)
    array([0.994, 0.006])
    """
    log_probs = np.asarray(log_probs)
    n_models, n = log_probs.shape
    step = -(-n // _MOST_OBSERVATIONS)
    log_probs = log_probs[:, ::step].astype(np.float64)
    # A model may give an observation nothing at all; one that no model explains tells nothing.
    log_probs = log_probs[:, np.isfinite(log_probs.max(axis=0))]
    ratios = np.exp(log_probs - log_probs.max(axis=0))
    shares, before = np.full(n_models, 1 / n_models), -np.inf
    for _ in range(_MOST_STEPS):
        total = shares @ ratios
        now = np.log(total).mean()
        if now - before < _LEAST_GAIN:
            break
        before = now
        counted = shares * (ratios / total).sum(axis=1) * step
        shares = (counted + prior_rows / n_models) / (n + prior_rows)
        shares /= shares.sum()
    return shares
