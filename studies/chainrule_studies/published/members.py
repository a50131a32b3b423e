"""The ensemble of a set: for each order a chain of averaged networks, orders added until the gain stops."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule_studies.published.committee import chain, mixture, weights
from chainrule_studies.published.fits import Fit, Fits
from chainrule_studies.published.search import Searched
from chainrule_studies.published.settings import MOST_COLUMN_NETWORKS, Setting

__all__ = ["Chain", "Members", "fit_members", "score_test_rows"]

Array = NDArray[Any]

_MOST_ORDERS = 24
# Nats per column and row by which a further order must raise the validation log-likelihood.
_TOLERANCE = 1e-4
_PATIENCE = 2
# Over how many orders a network is averaged that takes one pass for each.
_ORDERS_ALONE = 16
# A fit that took so much of its time was ended by it; members then get what leaves time for so many orders.
_USED_UP, _LEAST_ORDERS = 0.9, 4


@dataclass(frozen=True)
class Chain:
    """The networks of one order, in each fold, and their weights.

    Attributes
    ----------
    order : int
        Its number; see `SetRows.order`.
    fits : list of list of Fit
        Of each fold those of each setting.
    shares : ndarray of shape (K,)
        Weights of the settings in each conditional of the chain.
    rows : ndarray of shape (1 + K, n)
        Log-likelihoods of the validation rows of all folds: under the chain, and under each network alone.
    useful : list of int
        The networks without which validation rows would have less.
    seconds : float
        How long it took to score them.
    """

    order: int
    fits: list[list[Fit]]
    shares: Array
    rows: Array
    useful: list[int]
    seconds: float


@dataclass
class Members:
    """The chains of a set and their networks, and how they are mixed.

    Attributes
    ----------
    settings : list of Setting
        The networks of each chain.
    chains : list of Chain
    shares : ndarray of shape (n_chains, 1 + K)
        Weights of each chain, and of each of its networks alone.
    valid : list of float
        Mean log-likelihood of the validation rows with the first 1, 2, ... orders.
    """

    settings: list[Setting]
    chains: list[Chain] = field(default_factory=list)
    shares: Array = field(default_factory=lambda: np.ones((1, 1)))
    valid: list[float] = field(default_factory=list)

    def add(self, one: Chain, is_folded: bool) -> None:
        """Take in the networks of an order, and weigh all of them anew.

        In folds each order has validation rows of its own, on which no two can be compared: all orders weigh
        alike, and what is told of validation rows is the mean over orders.
        """
        self.chains.append(one)
        rows = [each.rows for each in self.chains]
        n_orders, n_parts = len(rows), len(one.rows)
        if is_folded:
            of_each = weights(np.concatenate(rows, axis=1))
            self.shares = np.tile(of_each / n_orders, (n_orders, 1))
            self.valid.append(float(np.mean([mixture(each, of_each).mean() for each in rows])))
        else:
            together = np.concatenate(rows)
            found = weights(together)
            self.shares = found.reshape(n_orders, n_parts)
            self.valid.append(float(mixture(together, found).mean()))

    def has_stopped_gaining(self, n_columns: int) -> bool:
        """Whether the last orders brought next to nothing."""
        if len(self.valid) <= _PATIENCE:
            return False
        return self.valid[-1] - self.valid[-1 - _PATIENCE] < _PATIENCE * _TOLERANCE * n_columns


def fit_members(fits: Fits, searched: Searched, seconds: float) -> Members:
    """Return chains of the best setting of each kind of network, for as many orders as help or time allows.

    The time is that of fits and scores, those of the test rows to come among them.
    """
    started = fits.seconds
    rows = fits.rows
    n_test = sum(len(fold.test) for fold in rows.folds)
    n_valid = sum(len(fold.split(-1)[1]) for fold in rows.folds)
    members = Members([trial.setting for trial in searched.best.values()])
    max_times = [
        _max_time(fits, setting, searched.max_time, seconds / len(members.settings))
        for setting in members.settings
    ]
    for order in range(min(_MOST_ORDERS, rows.n_orders or _MOST_ORDERS)):
        before = fits.seconds
        one = _fit_chain(fits, members.settings, max_times, order)
        if order == 0 and len(one.useful) < len(members.settings):
            # What the others do without has no place in further orders; its time goes to more of them.
            members.settings = [members.settings[k] for k in one.useful]
            max_times = [max_times[k] for k in one.useful]
            one = _fit_chain(fits, members.settings, max_times, order)
        members.add(one, rows.is_folded)
        test_seconds = n_test / n_valid * sum(each.seconds for each in members.chains)
        next_seconds = fits.seconds - before + n_test / n_valid * one.seconds
        is_out_of_time = fits.seconds - started + test_seconds + next_seconds > seconds
        if is_out_of_time or (not rows.is_folded and members.has_stopped_gaining(rows.n_columns)):
            break
    return members


def _max_time(fits: Fits, setting: Setting, searched: float, seconds: float) -> float:
    """Return how long a fit of a member may take: longer than in the search, if that one used its time up."""
    if fits.fit(setting, searched).seconds < _USED_UP * searched:
        return searched
    return max(searched, seconds / _LEAST_ORDERS / len(fits.rows.folds))


def _fit_chain(fits: Fits, settings: list[Setting], max_times: list[float], order: int) -> Chain:
    """Fit the networks of one order in each fold; in folds, each order holds out another part."""
    held = -1 - order if fits.rows.is_folded else -1
    fitted = [
        [
            fits.fit(setting, max_time, fold=fold, held=held, order=order)
            for setting, max_time in zip(settings, max_times, strict=True)
        ]
        for fold in range(len(fits.rows.folds))
    ]

    def weigh() -> dict[str, Array]:
        start = time.perf_counter()
        scored = [
            _scored(fits, each, settings, rows.split(held)[1], order)
            for rows, each in zip(fits.rows.folds, fitted, strict=True)
        ]
        cells, alone = (np.concatenate(part, axis=1) for part in zip(*scored, strict=True))
        shares = weights(cells.reshape(len(cells), -1))
        useful = _useful(cells, alone) if order == 0 else range(len(settings))
        took = np.array(time.perf_counter() - start)
        found = np.concatenate([chain(cells, shares)[None], alone])
        return {"shares": shares, "rows": found, "useful": np.array(useful), "seconds": took}

    keys = [fit.key for each in fitted for fit in each]
    found = fits.run.arrays(f"{fits.rows.name}-chain-{order}-{len(settings)}", weigh, keys)
    fits.seconds += float(found["seconds"])
    useful, seconds = found["useful"].tolist(), float(found["seconds"])
    return Chain(order, fitted, found["shares"], found["rows"], useful, seconds)


def _scored(
    fits: Fits, fitted: list[Fit], settings: list[Setting], rows: Array, order: int
) -> tuple[Array, Array]:
    """Return what each network gives the cells of rows in an order, (K, n, D), and rows alone, (K, n).

    Networks that take one pass for an order are averaged over several when they are alone.
    """
    cells = np.stack([fits.cells(fit, rows, order) for fit in fitted])
    alone = cells.sum(axis=2, dtype=np.float64)
    for k, (fit, setting) in enumerate(zip(fitted, settings, strict=True)):
        if setting.is_any_order and rows.shape[1] <= MOST_COLUMN_NETWORKS:
            others = [fits.cells(fit, rows, _ORDERS_ALONE * (1 + order) + j) for j in range(1, _ORDERS_ALONE)]
            each = np.stack([alone[k], *(other.sum(axis=1, dtype=np.float64) for other in others)])
            alone[k] = mixture(each, np.full(_ORDERS_ALONE, 1 / _ORDERS_ALONE))
    return cells, alone


def _useful(cells: Array, alone: Array) -> list[int]:
    """Return the numbers of the networks to keep: from the last on, those without which rows have less."""

    def mixed(kept: list[int]) -> float:
        shares = weights(cells[kept].reshape(len(kept), -1))
        rows = np.concatenate([chain(cells[kept], shares)[None], alone[kept]])
        return float(mixture(rows, weights(rows)).mean())

    kept = list(range(len(cells)))
    best = mixed(kept)
    for k in reversed(range(1, len(cells))):
        others = [each for each in kept if each != k]
        without = mixed(others)
        if best - without < _TOLERANCE * cells.shape[2]:
            kept, best = others, without
    return kept


def score_test_rows(fits: Fits, members: Members) -> dict[str, Array]:
    """Return the log-likelihoods of the test rows of all folds: their one look at the models.

    Returns
    -------
    dict of str to ndarray
        ``single`` and ``ensemble``, nats per row, (n,) each, and ``seconds``.
    """

    def compute() -> dict[str, Array]:
        start = time.perf_counter()
        single, ensemble = [], []
        for number, fold in enumerate(fits.rows.folds):
            rows = []
            for each in members.chains:
                cells, alone = _scored(fits, each.fits[number], members.settings, fold.test, each.order)
                rows.append(np.concatenate([chain(cells, each.shares)[None], alone]))
                if each.order == 0:
                    single.append(cells[0].sum(axis=1, dtype=np.float64))
            ensemble.append(mixture(np.concatenate(rows), members.shares.ravel()))
        took = np.array(time.perf_counter() - start)
        return {"single": np.concatenate(single), "ensemble": np.concatenate(ensemble), "seconds": took}

    keys = [[fit.key for fits_of_fold in each.fits for fit in fits_of_fold] for each in members.chains]
    return fits.run.arrays(f"{fits.rows.name}-test", compute, keys)
