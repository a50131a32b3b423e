"""Data sets drawn from a distribution that is known, and so is its entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["TWO_GAUSSIANS", "GaussianMixture2D", "TwinGaussians", "sample_table", "table_entropy"]

Floats = NDArray[np.float64]


class GaussianMixture2D:
    """A mixture of Gaussians in the plane.

    Parameters
    ----------
    weights : array of shape (K,)
    means : array of shape (K, 2)
    covariances : array of shape (K, 2, 2)
    """

    weights: Floats
    means: Floats
    covariances: Floats

    def __init__(self, weights: Floats, means: Floats, covariances: Floats) -> None:
        self.weights, self.means, self.covariances = weights, means, covariances

    def sample(self, n_samples: int, generator: np.random.Generator) -> Floats:
        """Draw rows, shape (n, 2)."""
        component = generator.choice(len(self.weights), size=n_samples, p=self.weights)
        roots = np.linalg.cholesky(self.covariances)[component]
        noise = generator.standard_normal((n_samples, 2))
        return self.means[component] + np.einsum("nij,nj->ni", roots, noise)

    def log_density(self, points: Floats) -> Floats:
        """Return the log-density in nats at points of shape (..., 2)."""
        terms = [
            np.log(weight) + _log_normal(points, mean, covariance)
            for weight, mean, covariance in zip(self.weights, self.means, self.covariances, strict=True)
        ]
        return np.asarray(np.logaddexp.reduce(terms))

    def entropy(self, n_points: int = 1001) -> float:
        """Return the entropy in nats, by the trapezoid rule on a grid ten deviations wide.

        For a smooth density that has died out at the edges this is accurate to rounding.
        """
        spread = 10 * np.sqrt(np.einsum("kii->ki", self.covariances))
        low, high = (self.means - spread).min(axis=0), (self.means + spread).max(axis=0)
        axes = [np.linspace(low[d], high[d], n_points) for d in (0, 1)]
        log_density = self.log_density(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
        cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
        return float(-(np.exp(log_density) * log_density).sum() * cell)


def _log_normal(points: Floats, mean: Floats, covariance: Floats) -> Floats:
    shift = points - mean
    squares = np.einsum("...i,ij,...j->...", shift, np.linalg.inv(covariance), shift)
    return np.asarray(-0.5 * (squares + np.log(np.linalg.det(covariance))) - np.log(2 * np.pi))


TWO_GAUSSIANS = GaussianMixture2D(
    weights=np.array([0.6, 0.4]),
    means=np.array([[-2.0, 0.0], [2.0, 1.0]]),
    covariances=np.array([[[1.0, 0.7], [0.7, 1.0]], [[0.5, -0.4], [-0.4, 1.0]]]),
)
"""Two overlapping, oppositely tilted Gaussians: no conditional is a single Gaussian."""


def sample_table(table: Floats, n_samples: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """Draw cells, shape (n, table.ndim), from a table of probabilities."""
    cells = generator.choice(table.size, size=n_samples, p=table.ravel() / table.sum())
    return np.stack(np.unravel_index(cells, table.shape), axis=1)


def table_entropy(table: Floats) -> float:
    """Return the entropy of a table of probabilities in nats.

    Examples
    --------
    >>> round(float(table_entropy(np.full((2, 2), 0.25)) / np.log(2)), 6)
    2.0
    """
    positive = table[table > 0] / table.sum()
    return float(-(positive * np.log(positive)).sum())


class TwinGaussians:
    """Half N(-m 1, s^2 I), half N(+m 1, s^2 I), in any number of variables.

    Parameters
    ----------
    n_variables : int
        D.
    shift, scale : float
        m and s: how far each centre lies from 0 in every variable, and the standard deviation.
    """

    n_variables: int
    shift: float
    scale: float

    def __init__(self, n_variables: int, shift: float, scale: float) -> None:
        self.n_variables, self.shift, self.scale = n_variables, shift, scale

    def sample(self, n_samples: int, generator: np.random.Generator) -> Floats:
        """Draw rows, shape (n, D)."""
        side = generator.choice([-1.0, 1.0], size=(n_samples, 1))
        return side * self.shift + self.scale * generator.standard_normal((n_samples, self.n_variables))

    def log_density(self, points: Floats) -> Floats:
        """Return the log-density in nats at points of shape (..., k): of the first k variables."""
        sides = [-0.5 * np.square((points - side * self.shift) / self.scale).sum(axis=-1) for side in (-1, 1)]
        constant = points.shape[-1] * np.log(self.scale * np.sqrt(2 * np.pi))
        return np.asarray(np.logaddexp(*sides) - np.log(2) - constant)

    def log_conditional(self, points: Floats) -> Floats:
        """Return log p(x_D given x_1, ..., x_{D-1}) in nats at points of shape (..., D)."""
        return self.log_density(points) - self.log_density(points[..., :-1])

    def entropy(self) -> float:
        """Return the entropy in nats: of a mixture along the line through both centres, and noise across it.

        Examples
        --------
        >>> round(TwinGaussians(2, 2.0, 0.5).entropy(), 4)
        2.1447
        """
        along = TwinGaussians(1, self.shift * np.sqrt(self.n_variables), self.scale)
        edge = along.shift + 12 * self.scale
        line = np.linspace(-edge, edge, 20_001)[:, None]
        log_density = along.log_density(line)
        mixture = -np.trapezoid(np.exp(log_density) * log_density, line[:, 0])
        across = 0.5 * np.log(2 * np.pi * np.e * self.scale**2)
        return float(mixture + (self.n_variables - 1) * across)
