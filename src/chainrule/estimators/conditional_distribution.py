"""The distribution of one variable given others, in the user's values and units."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from chainrule.conditionals import Conditional, PointMasses
from chainrule.errors import DataError, KindError, ParameterError
from chainrule.rules.truncated import WithinLevels
from chainrule.schema import ColumnType
from chainrule.schema.dates import dates_of
from chainrule.schema.lookup import encode_value

__all__ = ["ConditionalDistribution"]

# Bisections of a continuous quantile: each halves an interval of some 2^11 standard deviations.
_BISECTIONS = 60
_FURTHEST = 1e3
# A point mass this near to what the bisections end at is the quantile.
_CLOSE = 1e-9


class ConditionalDistribution:
    """p(x_d | what is known), one distribution per row; `AutoregressiveEstimator.conditional` makes it.

    Parameters
    ----------
    variable : ColumnType
        x_d.
    family : Conditional
        Of x_d alone.
    params : Tensor (K, n, P)
        On the CPU: params under each of K orders; the distribution is the mean of the K.

    Attributes
    ----------
    levels : sequence or None
        The values x_d can take, in the order of the columns of `probabilities`; None if it is continuous.
        Of a column of dates they are dates, as are its means, modes and quantiles.

    Examples
    --------
    >>> from chainrule import OrderlessNADE
    >>> x1 = np.random.default_rng(0).integers(0, 2, 500)
    >>> X = np.stack([x1, x1], axis=1)
    >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=60, random_state=0).fit(X)
    >>> model.conditional([[1, 0]], 1).mode()
    array([1])
    """

    levels: Sequence[Any] | np.ndarray | None

    def __init__(self, variable: ColumnType, family: Conditional, params: Tensor) -> None:
        self.variable = variable
        # A copy: moving it must not take the constants of the model's own family off their device.
        self._family = copy.deepcopy(family).cpu()
        self._params = params[:, :, None].double()
        self.levels = variable.levels
        if variable.unit and self.levels is not None:
            self.levels = dates_of(np.asarray(self.levels), variable.unit)

    def __repr__(self) -> str:
        n_levels = "" if self.levels is None else f" over {len(self.levels)} levels"
        return f"<{type(self).__name__} of {self.variable.name!r}{n_levels}, {len(self)} rows>"

    def __len__(self) -> int:
        return self._params.shape[1]

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each of `levels`, (n, n_levels).

        Raises
        ------
        KindError
            If the variable is continuous: see `log_prob` and `quantile`.
        """
        return self._probabilities_of_orders().mean(0)

    def as_numbers(self) -> Self:
        """Return the same distribution; of a column of dates that of what its dates count."""
        if not self.variable.unit:
            return self
        numbers = copy.copy(self)
        numbers.variable = replace(self.variable, unit="")
        numbers.levels = self.variable.levels
        return numbers

    def answers(self) -> list[Self]:
        """Return the distributions whose mean this is: one for each order and member that answers."""
        return [self._of(self._params[k : k + 1, :, 0]) for k in range(len(self._params))]

    def _of(self, params: Tensor) -> Self:
        """Return a distribution of the same variable with other params (K, n, P)."""
        return type(self)(self.variable, self._family, params)

    def spread(self) -> np.ndarray:
        """Return the standard deviation of each probability across orders, (n, n_levels).

        For a continuous variable that of the mean, in its units, (n,). Zeros if there is one order.
        """
        if self.levels is not None:
            each = self._probabilities_of_orders()
        else:
            each = self.variable.numbers(self._family.mean(self._params).squeeze(-1).numpy())
        spread: np.ndarray = each.std(0, ddof=1) if len(each) > 1 else np.zeros(each.shape[1:])
        return spread

    def log_prob(self, values: Any) -> np.ndarray:
        """Return the log-probability, or log-density in the user's units, of one value per row, in nats.

        Parameters
        ----------
        values : array-like of shape (n,), or one value for all rows
        """
        return self._log_prob(self._codes(values))

    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        """Return that of codes (n,)."""
        x = torch.from_numpy(codes).expand(len(self._params), -1)[..., None]
        each = self._family.log_prob(x, self._params).squeeze(-1)
        mixed = torch.logsumexp(each, dim=0) - np.log(len(each))
        log_prob: np.ndarray = mixed.numpy()
        return log_prob if self.variable.is_discrete else log_prob + self.variable.log_abs_det_jacobian(codes)

    def mean(self) -> np.ndarray:
        """Return the expected value of each row, (n,), for ordinal and continuous variables.

        Raises
        ------
        KindError
            If the values are no numbers on a line: see `mode` and `probabilities`.
        """
        self._need_numbers("mean")
        return self._values(self._mean())

    def _mean(self) -> np.ndarray:
        """Return the means as numbers, (n,)."""
        return self.variable.numbers(self._family.mean(self._params).squeeze(-1).mean(0).numpy())

    def _values(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers as the user's values: as dates where the column has dates."""
        return dates_of(numbers, self.variable.unit) if self.variable.unit else numbers

    def mode(self) -> np.ndarray:
        """Return the most probable value of each row, (n,).

        Of a variable with point masses the heaviest of them, unless all other values together are more
        probable; then the densest of those.
        """
        if self.levels is not None:
            return self._values_of_levels(self._most_probable_level())
        if isinstance(self._family, PointMasses):
            return self._values(self._mode_with_point_masses(self._family))
        return self._values(self._best(self._family.mode(self._params)))

    def _most_probable_level(self) -> np.ndarray:
        """Return the number of the most probable level, (n,)."""
        return self.probabilities.argmax(1)

    def _best(self, candidates: Tensor) -> np.ndarray:
        """Return the best of the orders' codes (K, n, 1), under all orders together, as numbers (n,)."""
        codes = candidates.squeeze(-1).numpy()
        values = self.variable.numbers(codes)
        heights = np.stack([self._log_prob(row) for row in codes])
        best: np.ndarray = np.take_along_axis(values, heights.argmax(0)[None], 0)[0]
        return best

    def _mode_with_point_masses(self, family: PointMasses) -> np.ndarray:
        elsewhere, on_masses, of_density = family.split(self._params)
        masses = on_masses.exp().mean(0)[:, 0].numpy()
        values = self.variable.numbers(family.codes[0].numpy())[masses.argmax(1)]
        is_mass = masses.max(1) > elsewhere.exp().mean(0)[:, 0].numpy()
        return np.where(is_mass, values, self._best(family.density.mode(of_density)))

    def nearest_left(self, codes: np.ndarray) -> np.ndarray:
        """Return the codes (n,) of the nearest levels that rules leave in each row."""
        if not isinstance(self._family, WithinLevels):
            return codes  # what is left of other columns has no gaps
        possible = self.probabilities > 0
        distance = np.abs(np.arange(possible.shape[1]) - codes[:, None])
        return np.where(possible, distance, np.inf).argmin(axis=1)

    def cdf(self, values: Any) -> np.ndarray:
        """Return P(X <= value) of each row, (n,), for ordinal and continuous variables.

        Parameters
        ----------
        values : array-like of shape (n,), or one value for all rows
        """
        self._need_numbers("distribution function")
        numbers = self._numbers(values)
        codes = self.variable.codes_of_numbers(numbers)
        return self._cdf(torch.from_numpy(self._one_per_row(codes)))

    def interval(self, values: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return P(X < value) and P(X <= value) of each row, (n,) each, for ordinal and continuous variables.

        Between the two lies the randomised probability integral transform, which is uniform where the
        distribution is right, whether the variable is discrete or not (Czado, Gneiting & Held 2009, eq. 1).

        Parameters
        ----------
        values : array-like of shape (n,), or one value for all rows

        Raises
        ------
        KindError
            If the values are no numbers on a line.
        """
        self._need_numbers("distribution function")
        codes = self._one_per_row(self.variable.codes_of_numbers(self._numbers(values)))
        before = np.ceil(codes) - 1 if self.variable.is_discrete else np.nextafter(codes, -np.inf)
        return self._cdf(torch.from_numpy(before)), self._cdf(torch.from_numpy(codes))

    def cell_probabilities(self, edges: np.ndarray) -> np.ndarray:
        """Return the probabilities of runs of codes, (n, len(edges) + 1).

        Parameters
        ----------
        edges : ndarray (m,)
            Codes in rising order: the runs end with each of them, and the last one has no end.
        """
        x = torch.from_numpy(np.asarray(edges, dtype=np.float64)).expand(*self._params.shape[:2], -1)
        reached = self._family.cdf(x, self._params).mean(0).numpy()
        ends = np.ones((len(self), 1))
        return np.diff(np.hstack([reached, ends]), prepend=0.0, axis=1).clip(0.0)

    def quantile(self, q: Any) -> np.ndarray:
        """Return the least value of each row that is not exceeded with probability q, (n,).

        Parameters
        ----------
        q : float, or array-like of shape (n,)
            Between 0 and 1; one for all rows, or one for each.

        Raises
        ------
        KindError
            If the values are no numbers on a line.
        ParameterError
            If q is not between 0 and 1.
        """
        self._need_numbers("quantile")
        try:
            shares = np.asarray(q, dtype=np.float64)
        except (TypeError, ValueError):
            shares = np.array(np.nan)
        if not ((shares > 0) & (shares < 1)).all():
            raise ParameterError(f"q must be a number between 0 and 1, got {q!r}")
        return self._quantile(self._one_per_row(shares))

    def _quantile(self, q: np.ndarray) -> np.ndarray:
        if self.levels is not None:
            above = self.probabilities.cumsum(1) >= q[:, None] - 1e-12
            above[:, -1] = True
            return self._values_of_levels(above.argmax(1))
        if self.variable.is_discrete:
            return self._quantile_of_counts(q)
        low = torch.full((len(self),), -_FURTHEST, dtype=torch.float64)
        high = -low
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = torch.from_numpy(self._cdf(middle) < q)
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        codes = high.numpy()
        if isinstance(self._family, PointMasses):
            for mass in self._family.codes[0].tolist():
                codes = np.where(np.abs(codes - mass) < _CLOSE, mass, codes)
        return self._values(self.variable.numbers(codes))

    def _quantile_of_counts(self, q: np.ndarray) -> np.ndarray:
        """Return the least whole number up to which the probability is q, by bisection."""
        low, high = torch.full((len(self),), -1.0, dtype=torch.float64), torch.ones(len(self)).double()
        while (below := torch.from_numpy(self._cdf(high) < q - 1e-12)).any():
            low, high = torch.where(below, high, low), torch.where(below, 2 * high, high)
        while (high - low > 1).any():
            middle = ((low + high) / 2).floor()
            below = torch.from_numpy(self._cdf(middle) < q - 1e-12)
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return self.variable.numbers(high.numpy().astype(np.int64))

    def _cdf(self, codes: Tensor) -> np.ndarray:
        each = self._family.cdf(codes.expand(len(self._params), -1)[..., None], self._params)
        result: np.ndarray = each.squeeze(-1).mean(0).numpy()
        return result

    def _probabilities_of_orders(self) -> np.ndarray:
        if self.levels is None:
            raise KindError(
                f"column {self.variable.name!r} is {self.variable.kind} and has no levels; "
                "ask for log_prob or quantile"
            )
        each = self._family.level_probabilities(self._params, len(self.levels))
        result: np.ndarray = each.squeeze(2).numpy()
        return result

    def _need_numbers(self, what: str) -> None:
        if not self.variable.is_numeric:
            raise KindError(
                f"column {self.variable.name!r} is {self.variable.kind} and has no {what}; "
                "ask for mode or probabilities"
            )

    def _values_of_levels(self, index: np.ndarray) -> np.ndarray:
        """Return the levels of these numbers, (n,): objects if levels are of several types."""
        levels = self.levels
        if not isinstance(levels, np.ndarray):
            levels = () if levels is None else levels
            dtype = object if len({type(level) for level in levels}) > 1 else None
            levels = np.asarray(levels, dtype=dtype)
        values: np.ndarray = levels[index]
        return values

    def _codes(self, values: Any) -> np.ndarray:
        """Return the code of one value per row."""
        if self.variable.is_discrete:
            each = self._one_per_row(_as_array(values))
            codes = np.array([encode_value(value, self.variable) for value in each])
        else:
            codes = self.variable.codes_of_numbers(self._numbers(values))
        return self._one_per_row(codes)

    def _numbers(self, values: Any) -> np.ndarray:
        given = values
        if self.variable.unit:
            given = np.vectorize(self.variable.number_of, otypes=[object])(_as_array(values))
        try:
            numbers = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.array(np.nan)
        if np.isnan(numbers).any():
            what = "dates" if self.variable.unit else "numbers"
            raise DataError(f"values of column {self.variable.name!r} must be {what}, got {values!r}")
        return numbers

    def _one_per_row(self, values: np.ndarray) -> np.ndarray:
        if values.shape not in ((), (1,), (len(self),)):
            raise DataError(
                f"values must be one, or one for each of the {len(self)} rows, got shape {values.shape}"
            )
        return np.broadcast_to(values, (len(self),)).copy()


def _as_array(values: Any) -> np.ndarray:
    """Return values as an array of objects, which keeps numbers among text."""
    return values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)
