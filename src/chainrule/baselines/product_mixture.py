"""Mixtures of products of one-dimensional distributions: density and sampler, on codes.

A component is a product over the variables: Bernoulli for two levels, frequencies for more, a Gaussian for a
continuous variable. All of them are exponential families, so that the log-probability of a row is linear in
its *features* (the codes of two-level variables, x and x^2 of continuous ones, one-hot levels of the rest)
and EM is two matrix products per step.

Missing values (NaN) are marginalised exactly: in a product that is to leave their factors out. A missing
value has no features, and a variable's parameters are averages over the rows in which it is observed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import logsumexp

from chainrule.errors import StorageError
from chainrule.storage import ArraySpec, StoredArrays
from chainrule.supports import Binary, Grid, Levels, Support

__all__ = ["Features", "Layout", "ProductMixture", "Sums", "independent_product"]

BATCH_NUMBERS = 4_000_000  # numbers per batch of responsibilities: bounded memory, and kind to the cache


@dataclass(frozen=True, eq=False)
class Features:
    """Statistics of rows that their log-probability is linear in.

    Attributes
    ----------
    dense : ndarray of shape (n, n_binary + 2 * n_continuous)
        Codes of two-level variables, then x, then x^2 of continuous variables.
    one_hot : csr_array of shape (n, n_slots) or None
        One-hot levels of the other variables, side by side; a missing one has none.
    missing : ndarray of shape (n, n_binary + n_continuous) or None
        1 where a two-level or continuous variable is missing, whose dense features are 0; None where none is.
    """

    dense: np.ndarray
    one_hot: Any
    missing: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.dense)

    def __getitem__(self, rows: slice | np.ndarray) -> Features:
        return Features(
            self.dense[rows],
            None if self.one_hot is None else self.one_hot[rows],
            None if self.missing is None else self.missing[rows],
        )

    def batches(self, n_components: int) -> Iterator[Features]:
        """Yield consecutive rows, so few that responsibilities of `n_components` stay small."""
        size = max(256, BATCH_NUMBERS // (n_components + self.dense.shape[1] + 1))
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def times(self, dense: np.ndarray, one_hot: np.ndarray, of_missing: np.ndarray) -> np.ndarray:
        """Return features @ coefficients.T, (n, K); `of_missing` (K, .) belongs to what is missing."""
        product: np.ndarray = self.dense @ dense.T.astype(self.dense.dtype, copy=False)
        if self.one_hot is not None:
            product = product + self.one_hot @ one_hot.T
        if self.missing is not None:
            product += self.missing @ of_missing.T.astype(self.missing.dtype, copy=False)
        return product

    def sums(self, weights: np.ndarray) -> Sums:
        """Return the sums of the features over the rows, for weights (n, K)."""
        counts = weights.sum(axis=0, dtype=np.float64)
        dense = (weights.T @ self.dense).astype(np.float64)
        one_hot = np.zeros((weights.shape[1], 0))
        if self.one_hot is not None:
            one_hot = np.asarray(self.one_hot.T @ weights, dtype=np.float64).T
        observed = counts[:, None]
        if self.missing is not None:
            observed = (weights.T @ (1 - self.missing)).astype(np.float64)
        return Sums(counts, observed, dense, one_hot)


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of features over rows that count by their share in each of K components.

    Attributes
    ----------
    counts : ndarray of shape (K,)
        Rows of each component.
    observed : ndarray of shape (K, n_binary + n_continuous) or (K, 1)
        Rows in which a two-level or continuous variable is observed; one column where nothing is missing.
    dense, one_hot : ndarray of shape (K, .)
        Sums of `Features.dense` and `Features.one_hot`.
    """

    counts: np.ndarray
    observed: np.ndarray
    dense: np.ndarray
    one_hot: np.ndarray

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.counts + other.counts,
            self.observed + other.observed,
            self.dense + other.dense,
            self.one_hot + other.one_hot,
        )

    def times(self, factor: float) -> Sums:
        """Return the sums over rows that count `factor` times as much."""
        return Sums(factor * self.counts, factor * self.observed, factor * self.dense, factor * self.one_hot)


@dataclass(frozen=True)
class Layout:
    """Numbers of the variables that have two levels, that have another number, and that are continuous.

    Parameters
    ----------
    supports : tuple of Support
        Of the variables: `Binary`, `Levels`, `Grid`, or `Reals` without point masses.
    """

    supports: tuple[Support, ...]

    @cached_property
    def n_levels(self) -> np.ndarray:
        """Number of levels per variable, infinite for a continuous one."""
        finite = (Binary, Levels, Grid)
        return np.array([s.n_codes if isinstance(s, finite) else np.inf for s in self.supports])

    @cached_property
    def binary(self) -> np.ndarray:
        """Columns with two levels."""
        return np.flatnonzero(self.n_levels == 2)

    @cached_property
    def continuous(self) -> np.ndarray:
        """Continuous columns."""
        return np.flatnonzero(np.isinf(self.n_levels))

    @cached_property
    def multilevel(self) -> np.ndarray:
        """Discrete columns with a number of levels other than two."""
        return np.flatnonzero(np.isfinite(self.n_levels) & (self.n_levels != 2))

    @cached_property
    def slots(self) -> np.ndarray:
        """Bounds of the one-hot slots of the multilevel columns, (n_multilevel + 1,)."""
        sizes = self.n_levels[self.multilevel].astype(np.int64)
        return np.concatenate([[0], sizes.cumsum()])

    def totals(self, one_hot: np.ndarray) -> np.ndarray:
        """Return the total of each slot's variable, (K, n_slots), of numbers per slot (K, n_slots)."""
        if not len(self.multilevel):
            return np.ones_like(one_hot)
        totals = np.add.reduceat(one_hot, self.slots[:-1], axis=1)
        return np.repeat(totals, np.diff(self.slots), axis=1)

    def features(self, codes: np.ndarray, dtype: Any = np.float64) -> Features:
        """Return the features of codes (n, D); the dense ones stay float64 where x^2 is among them."""
        values = codes[:, np.concatenate([self.binary, self.continuous])]
        missing = np.isnan(values)
        values = np.where(missing, 0, values) if missing.any() else values
        if len(self.continuous):
            values = values.astype(np.float64)
            dense = np.hstack([values, values[:, len(self.binary) :] ** 2])
        else:
            dense = values.astype(dtype)
        return Features(dense, self._one_hot(codes, dtype), missing.astype(dtype) if missing.any() else None)

    def _one_hot(self, codes: np.ndarray, dtype: Any) -> Any:
        n_rows, n_columns = len(codes), len(self.multilevel)
        if not n_columns:
            return None
        slots = self.slots
        levels = codes[:, self.multilevel]
        observed = ~np.isnan(levels)
        if observed.all():
            indices = (levels.astype(np.int32) + slots[:-1].astype(np.int32)).ravel()
            bounds = np.arange(n_rows + 1, dtype=np.int64) * n_columns
        else:
            indices = (levels + slots[:-1])[observed].astype(np.int32)
            bounds = np.concatenate([[0], observed.sum(axis=1).cumsum()])
        ones = np.ones(indices.size, dtype=dtype)
        return sparse.csr_array((ones, indices, bounds), shape=(n_rows, int(slots[-1])))


@dataclass(frozen=True, eq=False)
class ProductMixture:
    """A mixture of K products over the variables of a `Layout`.

    Attributes
    ----------
    layout : Layout
    weights : ndarray of shape (K,)
        Probabilities of the components.
    binary : ndarray of shape (K, n_binary)
        Probability of code 1.
    levels : ndarray of shape (K, n_slots)
        Probabilities of the levels of multilevel variables, side by side.
    mean, variance : ndarray of shape (K, n_continuous)
    """

    layout: Layout
    weights: np.ndarray
    binary: np.ndarray
    levels: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @property
    def n_components(self) -> int:
        """K, the number of components."""
        return len(self.weights)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        n_free_levels = self.levels.shape[1] - len(self.layout.multilevel)
        per_component = self.binary.shape[1] + n_free_levels + 2 * self.mean.shape[1]
        return int(self.n_components - 1 + self.n_components * per_component)

    @classmethod
    def from_sums(cls, layout: Layout, sums: Sums) -> ProductMixture:
        """Return the maximum-likelihood mixture for sums of features per component (the M step).

        Each variable must be observed in some row of each component.
        """
        n_binary, n_continuous = len(layout.binary), len(layout.continuous)
        n_dense = n_binary + n_continuous
        observed = np.broadcast_to(sums.observed, (len(sums.counts), n_dense))
        averages = sums.dense / np.hstack([observed, observed[:, n_binary:]])
        binary, mean, square = np.split(averages, [n_binary, n_dense], axis=1)
        return cls(
            layout,
            weights=sums.counts / sums.counts.sum(),
            binary=np.clip(binary, 1e-12, 1 - 1e-12),
            levels=sums.one_hot / layout.totals(sums.one_hot),
            mean=mean,
            variance=np.maximum(square - mean**2, 1e-12),
        )

    def log_joint(self, features: Features) -> np.ndarray:
        """Return log p(component, observed values of the row), (n, K)."""
        log_off = np.log1p(-self.binary)
        # Each variable's log-probability where its features are 0: what a missing one must not add.
        at_zero = np.hstack(
            [log_off, -0.5 * (self.mean**2 / self.variance + np.log(2 * np.pi * self.variance))]
        )
        constant = np.log(self.weights) + at_zero.sum(axis=1)
        dense = np.hstack([np.log(self.binary) - log_off, self.mean / self.variance, -0.5 / self.variance])
        with np.errstate(divide="ignore"):
            log_levels = np.log(self.levels)
        joint = features.times(dense, log_levels, -at_zero)
        joint += constant.astype(joint.dtype)
        return joint

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """Return nats per row of codes (n, D), float64 (n,), in batches of bounded memory."""
        size = max(256, BATCH_NUMBERS // (self.n_components + 2 * codes.shape[1]))
        batches = (codes[start : start + size] for start in range(0, len(codes), size))
        parts = [logsumexp(self._log_joint_of(batch), axis=1) for batch in batches]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _log_joint_of(self, codes: np.ndarray) -> np.ndarray:
        """Return log p(component, observed values of the row) of codes (n, D), (n, K), in double precision.

        `log_joint`, which EM takes because it is fast, has differences of squares, of which little is left
        for narrow Gaussians far from zero; this has squares of differences.
        """
        discrete, columns = self._discrete
        joint = discrete.log_joint(discrete.layout.features(codes[:, columns]))
        for at, column in enumerate(self.layout.continuous):
            x = codes[:, column, None].astype(np.float64)
            mean, variance = self.mean[:, at], self.variance[:, at]
            log_density = -0.5 * ((x - mean) ** 2 / variance + np.log(2 * np.pi * variance))
            joint += np.where(np.isnan(x), 0.0, log_density)
        return joint

    @cached_property
    def _discrete(self) -> tuple[ProductMixture, np.ndarray]:
        """The mixture over the discrete variables alone, and their columns."""
        columns = np.flatnonzero(np.isfinite(self.layout.n_levels))
        layout = Layout(tuple(self.layout.supports[d] for d in columns))
        none = np.zeros((self.n_components, 0))
        return replace(self, layout=layout, mean=none, variance=none), columns

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Return n drawn rows of codes, float32 (n, D)."""
        component = generator.choice(self.n_components, size=n, p=self.weights)
        codes = np.empty((n, len(self.layout.supports)), dtype=np.float32)
        shape = (n, self.binary.shape[1])
        codes[:, self.layout.binary] = generator.random(shape) < self.binary[component]
        deviation = np.sqrt(self.variance[component])
        codes[:, self.layout.continuous] = self.mean[component] + deviation * generator.normal(
            size=deviation.shape
        )
        slots = self.layout.slots
        for column, start, stop in zip(self.layout.multilevel, slots[:-1], slots[1:], strict=True):
            cumulative = self.levels[:, start:stop].cumsum(axis=1)[component]
            uniform = generator.random((n, 1)) * cumulative[:, -1:]
            codes[:, column] = (uniform >= cumulative[:, :-1]).sum(axis=1)
        return codes

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters as named arrays."""
        names = ("weights", "binary", "levels", "mean", "variance")
        return {name: np.ascontiguousarray(getattr(self, name)) for name in names}

    @classmethod
    def from_arrays(cls, layout: Layout, n_components: int, arrays: StoredArrays) -> ProductMixture:
        """Return the mixture that `to_arrays` described; StorageError where it is none of that layout."""
        widths = {
            "binary": len(layout.binary),
            "levels": int(layout.slots[-1]),
            "mean": len(layout.continuous),
            "variance": len(layout.continuous),
        }
        shapes = {"weights": (n_components,)} | {name: (n_components, w) for name, w in widths.items()}
        mixture = cls(layout, **arrays.read_all({k: ArraySpec(v, "float64") for k, v in shapes.items()}))
        mixture._check_numbers()
        return mixture

    def _check_numbers(self) -> None:
        """Refuse what is no probability, or no variance."""
        totals = np.concatenate([[self.weights.sum()], self.layout.totals(self.levels).ravel()])
        are_shares = (self.weights > 0).all() and (self.levels >= 0).all() and np.abs(totals - 1).max() < 1e-9
        are_inside = (self.binary > 0).all() and (self.binary < 1).all()
        with np.errstate(all="ignore"):
            are_moments = (self.variance > 0).all() and np.isfinite(self.mean**2 / self.variance).all()
        if not (are_shares and are_inside and are_moments):
            raise StorageError("the arrays of the mixture are no probabilities, means and variances")


def independent_product(layout: Layout, codes: np.ndarray) -> ProductMixture:
    """Return one product fitted to codes (n, D): add-half smoothed frequencies, and Gaussians.

    Of a variable that is missing in all rows nothing is known: equal frequencies, a standard Gaussian.
    """
    features = layout.features(codes, np.float32)  # sums of zeros and ones: exact
    sums = features.sums(np.ones((len(codes), 1), dtype=np.float32))
    n_binary, n_continuous = len(layout.binary), len(layout.continuous)
    is_unknown = np.broadcast_to(sums.observed == 0, (1, n_binary + n_continuous))
    unknown = is_unknown[:, n_binary:].astype(np.float64)
    smoothing = Sums(
        counts=np.zeros(1),
        observed=np.hstack([np.ones((1, n_binary)), unknown]),
        dense=np.hstack([np.full((1, n_binary), 0.5), np.zeros((1, n_continuous)), unknown]),
        one_hot=np.full_like(sums.one_hot, 0.5),
    )
    return ProductMixture.from_sums(layout, sums + smoothing)
