"""Gaussian mixtures in principal axes: a density over all D numbers of a row, and its sampler."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigh, solve_triangular
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from chainrule.errors import DataError

__all__ = ["Axes", "GaussianModel", "fit_axes", "fit_gaussians", "rows_in_reach"]

_LOG_2PI = float(np.log(2 * np.pi))
_BATCH_NUMBERS = 4_000_000
# Beyond so many numbers a row the eigenvectors of the covariance are found by a randomised method.
_MOST_EXACT = 2000
_MOST_AXES = 1000
_ROWS_PER_AXIS = 5
# Rows x axes^2 x components of one EM step: more rows than this allows are left out of the mixture's fit.
_MOST_WORK = 1.5e8


@dataclass(frozen=True, eq=False)
class Axes:
    """Orthonormal axes of a row, the first of which are kept for a mixture.

    y = centre + vectors.T @ (deviations * w) + residual, where the residual is orthogonal to all axes.

    Attributes
    ----------
    centre : ndarray of shape (D,)
    vectors : ndarray of shape (r, D)
        Orthonormal rows.
    deviations : ndarray of shape (r,)
        Standard deviation of the rows along each axis.
    n_kept : int
        How many leading axes the mixture models jointly; along the others it is one Gaussian.
    residual_variance : float
        Variance in each of the D - r directions that are left.
    """

    centre: np.ndarray
    vectors: np.ndarray
    deviations: np.ndarray
    n_kept: int
    residual_variance: float

    def whiten(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return w, the coordinates along the kept axes in their units, and the rest's log-density.

        The second result holds everything but the density of w: the Gaussians of the other axes and of the
        residual, and the log-determinant of the change of units. So log p(y) = log p(w) + rest.
        """
        centred = y - self.centre
        along = centred @ self.vectors.T
        w = along / self.deviations
        others = w[:, self.n_kept :]
        rest = (
            -0.5 * (others**2).sum(axis=1) - 0.5 * others.shape[1] * _LOG_2PI - np.log(self.deviations).sum()
        )
        n_left = y.shape[1] - len(self.vectors)
        if n_left:
            squared = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
            rest -= 0.5 * (
                squared / self.residual_variance + n_left * (_LOG_2PI + np.log(self.residual_variance))
            )
        return w[:, : self.n_kept], rest

    def complete(self, w: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return rows y with coordinates w along the kept axes, the rest drawn."""
        n, n_axes = len(w), len(self.vectors)
        w = np.hstack([w, generator.normal(size=(n, n_axes - self.n_kept))])
        y: np.ndarray = self.centre + (w * self.deviations) @ self.vectors
        if n_axes < len(self.centre):
            noise = generator.normal(scale=np.sqrt(self.residual_variance), size=y.shape)
            y += noise - (noise @ self.vectors.T) @ self.vectors
        return y


@dataclass(frozen=True, eq=False)
class GaussianModel:
    """A mixture of K full Gaussians along the kept axes, one Gaussian along all others.

    Attributes
    ----------
    axes : Axes
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, n_kept)
    precisions : ndarray of shape (K, n_kept, n_kept)
        Upper triangular P with P @ P.T the inverse covariance.
    """

    axes: Axes
    weights: np.ndarray
    means: np.ndarray
    precisions: np.ndarray

    @property
    def n_components(self) -> int:
        """K, the number of components."""
        return len(self.weights)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters; the direction of the kept axes among themselves is not one."""
        n_variables, n_axes, kept = len(self.axes.centre), len(self.axes.vectors), self.axes.n_kept
        mixture = self.n_components - 1 + self.n_components * (kept + kept * (kept + 1) // 2)
        directions = sum(n_variables - 1 - axis for axis in range(n_axes)) - kept * (kept - 1) // 2
        others = (n_variables - kept) + (n_axes - kept) + int(n_axes < n_variables)
        return mixture + others + (directions if kept < n_variables else 0)

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """Return the log-density of rows y (n, D), float64 (n,), in batches of bounded memory."""
        size = max(64, _BATCH_NUMBERS // max(1, 3 * y.shape[1]))
        parts = [self._log_prob(y[start : start + size]) for start in range(0, len(y), size)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _log_prob(self, y: np.ndarray) -> np.ndarray:
        w, rest = self.axes.whiten(y)
        joint = np.empty((len(w), self.n_components))
        for k, (mean, precision) in enumerate(zip(self.means, self.precisions, strict=True)):
            standard = (w - mean) @ precision
            joint[:, k] = np.log(np.diag(precision)).sum() - 0.5 * (standard**2).sum(axis=1)
        joint += np.log(self.weights) - 0.5 * w.shape[1] * _LOG_2PI
        total: np.ndarray = logsumexp(joint, axis=1) + rest
        return total

    def log_prob_of_leading(self, y: np.ndarray) -> np.ndarray:
        """Return log p(y_0, ..., y_d) of rows y (n, D) for every d, (n, D)."""
        joint = np.empty((self.n_components, *y.shape))
        count = np.arange(1, y.shape[1] + 1)
        for k, (mean, covariance) in enumerate(zip(*self.moments, strict=True)):
            lower = np.linalg.cholesky(covariance)
            standard = solve_triangular(lower, (y - mean).T, lower=True).T
            terms = -0.5 * standard**2 - np.log(np.diag(lower))
            joint[k] = np.log(self.weights[k]) + terms.cumsum(axis=1) - 0.5 * count * _LOG_2PI
        leading: np.ndarray = logsumexp(joint, axis=0)
        return leading

    def given_others(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(all of the row but y_d) and the mean of y_d given the rest, each (n, D)."""
        joint, expected = np.empty((2, self.n_components, *y.shape))
        for k, (mean, covariance) in enumerate(zip(*self.moments, strict=True)):
            precision = np.linalg.inv(covariance)
            own = np.diag(precision)
            pull = (y - mean) @ precision
            row = -0.5 * ((y - mean) * pull).sum(axis=1) - 0.5 * np.linalg.slogdet(covariance)[1]
            alone = -0.5 * pull**2 / own + 0.5 * np.log(own)
            joint[k] = np.log(self.weights[k]) + row[:, None] - alone - 0.5 * (y.shape[1] - 1) * _LOG_2PI
            expected[k] = y - pull / own
        without = logsumexp(joint, axis=0)
        return without, (np.exp(joint - without) * expected).sum(axis=0)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Means (K, D) and covariances (K, D, D) of the components over all variables."""
        axes, kept = self.axes, self.axes.n_kept
        along = axes.vectors * axes.deviations[:, None]
        others = along[kept:].T @ along[kept:]
        others += axes.residual_variance * (np.eye(len(axes.centre)) - axes.vectors.T @ axes.vectors)
        factors = np.stack([solve_triangular(precision, along[:kept]) for precision in self.precisions])
        return axes.centre + self.means @ along[:kept], np.swapaxes(factors, 1, 2) @ factors + others

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Return n drawn rows (n, D)."""
        component = generator.choice(self.n_components, size=n, p=self.weights)
        w = generator.normal(size=(n, self.axes.n_kept))
        for k, (mean, precision) in enumerate(zip(self.means, self.precisions, strict=True)):
            chosen = component == k
            w[chosen] = mean + solve_triangular(precision.T, w[chosen].T, lower=True).T
        return self.axes.complete(w, generator)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters as named arrays."""
        axes = self.axes
        return {
            "centre": axes.centre,
            "vectors": axes.vectors,
            "deviations": axes.deviations,
            "residual_variance": np.array([axes.residual_variance]),
            "weights": self.weights,
            "means": self.means,
            "precisions": self.precisions,
        }

    @classmethod
    def from_arrays(cls, n_variables: int, arrays: Mapping[str, np.ndarray]) -> GaussianModel:
        """Return the model that `to_arrays` described; ValueError where shapes do not fit."""
        n_components, kept = arrays["means"].shape
        n_axes = len(arrays["deviations"])
        shapes = {
            "centre": (n_variables,),
            "vectors": (n_axes, n_variables),
            "residual_variance": (1,),
            "weights": (n_components,),
            "precisions": (n_components, kept, kept),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"expected {name} of shape {shape}, got {arrays[name].shape}")
        residual = float(arrays["residual_variance"][0])
        axes = Axes(arrays["centre"], arrays["vectors"], arrays["deviations"], kept, residual)
        return cls(axes, arrays["weights"], arrays["means"], arrays["precisions"])


def fit_axes(y: np.ndarray, y_val: np.ndarray | None, n_kept: int | float | None, most_kept: int) -> Axes:
    """Return axes for rows y (n, D).

    Parameters
    ----------
    y : ndarray of shape (n, D)
    y_val : ndarray of shape (n_val, D) or None
        Rows on which to measure the residual, which is too small on the rows that the axes were fitted to.
    n_kept : int, float or None
        How many principal axes to keep, or (below 1) the share of the variance that they have to hold. None
        keeps the variables themselves as axes.
    most_kept : int
        Upper limit where `n_kept` is a share.
    """
    n, n_variables = y.shape
    centre = y.mean(axis=0)
    if n_kept is None:
        deviations = np.maximum(y.std(axis=0), 1e-6)
        return Axes(centre, np.eye(n_variables), deviations, n_variables, 1.0)
    variances, vectors, total = _principal_axes(y - centre)
    if isinstance(n_kept, float):
        enough = int(np.searchsorted(np.cumsum(variances), n_kept * total)) + 1
        n_kept = max(1, min(enough, len(variances), most_kept))
    n_kept = min(n_kept, len(variances))
    variances = np.maximum(variances, 1e-6 * total / n_variables + 1e-12)
    axes = Axes(centre, vectors, np.sqrt(variances), n_kept, 1.0)
    n_left = n_variables - len(vectors)
    if not n_left:
        return axes
    centred = (y if y_val is None else y_val) - centre
    squared = (centred**2).sum() - ((centred @ vectors.T) ** 2).sum()
    residual = max(float(squared) / (len(centred) * n_left), 1e-6 * total / n_variables + 1e-12)
    return Axes(centre, vectors, np.sqrt(variances), n_kept, residual)


def _principal_axes(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return variances (r,), falling, orthonormal axes (r, D) and the variance in all D directions.

    Only as many axes as the rows can tell apart: each gets a few rows.
    """
    n, n_variables = centred.shape
    n_axes = max(1, min(n_variables, n // _ROWS_PER_AXIS, _MOST_AXES))
    total = float((centred**2).sum() / n)
    if n_variables <= _MOST_EXACT:
        first = n_variables - n_axes
        variances, columns = eigh(centred.T @ centred / n, subset_by_index=[first, n_variables - 1])
        return np.maximum(variances[::-1], 0), np.ascontiguousarray(columns.T[::-1]), total
    _, singular, vectors = randomized_svd(centred, n_axes, n_iter=4, random_state=0)
    return singular**2 / n, vectors, total


def fit_gaussians(
    axes: Axes,
    w: np.ndarray,
    n_components: int,
    regularisation: float,
    generator: np.random.Generator,
    max_rows: int | None = None,
) -> GaussianModel:
    """Fit a mixture of `n_components` full Gaussians to w (n, n_kept), rows along the kept axes.

    Where there are more than `max_rows` rows, or without it more than a fit of bounded time can use, it takes
    a part of them.
    """
    n_rows = rows_in_reach(len(w), w.shape[1], n_components) if max_rows is None else max_rows
    if n_rows < len(w):
        w = w[np.sort(generator.permutation(len(w))[:n_rows])]
    if len(w) < n_components:
        raise DataError(f"{n_components} components need as many training rows, got {len(w)}; ask for fewer")
    mixture = GaussianMixture(
        n_components,
        reg_covar=regularisation,
        n_init=3 if w.size * n_components < 100_000 else 1,
        tol=1e-3 * max(1.0, w.shape[1] / 10),
        random_state=int(generator.integers(2**31)),
    )
    # Its steps are small: one thread takes them as fast, and far faster where others use the cores.
    with threadpool_limits(1), warnings.catch_warnings():
        # A fit that stops early is still a density; its validation rows say how good it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(w if len(w) > 1 else np.repeat(w, 2, axis=0))
    weights = mixture.weights_.astype(np.float64)
    return GaussianModel(axes, weights / weights.sum(), mixture.means_, mixture.precisions_cholesky_)


def rows_in_reach(n_rows: int, n_axes: int, n_components: int) -> int:
    """Return how many of `n_rows` rows a fit of bounded time can use."""
    return min(n_rows, max(1000, int(_MOST_WORK / (n_axes**2 * n_components))))
