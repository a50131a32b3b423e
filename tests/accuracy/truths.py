"""Distributions of table rows that are known exactly, and how far a fitted model is from them.

A truth draws rows and tells their exact log-probabilities, p(x_S | x_T) for any columns S and T, in the units
in which models score: nats of mass for discrete columns, of density for continuous ones.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, log_expit
from scipy.stats import multivariate_normal, norm

__all__ = [
    "DiscreteTruth",
    "GaussianTruth",
    "MixedTruth",
    "Scorer",
    "Truth",
    "calibration_error",
    "density_error",
    "entropy_gap",
    "exclusive_ors",
    "gaussian",
    "largest_error",
    "mixed",
    "parity",
    "random_network",
    "rare_levels",
    "rare_rows",
]

Floats = NDArray[np.float64]
Columns = Sequence[str]
Levels = Mapping[str, NDArray[Any]]


# ---------------------------------------------------------------- truths


class Truth(ABC):
    """A distribution of table rows that is known exactly.

    Attributes
    ----------
    columns : tuple of str
    levels : dict of str to ndarray
        The values of each discrete column; continuous ones are not in it.
    kinds : dict of str to str
        Kinds that values do not show: a few different integers would pass for categories.
    """

    columns: tuple[str, ...]
    levels: Levels
    kinds: Mapping[str, str]

    @property
    @abstractmethod
    def entropy(self) -> float:
        """Entropy of a row in nats."""

    @abstractmethod
    def draw(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw n rows."""

    @abstractmethod
    def log_marginal(self, rows: pd.DataFrame, columns: Columns) -> Floats:
        """Return log p of some columns of each row, whatever the others are, (n,)."""

    def log_prob(self, rows: pd.DataFrame, of: Columns | None = None, given: Columns = ()) -> Floats:
        """Return log p(of | given) of each row, (n,); NaN where what is given is impossible.

        Parameters
        ----------
        rows : DataFrame
            Only the columns that are asked for or given need be there.
        of : sequence of str, optional
            By default all columns that are not given.
        given : sequence of str
        """
        asked = [name for name in self.columns if name not in given] if of is None else list(of)
        if set(asked) & set(given):
            raise ValueError(f"columns both given and asked for: {sorted(set(asked) & set(given))}")
        joint, evidence = self.log_marginal(rows, [*asked, *given]), self.log_marginal(rows, given)
        return np.subtract(joint, evidence, out=np.full(len(rows), np.nan), where=np.isfinite(evidence))

    @property
    def continuous(self) -> list[str]:
        """Columns that have densities."""
        return [name for name in self.columns if name not in self.levels]

    @property
    def binary(self) -> list[str]:
        """Columns of two levels."""
        return [name for name, levels in self.levels.items() if len(levels) == 2]

    def cells(self, columns: Columns) -> pd.DataFrame:
        """Return all combinations of the levels of discrete columns, one in each row."""
        grids = np.meshgrid(*(self.levels[name] for name in columns), indexing="ij")
        return pd.DataFrame({name: grid.ravel() for name, grid in zip(columns, grids, strict=True)})

    def codes(self, rows: pd.DataFrame, name: str) -> NDArray[np.intp]:
        """Return the positions of a discrete column's values among its levels."""
        codes = pd.Index(self.levels[name]).get_indexer(rows[name])
        if (codes < 0).any():
            raise ValueError(f"column {name!r} holds a value that is none of {list(self.levels[name])}")
        return codes


class DiscreteTruth(Truth):
    """A table of the probabilities of all combinations of levels.

    Parameters
    ----------
    levels : dict of str to ndarray
        The values of each column.
    joint : ndarray
        Probabilities, one axis for each column.
    kinds : dict of str to str
    """

    def __init__(self, levels: Levels, joint: Floats, kinds: Mapping[str, str] | None = None) -> None:
        if joint.shape != tuple(map(len, levels.values())):
            raise ValueError(f"joint of shape {joint.shape} for levels {list(map(len, levels.values()))}")
        if not np.isclose(joint.sum(), 1, rtol=0, atol=1e-9):
            raise ValueError(f"probabilities sum to {joint.sum()}, not to one")
        self.columns, self.levels, self.kinds = tuple(levels), levels, dict(kinds or {})
        self.joint = joint / joint.sum()

    @property
    def entropy(self) -> float:
        """Sum of -p log p over the table."""
        positive = self.joint[self.joint > 0]
        return float(-(positive * np.log(positive)).sum())

    def draw(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw cells of the table."""
        cells = np.unravel_index(rng.choice(self.joint.size, n, p=self.joint.ravel()), self.joint.shape)
        return pd.DataFrame({name: self.levels[name][cells[d]] for d, name in enumerate(self.columns)})

    def log_marginal(self, rows: pd.DataFrame, columns: Columns) -> Floats:
        """Return the logs of sums over all other columns; -inf for what is impossible."""
        kept = [name for name in self.columns if name in set(columns)]
        others = tuple(d for d, name in enumerate(self.columns) if name not in set(columns))
        table = self.joint.sum(axis=others)
        cells = tuple(self.codes(rows, name) for name in kept)
        with np.errstate(divide="ignore"):
            return np.log(np.broadcast_to(table, len(rows)) if not kept else table[cells])


class GaussianTruth(Truth):
    """A multivariate normal distribution, some of whose columns are passed through exp.

    Parameters
    ----------
    columns : sequence of str
    mean, covariance : ndarray, (D,) and (D, D)
        Before exp.
    exponentiated : sequence of str
        Columns that are exp of their normal variable.
    """

    def __init__(
        self, columns: Columns, mean: Floats, covariance: Floats, exponentiated: Columns = ()
    ) -> None:
        self.columns, self.levels, self.kinds = tuple(columns), {}, {}
        self.mean, self.covariance, self.exponentiated = mean, covariance, tuple(exponentiated)

    @property
    def entropy(self) -> float:
        """That of the normal variables plus E[log |dx/dz|], of exp the mean of z."""
        _, log_det = np.linalg.slogdet(2 * np.pi * np.e * self.covariance)
        return float(log_det / 2 + self.mean[self._positions(self.exponentiated)].sum())

    def draw(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw normal rows and take exp of the columns that want it."""
        frame = pd.DataFrame(rng.multivariate_normal(self.mean, self.covariance, n), columns=self.columns)
        return frame.assign(**{name: np.exp(frame[name]) for name in self.exponentiated})

    def log_marginal(self, rows: pd.DataFrame, columns: Columns) -> Floats:
        """Return the normal log-density of the logarithms and the log-Jacobian of taking them."""
        kept = self._positions(columns)
        if not kept:
            return np.zeros(len(rows))
        names = [self.columns[d] for d in kept]
        logs = {name: np.log(rows[name].to_numpy()) for name in names if name in self.exponentiated}
        normal = np.stack([logs.get(name, rows[name].to_numpy()) for name in names], axis=1)
        density = multivariate_normal(self.mean[kept], self.covariance[np.ix_(kept, kept)])
        return np.atleast_1d(density.logpdf(normal)) - sum(logs.values(), np.zeros(len(rows)))

    def _positions(self, columns: Columns) -> list[int]:
        return [d for d, name in enumerate(self.columns) if name in set(columns)]


class MixedTruth(Truth):
    """A category, a number that is normal given it, and a binary column that follows a logistic curve of it.

    Parameters
    ----------
    sites : ndarray of str, (K,)
        The categories.
    weights, means, deviations : ndarray, (K,)
        Probability of each category; mean and standard deviation of the number given it.
    slope, threshold : float
        p(alarm is "yes" | number) is ``expit(slope * (number - threshold))``.
    """

    columns = ("site", "level", "alarm")

    def __init__(
        self,
        sites: NDArray[Any],
        weights: Floats,
        means: Floats,
        deviations: Floats,
        slope: float,
        threshold: float,
    ) -> None:
        self.levels, self.kinds = {"site": sites, "alarm": np.array(["no", "yes"], dtype=object)}, {}
        self.weights, self.means, self.deviations = weights, means, deviations
        self.slope, self.threshold = slope, threshold

    @property
    def entropy(self) -> float:
        """That of the category, of the number given it, and of the binary column given the number."""
        normal = np.log(self.deviations) + 0.5 * np.log(2 * np.pi * np.e)
        alarm = self._mean_over_level(self._alarm_entropy)
        return float(self.weights @ (normal + alarm - np.log(self.weights)))

    def draw(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw the category, then the number, then the binary column."""
        site = rng.choice(len(self.weights), n, p=self.weights)
        level = rng.normal(self.means[site], self.deviations[site])
        alarm = rng.random(n) < expit(self.slope * (level - self.threshold))
        sites, answers = self.levels["site"], self.levels["alarm"]
        return pd.DataFrame({"site": sites[site], "level": level, "alarm": answers[alarm.astype(int)]})

    def log_marginal(self, rows: pd.DataFrame, columns: Columns) -> Floats:
        """Return the log of a sum over the categories, of an integral over the number where it is unknown."""
        terms = np.broadcast_to(np.log(self.weights), (len(rows), len(self.weights))).copy()
        if "site" in columns:
            others = self.codes(rows, "site")[:, None] != np.arange(len(self.weights))
            terms[others] = -np.inf
        if "level" in columns:
            level = rows["level"].to_numpy()[:, None]
            terms += norm.logpdf(level, self.means, self.deviations)
            if "alarm" in columns:
                terms += np.choose(self.codes(rows, "alarm")[:, None], self._log_alarm(level))
        elif "alarm" in columns:
            terms += np.log(self._alarm_at_site)[self.codes(rows, "alarm")]
        return np.logaddexp.reduce(terms, axis=1)

    def _log_alarm(self, level: Floats) -> tuple[Floats, Floats]:
        """Return log p("no" | level) and log p("yes" | level)."""
        logit = self.slope * (level - self.threshold)
        return log_expit(-logit), log_expit(logit)

    def _alarm_entropy(self, level: Floats) -> Floats:
        """Return the entropy of the binary column given the number."""
        no, yes = self._log_alarm(level)
        return -np.exp(no) * no - np.exp(yes) * yes

    @cached_property
    def _alarm_at_site(self) -> Floats:
        """The probabilities of "no" and "yes" at each site, (2, K)."""
        yes = self._mean_over_level(lambda level: np.exp(self._log_alarm(level)[1]))
        return np.stack([1 - yes, yes])

    def _mean_over_level(self, function: Callable[[Floats], Floats]) -> Floats:
        """Return the mean of a function of the number at each site, (K,).

        Where the integrand has died out at both ends, the trapezoid rule is accurate to rounding.
        """
        deviate = np.linspace(-10, 10, 4001)[:, None]
        density = norm.pdf(deviate) * (deviate[1] - deviate[0])
        return (density * function(self.means + self.deviations * deviate)).sum(axis=0)


# ---------------------------------------------------------------- the ones in use


def random_network(n_variables: int, seed: int) -> DiscreteTruth:
    """Return a random Bayesian network of discrete columns of every kind, each with up to three parents."""
    rng = np.random.default_rng(seed)
    # With three columns or more, every kind occurs.
    kinds = rng.permutation(np.resize(["binary", "categorical", "ordinal"], n_variables))
    levels = {f"{kind}_{d}": _random_levels(kind, rng) for d, kind in enumerate(kinds)}
    sizes = [len(each) for each in levels.values()]
    joint = np.ones(sizes)
    # Another order than that of the columns, so that parents stand on both sides of their children.
    order = rng.permutation(n_variables)
    for position, d in enumerate(order):
        parents = rng.permutation(order[:position])[: rng.integers(1, 4)]
        joint = joint * _random_factor(sizes, d, parents, rng)
    ordinal = {name: "ordinal" for name in levels if name.startswith("ordinal")}
    return DiscreteTruth(levels, joint, ordinal)


def _random_levels(kind: str, rng: np.random.Generator) -> NDArray[Any]:
    if kind == "binary":
        return np.array([0, 1])
    n_levels = rng.integers(3, 6)
    names = ["amber", "blue", "coral", "drab", "ecru"]
    return np.array(names[:n_levels], dtype=object) if kind == "categorical" else np.arange(n_levels)


def _random_factor(
    sizes: Sequence[int], child: int, parents: NDArray[np.intp], rng: np.random.Generator
) -> Floats:
    """Return p(child | parents) in a shape that multiplies a joint table."""
    wide = sorted(parents.tolist())
    table = rng.dirichlet(np.ones(sizes[child]), size=[sizes[d] for d in wide])
    # A level that a few thousand rows may lack would be a question of luck; `rare_levels` asks it.
    table = 0.9 * table + 0.1 / sizes[child]
    table = np.moveaxis(table, -1, sum(d < child for d in wide))
    return table.reshape([size if d == child or d in wide else 1 for d, size in enumerate(sizes)])


def exclusive_ors(noise: float = 0.1) -> DiscreteTruth:
    """Return a, b = a xor noise, c, d = (b and c) xor noise, where a and c are fair coins."""

    def probability(a: int, b: int, c: int, d: int) -> float:
        return 0.25 * _flipped(b != a, noise) * _flipped(d != (b and c), noise)

    return _of_bits("abcd", probability)


def parity(noise: float = 0.1) -> DiscreteTruth:
    """Return three fair coins and their parity xor noise: any three of the columns are independent."""

    def probability(a: int, b: int, c: int, d: int) -> float:
        return 0.125 * _flipped(d != a ^ b ^ c, noise)

    return _of_bits("abcd", probability)


def _flipped(is_flipped: bool, noise: float) -> float:
    return noise if is_flipped else 1 - noise


def _of_bits(columns: str, probability: Callable[..., float]) -> DiscreteTruth:
    """Return the table of the probabilities of rows of bits."""
    rows = itertools.product((0, 1), repeat=len(columns))
    joint = np.array([probability(*row) for row in rows]).reshape((2,) * len(columns))
    return DiscreteTruth({name: np.array([0, 1]) for name in columns}, joint)


def rare_levels() -> DiscreteTruth:
    """Return a table with levels of 1 % and 0.2 %, whose presence decides another column.

    A leak or a fire always raises the alarm, which otherwise goes off now and then; the shift lies nearly
    always in the night for a fire; the season is independent of all.
    """
    fault = np.array([0.7, 0.288, 0.01, 0.002])
    alarm = np.array([[0.95, 0.05], [0.7, 0.3], [0.0, 1.0], [0.0, 1.0]])
    shift = np.array([[0.4, 0.4, 0.2], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2], [0.05, 0.05, 0.9]])
    season = np.array([0.1, 0.2, 0.3, 0.4])
    levels = {
        "season": np.arange(4),
        "alarm": np.array(["no", "yes"], dtype=object),
        "fault": np.array(["none", "wear", "leak", "fire"], dtype=object),
        "shift": np.array(["day", "evening", "night"], dtype=object),
    }
    joint = np.einsum("t,f,fa,fs->tafs", season, fault, alarm, shift)
    return DiscreteTruth(levels, joint, {"season": "ordinal"})


def rare_rows(truth: DiscreteTruth, column: str, below: float) -> pd.DataFrame:
    """Return all possible rows in which a column has a level less probable than `below`."""
    cells = truth.cells(truth.columns)
    is_rare = truth.log_marginal(cells, [column]) < np.log(below)
    is_possible = np.isfinite(truth.log_marginal(cells, truth.columns))
    return cells[is_rare & is_possible].reset_index(drop=True)


def gaussian() -> GaussianTruth:
    """Return four correlated normal columns of different scales, the third of them passed through exp."""
    correlation = np.array(
        [[1.0, 0.8, -0.3, 0.2], [0.8, 1.0, -0.5, 0.4], [-0.3, -0.5, 1.0, 0.5], [0.2, 0.4, 0.5, 1.0]]
    )
    deviations = np.array([1.0, 10.0, 0.5, 0.2])
    covariance = deviations[:, None] * correlation * deviations
    return GaussianTruth(("u", "v", "w", "x"), np.array([0.0, 50.0, 1.0, -3.0]), covariance, ("w",))


def mixed() -> MixedTruth:
    """Return a table with three sites, whose levels overlap, and an alarm that they set off."""
    return MixedTruth(
        sites=np.array(["hill", "plain", "shore"], dtype=object),
        weights=np.array([0.5, 0.3, 0.2]),
        means=np.array([-2.0, 0.5, 3.0]),
        deviations=np.array([1.0, 0.5, 1.5]),
        slope=2.0,
        threshold=0.5,
    )


# ---------------------------------------------------------------- how far a model is from the truth


class Scorer(Protocol):
    """What is asked of a fitted model."""

    def score_samples(self, X: Any, **question: Any) -> Floats:
        """Return log p(of | given) of each row."""
        ...


def largest_error(
    model: Scorer,
    truth: Truth,
    rng: np.random.Generator,
    n_questions: int,
    *,
    rows: pd.DataFrame | None = None,
    n_rows: int = 100,
    n_orders: int | None = None,
) -> float:
    """Return the largest |p(x_S | x_T) - truth| over random questions about discrete columns.

    Parameters
    ----------
    model, truth : the two to compare
    rng : Generator
        Draws the questions and the rows.
    n_questions : int
        How many pairs of S, which is discrete, and T, which may be continuous or empty.
    rows : DataFrame, optional
        Rows to ask about; by default each question has `n_rows` fresh ones.
    n_orders : int, optional
        Over how many orders the model averages.
    """
    errors = [
        np.abs(np.exp(ours) - np.exp(theirs)).max()
        for ours, theirs in _answers(
            model, truth, rng, n_questions, list(truth.levels), rows, n_rows, n_orders
        )
    ]
    return float(max(errors))


def density_error(
    model: Scorer,
    truth: Truth,
    rng: np.random.Generator,
    n_questions: int,
    *,
    rows: pd.DataFrame | None = None,
    n_rows: int = 100,
    n_orders: int | None = None,
) -> float:
    """Return the mean |log p(x_S | x_T) - truth| of the random question where it is largest, in nats.

    As `largest_error`, but S has one continuous column at least: the mean over rows, since the logarithm has
    no bound where rows are improbable.
    """
    errors = [
        np.abs(ours - theirs).mean()
        for ours, theirs in _answers(model, truth, rng, n_questions, None, rows, n_rows, n_orders)
    ]
    return float(max(errors))


def _answers(
    model: Scorer,
    truth: Truth,
    rng: np.random.Generator,
    n_questions: int,
    allowed: Columns | None,
    rows: pd.DataFrame | None,
    n_rows: int,
    n_orders: int | None,
) -> Iterator[tuple[Floats, Floats]]:
    """Yield the log-probabilities of the model and of the truth for each question."""
    for _ in range(n_questions):
        of, given = _random_question(truth, rng, allowed)
        asked = truth.draw(n_rows, rng) if rows is None else rows
        ours = model.score_samples(asked, of=of, given=given, n_orders=n_orders)
        yield np.asarray(ours), truth.log_prob(asked, of, given)


def _random_question(
    truth: Truth, rng: np.random.Generator, allowed: Columns | None
) -> tuple[list[str], list[str]]:
    """Return S and T; S is of the allowed columns, or, where these are None, has a continuous one."""
    while True:
        # Asked for, given or neither, each as likely for each column.
        role = dict(zip(truth.columns, rng.integers(3, size=len(truth.columns)), strict=True))
        of = [name for name in truth.columns if role[name] == 0]
        given = [name for name in truth.columns if role[name] == 1]
        fits = set(of) & set(truth.continuous) if allowed is None else of and set(of) <= set(allowed)
        if fits:
            return of, given


def entropy_gap(model: Scorer, truth: Truth, X_test: pd.DataFrame) -> float:
    """Return by how many nats per row the model's mean NLL exceeds that of the truth on the same rows.

    It estimates the divergence from truth to model with little noise: what is hard to predict for both of
    them cancels row by row.
    """
    return float((truth.log_prob(X_test) - np.asarray(model.score_samples(X_test))).mean())


def calibration_error(model: Scorer, truth: Truth, X_test: pd.DataFrame, n_bins: int = 10) -> float:
    """Return the largest expected calibration error of a binary column given all others.

    Rows are put in bins by the model's probability; in each its mean is compared with that of the true
    conditional probability, which has none of the noise of outcomes. Differences are averaged over rows.
    """
    return max(_calibration_error(model, truth, X_test, name, n_bins) for name in truth.binary)


def _calibration_error(model: Scorer, truth: Truth, X_test: pd.DataFrame, column: str, n_bins: int) -> float:
    others = [name for name in truth.columns if name != column]
    rows = X_test.assign(**{column: truth.levels[column][1]})
    ours = np.exp(model.score_samples(rows, of=[column], given=others))
    theirs = np.exp(truth.log_prob(rows, [column], others))
    bins = np.minimum((ours * n_bins).astype(int), n_bins - 1)
    excess = np.bincount(bins, weights=ours - theirs, minlength=n_bins)
    return float(np.abs(excess).sum() / len(rows))
