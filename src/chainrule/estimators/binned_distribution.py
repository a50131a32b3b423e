"""The distribution of a wide ordinal variable given others: of its bins, and of the levels within them."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.errors import DataError
from chainrule.estimators.conditional_distribution import ConditionalDistribution
from chainrule.schema import ColumnType, LevelBins

__all__ = ["BinnedDistribution"]

_MAX_PROBABILITIES = 2**27


class BinnedDistribution(ConditionalDistribution):
    """p(x_d | what is known) of an ordinal variable of very many levels, one distribution per row.

    Parameters
    ----------
    variable, params
        As in `ConditionalDistribution`.
    family : Conditional
        Of the bin's number.
    bins : LevelBins
    """

    def __init__(
        self,
        variable: ColumnType,
        family: Conditional,
        params: Tensor,
        bins: LevelBins,
    ) -> None:
        super().__init__(variable, family, params)
        self._bins = bins
        # Of each bin under each order, (K, n, B).
        self._each = family.level_probabilities(self._params, bins.n_bins).squeeze(2).numpy()

    @property
    def _n_levels(self) -> int:
        return 0 if self.levels is None else len(self.levels)

    def _of(self, params: Tensor) -> Self:
        return type(self)(self.variable, self._family, params, self._bins)

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each of `levels`, (n, n_levels).

        Raises
        ------
        DataError
            If there are too many rows for the number of levels.
        """
        n_levels = self._n_levels
        if len(self) * n_levels > _MAX_PROBABILITIES:
            raise DataError(
                f"column {self.variable.name!r} has {n_levels} levels, whose probabilities are too many to "
                f"list for {len(self)} rows: ask for mean, mode, quantile, cdf or log_prob, or for fewer rows"
            )
        codes = np.arange(n_levels)
        of_bins: np.ndarray = self.bin_probabilities[:, self._bins.bin_of(codes)]
        return of_bins * np.exp(self._bins.log_prob_within(codes))

    @property
    def bin_probabilities(self) -> np.ndarray:
        """The probability of each bin, (n, B); within a bin nothing depends on what is known."""
        probabilities: np.ndarray = self._each.mean(0)
        return probabilities

    def spread(self) -> np.ndarray:
        """Return the standard deviation of the mean across orders, (n,); 0 of one order."""
        each = self._each @ self._bins.means
        spread: np.ndarray = each.std(0, ddof=1) if len(each) > 1 else np.zeros(len(self))
        return spread

    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(self._bins.bin_of(codes).astype(np.float64))
        each = self._family.log_prob(x.expand(len(self._params), -1)[..., None], self._params).squeeze(-1)
        of_bins: np.ndarray = torch.logsumexp(each, dim=0).numpy() - np.log(len(each))
        return of_bins + self._bins.log_prob_within(codes)

    def _mean(self) -> np.ndarray:
        mean: np.ndarray = self.bin_probabilities @ self._bins.means
        return self.variable.numbers(mean)

    def _most_probable_level(self) -> np.ndarray:
        best = self._bins.modes
        heights = self.bin_probabilities * np.exp(self._bins.log_prob_within(best))
        level: np.ndarray = best[heights.argmax(1)].astype(np.int64)
        return level

    def _cdf(self, codes: Tensor) -> np.ndarray:
        levels = np.clip(np.floor(codes.numpy()), -1, self._n_levels - 1).astype(np.int64)
        number = np.maximum(self._bins.bin_of(levels), 0)
        of_bins, rows = self.bin_probabilities, np.arange(len(self))
        below = of_bins.cumsum(1)[rows, number] - of_bins[rows, number]
        cdf = below + of_bins[rows, number] * self._bins.cdf_within(np.maximum(levels, 0))
        return np.where(levels < 0, 0.0, cdf)

    def _quantile(self, q: np.ndarray) -> np.ndarray:
        """Return the least value up to which the probability is q, by bisection."""
        low = torch.full((len(self),), -1.0, dtype=torch.float64)
        high = torch.full_like(low, self._n_levels - 1.0)
        while (high - low > 1).any():
            middle = ((low + high) / 2).floor()
            below = torch.from_numpy(self._cdf(middle) < q - 1e-12)
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return self._values_of_levels(high.numpy().astype(np.int64))

    def _values_of_levels(self, index: np.ndarray) -> np.ndarray:
        return self._values(self.variable.numbers(index))
