"""Knots of real numbers, between which their scores are linear: quantiles of many rows, ends with outliers.

One value a thousand spreads away would set a column's standard deviation, and leave all others in a
thousandth of it. So where there are outliers, the middle gives location and scale, and scores beyond the ends
grow like log(1 + distance): a network sees such a value not far from the others, and its density has the tail
of a power law.
"""

from __future__ import annotations

import math

import numpy as np

from chainrule.schema.types.base import LARGEST_CODE, Floats
from chainrule.supports import knot_levels, normal_scores

__all__ = ["around_outliers", "middle", "quantiles"]

# Quantiles are known of so many rows each, where there are so many of them; see `NormalScores`. K quantiles
# of n rows cost K / 2n nats, as the bins of a histogram do: here 0.002.
ROWS_PER_KNOT, MIN_KNOTS, MAX_KNOTS = 250, 50, 101
# Codes that are float32 tell knots apart that are so far from each other.
LEAST_STEP = 1e-6
# Without quantiles, scores bend so many standard deviations from the middle.
_ENDS = np.array([-3.0, 3.0])
# Values are outliers whose scores would lie so far beyond an end; theirs lie at most so far beyond it.
FAR, REACH = 10.0, 1.5
_QUARTILES = 1.3489795003921634  # between those of the standard normal distribution
_STEP = 0.5  # between knots beyond an end, in logarithms of distances


def quantiles(values: Floats, scale: float) -> Floats:
    """Return evenly spread quantiles, (K,); none of few values, or where some are too close for a scale."""
    n_knots = min(MAX_KNOTS, len(values) // ROWS_PER_KNOT)
    if n_knots < MIN_KNOTS:
        return np.empty(0)
    knots: Floats = np.quantile(values, knot_levels(n_knots))
    # Values that hardly any other comes near have no scores.
    return np.empty(0) if (np.diff(knots) <= LEAST_STEP * scale).any() else knots


def middle(values: Floats) -> tuple[float, float]:
    """Return the median, and the standard deviation of a normal distribution with the same quartiles.

    >>> [round(number, 3) for number in middle(np.array([1.0, 2.0, 3.0, 4.0, 1e9]))]
    [3.0, 1.483]
    """
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(median), float((high - low) / _QUARTILES)


def around_outliers(values: Floats, median: float, spread: float) -> tuple[Floats, Floats] | None:
    """Return knots and their scores, (K,) each in rising order; None where no value is an outlier.

    Examples
    --------
    >>> around_outliers(np.linspace(-4, 4, 99), 0.0, 1.0) is None
    True
    >>> knots, scores = around_outliers(np.array([*np.linspace(-4, 4, 99), 1000.0]), 0.0, 1.0)
    >>> bool(knots[0] == -3.0 and knots[-1] > 1000 and scores[-1] < 5)
    True
    """
    if not np.abs(values - median).max() < spread * LARGEST_CODE / 10:
        return None  # half of all values are the same, or single precision cannot hold the codes
    knots = quantiles(values, spread)
    scores = normal_scores(len(knots)) if len(knots) else _ENDS
    knots = knots if len(knots) else median + spread * _ENDS
    above, scores_above = _beyond(knots, scores, values.max())
    below, scores_below = _beyond(-knots[::-1], -scores[::-1], -values.min())
    if not len(above) + len(below):
        return None
    return (
        np.concatenate([-below[::-1], knots, above]),
        np.concatenate([-scores_below[::-1], scores, scores_above]),
    )


def _beyond(knots: Floats, scores: Floats, highest: float) -> tuple[Floats, Floats]:
    """Return knots beyond the upper end, and their scores; none without outliers there."""
    slope = (scores[-1] - scores[-2]) / (knots[-1] - knots[-2])
    distance = float((highest - knots[-1]) * slope)
    if distance <= FAR:
        return np.empty(0), np.empty(0)
    rate = 1.0
    while rate * math.log1p(distance / rate) > REACH:
        rate /= 2
    steps = _STEP * np.arange(1, math.ceil(math.log1p(distance / rate) / _STEP) + 1)
    return knots[-1] + rate * np.expm1(steps) / slope, scores[-1] + rate * steps
