"""Gaussian mixtures along principal axes: a density over all D numbers of a row, and its sampler."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from chainrule.errors import DataError, StorageError
from chainrule.storage import ArraySpec, StoredArrays

__all__ = ["PrincipalMixture", "fit_axes", "fit_gaussians", "rows_in_reach"]

_LOG_2PI = float(np.log(2 * np.pi))
# Beyond so many numbers a row the eigenvectors of the covariance are found by a randomised method.
_MAX_EXACT = 2000
_MAX_AXES = 1000
_ROWS_PER_AXIS = 5
# Rows x axes^2 x components of one EM step: more rows than this allows are left out of the mixture's fit.
_MAX_WORK = 1.5e8
# What scikit-learn's estimators learn, and a saved model holds, by the names of their attributes.
_LEARNED_AXES = ("mean_", "components_", "explained_variance_", "noise_variance_")
_LEARNED_MIXTURE = ("weights_", "means_", "covariances_", "precisions_cholesky_")


@dataclass(frozen=True, eq=False)
class PrincipalMixture:
    """A mixture of K full Gaussians along the leading axes of a row, one Gaussian along all others.

    With w the whitened coordinates of a row y along the axes and e its distance from them,

        p(y) = mixture(w_1 .. w_kept) N(w_kept+1 .. w_r; 0, 1) N(e; 0, noise) / product of the axes' scales

    Attributes
    ----------
    axes : PCA
        Whitening. Its `noise_variance_` is the variance in each of the D - r directions without an axis.
    mixture : GaussianMixture
        Of the leading coordinates.
    """

    axes: PCA
    mixture: GaussianMixture

    @property
    def n_components(self) -> int:
        """K, the number of components."""
        return len(self.mixture.weights_)

    @property
    def n_kept(self) -> int:
        """Number of leading axes that the mixture models jointly."""
        return int(self.mixture.means_.shape[1])

    @property
    def n_parameters(self) -> int:
        """Number of free parameters; the direction of the kept axes among themselves is not one."""
        (n_axes, n_variables), kept = self.axes.components_.shape, self.n_kept
        mixture = self.n_components - 1 + self.n_components * (kept + kept * (kept + 1) // 2)
        directions = sum(n_variables - 1 - axis for axis in range(n_axes)) - kept * (kept - 1) // 2
        others = (n_variables - kept) + (n_axes - kept) + int(n_axes < n_variables)
        return mixture + others + (directions if kept < n_variables else 0)

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """Return the log-density of rows y (n, D), float64 (n,)."""
        axes, w = self.axes, self.axes.transform(y)
        total: np.ndarray = self.mixture.score_samples(w[:, : self.n_kept])
        total += norm.logpdf(w[:, self.n_kept :]).sum(axis=1) - 0.5 * np.log(axes.explained_variance_).sum()
        n_left = y.shape[1] - w.shape[1]
        if n_left:
            squared = ((y - axes.mean_) ** 2).sum(axis=1) - w**2 @ axes.explained_variance_
            total -= 0.5 * np.maximum(squared, 0) / axes.noise_variance_
            total -= 0.5 * n_left * (_LOG_2PI + np.log(axes.noise_variance_))
        return total

    def log_prob_of_leading(self, y: np.ndarray) -> np.ndarray:
        """Return log p(y_0, ..., y_d) of rows y (n, D) for every d, (n, D)."""
        joint = np.empty((self.n_components, *y.shape))
        count = np.arange(1, y.shape[1] + 1)
        for k, (mean, covariance) in enumerate(zip(*self.moments, strict=True)):
            lower = np.linalg.cholesky(covariance)
            standard = solve_triangular(lower, (y - mean).T, lower=True).T
            terms = -0.5 * standard**2 - np.log(np.diag(lower))
            joint[k] = np.log(self.mixture.weights_[k]) + terms.cumsum(axis=1) - 0.5 * count * _LOG_2PI
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
            constant = np.log(self.mixture.weights_[k]) - 0.5 * (y.shape[1] - 1) * _LOG_2PI
            joint[k] = constant + row[:, None] - alone
            expected[k] = y - pull / own
        without = logsumexp(joint, axis=0)
        return without, (np.exp(joint - without) * expected).sum(axis=0)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Means (K, D) and covariances (K, D, D) of the components over all variables."""
        axes = self.axes
        along = axes.components_ * np.sqrt(axes.explained_variance_)[:, None]
        leading, others = along[: self.n_kept], along[self.n_kept :]
        left = np.eye(along.shape[1]) - axes.components_.T @ axes.components_
        common = others.T @ others + axes.noise_variance_ * left
        return axes.mean_ + self.mixture.means_ @ leading, (
            leading.T @ self.mixture.covariances_ @ leading + common
        )

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Return n drawn rows (n, D)."""
        axes, (n_axes, n_variables) = self.axes, self.axes.components_.shape
        self.mixture.set_params(random_state=int(generator.integers(2**31)))
        leading = generator.permutation(self.mixture.sample(n)[0])  # which come component after component
        w = np.hstack([leading, generator.normal(size=(n, n_axes - self.n_kept))])
        y: np.ndarray = axes.inverse_transform(w)
        if n_axes < n_variables:
            noise = generator.normal(scale=np.sqrt(axes.noise_variance_), size=y.shape)
            y += noise - (noise @ axes.components_.T) @ axes.components_
        return y

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters as named arrays."""
        axes = {name: np.atleast_1d(getattr(self.axes, name)) for name in _LEARNED_AXES}
        return axes | {name: getattr(self.mixture, name) for name in _LEARNED_MIXTURE}

    @classmethod
    def from_arrays(cls, n_variables: int, n_components: int, stored: StoredArrays) -> PrincipalMixture:
        """Return the model of D variables that `to_arrays` described; StorageError where it is none."""
        kept, n_axes = stored.sizes("means_", 2)[1], stored.sizes("components_", 2)[0]
        if not 1 <= kept <= n_axes <= n_variables:
            raise StorageError(f"a mixture along {kept} of {n_axes} axes of {n_variables} variables is none")
        shapes = {
            "means_": (n_components, kept),
            "mean_": (n_variables,),
            "components_": (n_axes, n_variables),
            "explained_variance_": (n_axes,),
            "noise_variance_": (1,),
            "weights_": (n_components,),
            "covariances_": (n_components, kept, kept),
            "precisions_cholesky_": (n_components, kept, kept),
        }
        arrays = stored.read_all({name: ArraySpec(shape, "float64") for name, shape in shapes.items()})
        _check_numbers(arrays)
        axes, mixture = PCA(n_axes, whiten=True), GaussianMixture(n_components)
        vars(axes).update({name: arrays[name] for name in _LEARNED_AXES})
        vars(mixture).update({name: arrays[name] for name in _LEARNED_MIXTURE})
        axes.noise_variance_ = float(arrays["noise_variance_"][0])
        return cls(axes, mixture)


def _check_numbers(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse what are no probabilities, axes and variances, or do not belong together."""
    n_axes, n_variables = arrays["components_"].shape
    weights, factors = arrays["weights_"], arrays["precisions_cholesky_"]
    with np.errstate(all="ignore"):
        gram = arrays["components_"] @ arrays["components_"].T
        whitened = factors.transpose(0, 2, 1) @ arrays["covariances_"] @ factors
        fits = (
            (weights > 0).all()
            and abs(weights.sum() - 1) < 1e-9
            and np.abs(gram - np.eye(n_axes)).max() < 1e-6
            and np.abs(whitened - np.eye(len(factors[0]))).max() < 1e-3
            and (arrays["explained_variance_"] > 0).all()
            and (arrays["noise_variance_"] >= (n_axes < n_variables) * 1e-300).all()
        )
    if not fits:
        raise StorageError("the arrays of the mixture are no probabilities, axes and covariances")


def fit_axes(
    y: np.ndarray, y_val: np.ndarray | None, n_kept: int | float | None, max_kept: int
) -> tuple[PCA, int]:
    """Return axes for rows y (n, D), and how many of them a mixture is to model.

    Parameters
    ----------
    y : ndarray of shape (n, D)
    y_val : ndarray of shape (n_val, D) or None
        Rows on which to measure the noise, which is too small on the rows that the axes were fitted to.
    n_kept : int, float or None
        How many principal axes to keep, or (below 1) the share of the variance that they have to hold. None
        keeps the variables themselves as axes.
    max_kept : int
        Upper limit where `n_kept` is a share.
    """
    n, n_variables = y.shape
    if n_kept is None:
        return _variables_as_axes(y), n_variables
    n_axes = max(1, min(n_variables, n // _ROWS_PER_AXIS, _MAX_AXES))  # as many as the rows can tell apart
    solver = "covariance_eigh" if n_variables <= _MAX_EXACT else "randomized"
    axes = PCA(n_axes, whiten=True, svd_solver=solver, random_state=0).fit(_at_least_two(y))
    # In the memory layout of a loaded model: products with other layouts differ in their last digit.
    axes.components_ = np.ascontiguousarray(axes.components_)
    total = float(y.var(axis=0).sum())
    least = 1e-6 * total / n_variables + 1e-12
    # The variances of maximum likelihood, as the mixture's.
    axes.explained_variance_ = np.maximum(axes.explained_variance_ * (n - 1) / n, least)
    if isinstance(n_kept, float):
        enough = int(np.searchsorted(axes.explained_variance_.cumsum(), n_kept * total)) + 1
        n_kept = min(enough, max_kept)
    if n_axes < n_variables:
        rows = y if y_val is None else y_val
        squared = float(((rows - axes.inverse_transform(axes.transform(rows))) ** 2).sum())
        axes.noise_variance_ = max(squared / (len(rows) * (n_variables - n_axes)), least)
    return axes, min(n_kept, n_axes)


def _variables_as_axes(y: np.ndarray) -> PCA:
    axes = PCA(whiten=True)
    axes.mean_, axes.components_ = y.mean(axis=0), np.eye(y.shape[1])
    axes.explained_variance_ = np.maximum(y.var(axis=0), 1e-12)
    axes.noise_variance_ = 0.0
    return axes


def fit_gaussians(
    axes: PCA,
    w: np.ndarray,
    n_components: int,
    regularisation: float,
    generator: np.random.Generator,
    max_rows: int | None = None,
) -> PrincipalMixture:
    """Fit a mixture of `n_components` full Gaussians to w (n, n_kept), rows along the leading axes.

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
        mixture.fit(_at_least_two(w))
    return PrincipalMixture(axes, mixture)


def _at_least_two(rows: np.ndarray) -> np.ndarray:
    """Return the rows, or a single one twice, as scikit-learn needs."""
    return rows if len(rows) > 1 else np.repeat(rows, 2, axis=0)


def rows_in_reach(n_rows: int, n_axes: int, n_components: int) -> int:
    """Return the number of rows, of `n_rows`, that a fit of bounded time can use."""
    return min(n_rows, max(1000, int(_MAX_WORK / (n_axes**2 * n_components))))
