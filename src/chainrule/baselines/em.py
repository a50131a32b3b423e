"""Expectation maximisation of mixtures of products."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np

from chainrule.baselines.product_mixture import Features, Layout, ProductMixture, Sums
from chainrule.kernels.responsibilities import to_responsibilities

__all__ = ["fit_by_em"]

SINGLE_PRECISION_SIZE = 100_000
SUBSET_ROWS = 8_000  # EM starts on this many rows; all rows only refine what it found


def fit_by_em(
    codes: np.ndarray,
    independent: ProductMixture,
    n_components: int,
    generator: np.random.Generator,
    *,
    smoothing: float = 0.5,
    max_iter: int = 100,
    tol: float = 1e-5,
) -> tuple[ProductMixture, list[float]]:
    """Fit a mixture of products by expectation maximisation.

    Each component sees, beside its share of the rows, `smoothing` rows spread as the independent model
    spreads them. That keeps every probability away from 0 and 1 and every variance away from 0, and lets a
    component that loses all its rows fall back on the independent model.

    Parameters
    ----------
    codes : ndarray of shape (n, D)
        Training rows.
    independent : ProductMixture
        The one-component model of the same rows.
    n_components : int
        K.
    generator : Generator
        Draws the rows from which the components start.
    smoothing : float
        Number of rows of the independent model that each component sees.
    max_iter : int
        Upper limit of the EM steps over all rows.
    tol : float
        Stop when a step gains less than this many nats per row and variable.

    Returns
    -------
    mixture : ProductMixture
    trace : list of float
        The objective in nats per row after each step over all rows: the log-likelihood of the rows plus that
        of the smoothing rows. It never decreases.
    """
    layout = independent.layout
    # Single precision is several times as fast; it is kept for data on which that matters.
    features = layout.features(codes, np.float32 if codes.size > SINGLE_PRECISION_SIZE else np.float64)
    prior = _expected_sums(independent)
    mixture = _initial_mixture(features, prior, layout, n_components, generator, smoothing)
    min_gain = tol * codes.shape[1]
    if len(codes) > 2 * SUBSET_ROWS:
        subset = features[np.sort(generator.permutation(len(codes))[:SUBSET_ROWS])]
        mixture, _ = _run_em(mixture, subset, prior, smoothing, max_iter, 10 * min_gain)
    return _run_em(mixture, features, prior, smoothing, max_iter, min_gain)


def _expected_sums(independent: ProductMixture) -> Sums:
    """Return the expected features of a row of the independent model."""
    square = independent.variance + independent.mean**2
    numbers = np.hstack([np.ones_like(square), independent.mean, square])
    return Sums(np.ones(1), np.ones((1, 1)), independent.binary, numbers, independent.levels)


def _initial_mixture(
    features: Features,
    prior: Sums,
    layout: Layout,
    n_components: int,
    generator: np.random.Generator,
    smoothing: float,
) -> ProductMixture:
    """Return components that each start from one random row and as much of the independent model."""
    rows = generator.choice(len(features), size=n_components, replace=n_components > len(features))
    return _m_step(layout, features[rows].sums_of_each(layout.n_slots), prior, 1.0)


def _run_em(
    mixture: ProductMixture,
    features: Features,
    prior: Sums,
    smoothing: float,
    max_iter: int,
    min_gain: float,
) -> tuple[ProductMixture, list[float]]:
    """Repeat EM steps until one gains less than `min_gain` nats per row; return the mixture and its trace."""
    trace: list[float] = []
    for _ in range(max_iter):
        sums, total = _e_step(mixture, features)
        penalty = smoothing * float(mixture.expected_log_joint(prior).sum())
        trace.append((total + penalty) / len(features))
        if len(trace) > 1 and trace[-1] - trace[-2] < min_gain:
            break
        mixture = _m_step(mixture.layout, sums, prior, smoothing)
    return mixture, trace


def _e_step(mixture: ProductMixture, features: Features) -> tuple[Sums, float]:
    """Return the sums of features per component, and the log-likelihood of all rows (the E step)."""
    parts, total = [], 0.0
    for batch in features.batches(mixture.n_components):
        shares = mixture.log_joint_of_bits(batch)
        log_likelihood, numbers, levels = to_responsibilities(
            shares, batch.numbers, mixture.of_numbers, batch.slots, mixture.log_levels
        )
        parts.append(batch.sums(shares, numbers.T, levels.T))
        total += log_likelihood
    return reduce(add, parts), total


def _m_step(layout: Layout, sums: Sums, prior: Sums, smoothing: float) -> ProductMixture:
    """Return the best mixture for the sums, each component given rows of the prior (the M step)."""
    return ProductMixture.from_sums(layout, sums + prior.times(smoothing))
