"""Mixtures of products of one-dimensional distributions: density and sampler, on codes.

A component is a product over the variables: Bernoulli for two levels, frequencies for more, a Gaussian for a
continuous variable. All of them are exponential families, so that the log-probability of a row is linear in
its *features*: the codes of two-level variables, 1, x and x^2 of continuous ones, and the levels of the rest,
each of which is a *slot* that the row is in or not.

Missing values (NaN) are marginalised exactly: in a product that is to leave their factors out. A missing
value has no features, and a variable's parameters are averages over the rows in which it is observed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
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
    bits : ndarray of shape (n, n_binary)
        Codes of two-level variables; 0 where one is missing.
    missing : ndarray of shape (n, n_binary) or None
        1 where a two-level variable is missing; None where none is.
    numbers : ndarray of float64 (n, 3 * n_continuous)
        1, then x, then x^2 of continuous variables; 0 in all three places where one is missing.
    slots : ndarray of int32 (n, n_multilevel)
        The slot of the level of each other variable; n_slots, which is none, where it is missing.
    """

    bits: np.ndarray
    missing: np.ndarray | None
    numbers: np.ndarray
    slots: np.ndarray

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, rows: slice | np.ndarray) -> Features:
        missing = None if self.missing is None else self.missing[rows]
        return Features(self.bits[rows], missing, self.numbers[rows], self.slots[rows])

    def batches(self, n_components: int) -> Iterator[Features]:
        """Yield consecutive rows, so few that responsibilities of `n_components` stay small."""
        size = max(256, BATCH_NUMBERS // (n_components + self.bits.shape[1] + self.numbers.shape[1] + 1))
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def sums(self, weights: np.ndarray, numbers: np.ndarray, levels: np.ndarray) -> Sums:
        """Return the sums over the rows for weights (n, K), and sums of numbers and levels made elsewhere."""
        counts = weights.sum(axis=0, dtype=np.float64)
        bits = (weights.T @ self.bits).astype(np.float64)
        if self.missing is None:
            return Sums(counts, counts[:, None], bits, numbers, levels)
        return Sums(counts, (weights.T @ (1 - self.missing)).astype(np.float64), bits, numbers, levels)

    def sums_of_all(self, n_slots: int) -> Sums:
        """Return the sums over all rows, for one component."""
        levels = np.bincount(self.slots.ravel(), minlength=n_slots + 1)[None, :n_slots].astype(np.float64)
        ones = np.ones((len(self), 1), self.bits.dtype)
        return self.sums(ones, self.numbers.sum(axis=0, keepdims=True), levels)

    def sums_of_each(self, n_slots: int) -> Sums:
        """Return each row's own features: the sums of as many components, each of which has one row."""
        levels = np.zeros((len(self), n_slots + 1))
        np.put_along_axis(levels, self.slots.astype(np.int64), 1.0, axis=1)
        return self.sums(np.eye(len(self)), self.numbers, levels[:, :n_slots])


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of features over rows that count by their share in each of K components.

    Attributes
    ----------
    counts : ndarray of shape (K,)
        Rows of each component.
    observed : ndarray of shape (K, n_binary) or (K, 1)
        Rows in which a two-level variable is observed; one column where none is missing.
    bits, numbers : ndarray of shape (K, .)
        Sums of `Features.bits` and `Features.numbers`.
    levels : ndarray of shape (K, n_slots)
        Rows in which each level of the other variables occurs.
    """

    counts: np.ndarray
    observed: np.ndarray
    bits: np.ndarray
    numbers: np.ndarray
    levels: np.ndarray

    def _arrays(self) -> list[np.ndarray]:
        return [self.counts, self.observed, self.bits, self.numbers, self.levels]

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(mine + its for mine, its in zip(self._arrays(), other._arrays(), strict=True)))

    def times(self, factor: float) -> Sums:
        """Return the sums over rows that count `factor` times as much."""
        return Sums(*(factor * array for array in self._arrays()))


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
        """Bounds of the slots of the multilevel columns, (n_multilevel + 1,)."""
        sizes = self.n_levels[self.multilevel].astype(np.int64)
        return np.concatenate([[0], sizes.cumsum()])

    @property
    def n_slots(self) -> int:
        """Number of slots: of levels of all multilevel columns together."""
        return int(self.slots[-1])

    def totals(self, levels: np.ndarray) -> np.ndarray:
        """Return the total of each slot's variable, (K, n_slots), of numbers per slot (K, n_slots)."""
        if not len(self.multilevel):
            return np.ones_like(levels)
        totals = np.add.reduceat(levels, self.slots[:-1], axis=1)
        return np.repeat(totals, np.diff(self.slots), axis=1)

    def features(self, codes: np.ndarray, dtype: Any = np.float64) -> Features:
        """Return the features of codes (n, D); x and x^2 stay float64 whatever the `dtype` of bits."""
        bits, x = codes[:, self.binary], codes[:, self.continuous].astype(np.float64)
        is_missing = np.isnan(bits)
        missing = is_missing.astype(dtype) if is_missing.any() else None
        numbers = np.nan_to_num(np.hstack([np.where(np.isnan(x), 0.0, 1.0), x, x**2]), posinf=np.inf)
        numbers = np.ascontiguousarray(numbers)  # row after row, as are slots
        return Features(np.nan_to_num(bits).astype(dtype), missing, numbers, self._slots_of(codes))

    def _slots_of(self, codes: np.ndarray) -> np.ndarray:
        slots = codes[:, self.multilevel] + self.slots[:-1].astype(codes.dtype)
        return np.where(np.isnan(slots), self.n_slots, slots).astype(np.int32, order="C")


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
        observed, x, square = np.split(sums.numbers, 3, axis=1)
        mean = x / observed
        return cls(
            layout,
            weights=sums.counts / sums.counts.sum(),
            binary=np.clip(sums.bits / sums.observed, 1e-12, 1 - 1e-12),
            levels=sums.levels / layout.totals(sums.levels),
            mean=mean,
            variance=np.maximum(square / observed - mean**2, 1e-12),
        )

    @cached_property
    def _log_off(self) -> np.ndarray:
        """Log-probability of code 0 of each two-level variable, (K, n_binary)."""
        return np.log1p(-self.binary)

    @cached_property
    def of_numbers(self) -> np.ndarray:
        """What each of `Features.numbers` adds to the log-probability of a row, (3 * n_continuous, K)."""
        at_zero = -0.5 * (self.mean**2 / self.variance + np.log(2 * np.pi * self.variance))
        return np.hstack([at_zero, self.mean / self.variance, -0.5 / self.variance]).T.copy()

    @cached_property
    def log_levels(self) -> np.ndarray:
        """Log-probability of each slot in each component, (n_slots, K)."""
        with np.errstate(divide="ignore"):
            return np.ascontiguousarray(np.log(self.levels).T)

    def log_joint_of_bits(self, features: Features) -> np.ndarray:
        """Return log p(component, observed two-level values of the row), (n, K)."""
        dtype = features.bits.dtype
        joint: np.ndarray = features.bits @ (np.log(self.binary) - self._log_off).T.astype(dtype, copy=False)
        joint += (np.log(self.weights) + self._log_off.sum(axis=1)).astype(dtype)
        if features.missing is not None:
            joint -= features.missing @ self._log_off.T.astype(dtype, copy=False)
        return joint

    def expected_log_joint(self, sums: Sums) -> np.ndarray:
        """Return log p(component, row) summed over rows without missing values, (K,), from their sums."""
        total: np.ndarray = sums.counts * (np.log(self.weights) + self._log_off.sum(axis=1))
        total = total + sums.bits @ (np.log(self.binary) - self._log_off).T
        return (total + sums.numbers @ self.of_numbers + sums.levels @ self.log_levels)[0]

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """Return nats per row of codes (n, D), float64 (n,), in batches of bounded memory."""
        size = max(256, BATCH_NUMBERS // (self.n_components + 2 * codes.shape[1]))
        batches = (codes[start : start + size] for start in range(0, len(codes), size))
        parts = [logsumexp(self._log_joint_of(batch), axis=1) for batch in batches]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _log_joint_of(self, codes: np.ndarray) -> np.ndarray:
        """Return log p(component, observed values of the row) of codes (n, D), (n, K), in double precision.

        EM takes differences of squares because it is fast, of which little is left for narrow Gaussians far
        from zero; this has squares of differences.
        """
        discrete, columns = self._discrete
        features = discrete.layout.features(codes[:, columns])
        joint = discrete.log_joint_of_bits(features)
        table = np.vstack([self.log_levels, np.zeros(self.n_components)])
        for slots in features.slots.T:
            joint += table[slots]
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
            "levels": layout.n_slots,
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
    sums = features.sums_of_all(layout.n_slots)
    unknown = np.where(sums.numbers[:, : len(layout.continuous)] == 0, 1.0, 0.0)
    smoothing = Sums(
        counts=np.zeros(1),
        observed=np.ones((1, 1)),
        bits=np.full_like(sums.bits, 0.5),
        numbers=np.hstack([unknown, np.zeros_like(unknown), unknown]),
        levels=np.full_like(sums.levels, 0.5),
    )
    return ProductMixture.from_sums(layout, sums + smoothing)
