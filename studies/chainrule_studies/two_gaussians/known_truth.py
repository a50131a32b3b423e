"""How far a fitted model is from a distribution that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.synthetic import TwinGaussians

__all__ = ["ConditionalGrid", "KnownRows"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KnownRows:
    """Rows to learn from, to stop by and to test on, all drawn from a known distribution."""

    truth: TwinGaussians
    train: Floats
    valid: Floats
    test: Floats

    @classmethod
    def draw(cls, truth: TwinGaussians, n: int, n_test: int, seed: Any) -> KnownRows:
        """Draw `n` rows, a fifth of which are for validation, and `n_test` others."""
        generator = np.random.default_rng(seed)
        rows, test = truth.sample(n, generator), truth.sample(n_test, generator)
        n_valid = max(1, n // 5)
        return cls(truth, rows[n_valid:], rows[:n_valid], test)

    def loss(self, part: str) -> float:
        """Return the mean NLL of the truth itself on "train", "valid" or "test" rows, in nats."""
        return -float(self.truth.log_density(getattr(self, part)).mean())


class ConditionalGrid:
    """The conditional of the last variable, given values of the others, on a grid.

    Parameters
    ----------
    truth : TwinGaussians
    given : array of shape (m, D - 1)
    n_points : int
        Of the grid, which reaches six standard deviations beyond both centres.
    """

    def __init__(self, truth: TwinGaussians, given: Floats, n_points: int = 401) -> None:
        edge = truth.shift + 6 * truth.scale
        self.points = np.linspace(-edge, edge, n_points)
        self.rows = np.empty((len(given), n_points, truth.n_variables))
        self.rows[..., :-1] = given[:, None, :]
        self.rows[..., -1] = self.points
        self.true = np.exp(truth.log_conditional(self.rows))

    def learned(self, estimator: Any) -> Floats:
        """Return the model's density of the last variable given the others, (m, n_points).

        It is the joint density, normalised over the grid, so that the model may have any order of variables.
        """
        joint = estimator.score_samples(self.rows.reshape(-1, self.rows.shape[-1]))
        joint = joint.reshape(self.rows.shape[:2])
        density = np.exp(joint - joint.max(axis=1, keepdims=True))
        return density / np.trapezoid(density, self.points, axis=1)[:, None]

    def errors(self, density: Floats) -> Floats:
        """Return the total variation distance to the true conditional at each given value, (m,).

        It is the largest error in the probability of any event: 0 is perfect, 1 is as wrong as can be.
        """
        return 0.5 * np.trapezoid(np.abs(density - self.true), self.points, axis=1)
