"""The split of log-likelihoods over columns and cells under chains of conditionals, and ensembles of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from chainrule import inference
from chainrule.estimators.conditional_query import ConditionalQuery
from chainrule.estimators.surprisal import (
    MarginalSurprisal,
    Surprisal,
    mean_of_members,
    split_without_unseen,
)
from chainrule.kernels.row_blocks import batches_of_whole_blocks
from chainrule.orders import natural_order
from chainrule.training import Rows, evaluation_batch

if TYPE_CHECKING:
    from chainrule.estimators.autoregressive import AutoregressiveEstimator
    from chainrule.estimators.base import DensityEstimator

__all__ = ["ChainSurprisal", "EnsembleSurprisal"]


class _QueriedCells(Surprisal):
    """Cells by conditional queries.

    Parameters
    ----------
    estimator : DensityEstimator
        Fitted, and one that answers conditional queries.
    """

    def __init__(self, estimator: DensityEstimator) -> None:
        self.estimator = estimator

    def of_cells(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the answers for each cell given all others, averaged over the orders."""
        engine, observed = self.estimator.query_engine(None), np.isfinite(codes)
        known = np.where(observed, codes, np.nan)
        scores = np.empty(codes.shape)
        for d in range(codes.shape[1]):
            query = np.zeros_like(observed)
            query[:, d] = observed[:, d]
            answers = engine.log_probs(ConditionalQuery(known, observed & ~query, query, context))
            scores[:, d] = np.logaddexp.reduce(answers, axis=0) - np.log(len(answers))
        scores += self.estimator.schema_.log_abs_det_jacobian_of_cells(codes)
        return np.where(np.isnan(codes), np.nan, scores)

    def expected(
        self, codes: np.ndarray, context: np.ndarray | None, d: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mode or the mean of the distribution of column d."""
        observed, query = np.isfinite(codes), np.zeros(codes.shape, bool)
        codes = np.where(observed, codes, np.nan)
        order = self.column_order()
        if self.estimator.surprisal_given == "before" and order is not None:
            observed[:, order[order.tolist().index(d) :]] = False
        observed[:, d], query[:, d] = False, True
        engine = self.estimator.query_engine(None)
        asked = ConditionalQuery(codes, observed, query, context)
        distribution = engine.distribution(asked, d).as_numbers()
        if not self.estimator.schema_.variables[d].is_numeric:
            return distribution.mode(), distribution.probabilities.max(axis=1)
        return distribution.mean(), np.full(len(codes), np.nan)


class ChainSurprisal(_QueriedCells):
    """The split of one chain of conditionals, or of the orders and masks that it averages over.

    Parameters
    ----------
    estimator : AutoregressiveEstimator
        Fitted.
    """

    estimator: AutoregressiveEstimator

    def column_order(self) -> np.ndarray | None:
        """Return the order of the chain; of a model of any order that of the columns."""
        network = self.estimator.model_.conditioner
        if network.is_any_order:
            return np.arange(network.n_variables)
        orders = [network.order(member).cpu().numpy() for member in range(network.n_members)]
        return orders[0] if all(np.array_equal(orders[0], order) for order in orders) else None

    def of_columns(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the terms of the chain."""
        schema, known = self.estimator.schema_, codes
        if self.estimator.model_.conditioner.is_any_order:  # what it has never seen, it leaves out
            known = np.where(np.isfinite(codes), codes, np.nan)
        known = schema.coarse(known)
        scores = split_without_unseen(self._split, known, context, schema.n_codes, self.column_order())
        scores = np.where(np.isnan(scores), 0.0, scores) + schema.log_abs_det_jacobian_of_cells(codes)
        return np.where(np.isnan(codes), np.nan, scores)

    @torch.no_grad()
    def _split(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return log p(x_d | the columns before it) of coarse codes, (n, D), NaN where missing."""
        scores = np.empty(codes.shape)
        for batch, blocks in batches_of_whole_blocks(len(codes), evaluation_batch(self.estimator.model_)):
            rows = self.estimator._rows(codes[blocks], None if context is None else context[blocks])
            terms = mean_of_members(np.stack(self._log_conditionals(rows)))
            scores[batch] = terms[: batch.stop - batch.start]
        return scores

    def _log_conditionals(self, rows: Rows) -> list[np.ndarray]:
        """Return the terms of each member's log p(x), (n, D); of a model of any order those of one order."""
        model = self.estimator.model_
        if not model.conditioner.is_any_order:
            members = range(model.n_members)
            return [model.log_conditionals(rows.codes, k, rows.context).cpu().numpy() for k in members]
        observed = ~rows.codes.isnan()
        order = natural_order(observed.shape[1]).to(observed.device)
        nothing = torch.zeros_like(observed)
        terms = inference.log_conditionals(model, rows.codes, nothing, observed, order, rows.context).cpu()
        return [np.where(observed.cpu(), terms, np.nan)]


class EnsembleSurprisal(Surprisal):
    """The split of the mean of several models' probabilities.

    Parameters
    ----------
    ensemble : DensityEstimator
    members : sequence of DensityEstimator
        What it averages over, fitted to the same columns.
    """

    def __init__(self, ensemble: DensityEstimator, members: Sequence[DensityEstimator]) -> None:
        self.members: list[Surprisal] = [member.surprisals() for member in members]
        by_queries = isinstance(self.members[0], _QueriedCells)
        self._whole = _EnsembleOfChains(ensemble, self) if by_queries else MarginalSurprisal(ensemble)

    def column_order(self) -> np.ndarray | None:
        """Return the order that all members share, or None if they differ."""
        first, *others = (member.column_order() for member in self.members)
        if first is None or any(order is None or not np.array_equal(order, first) for order in others):
            return None
        return first

    def of_columns(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the terms of the members, by their shares in each row's probability."""
        return mean_of_members(np.stack([member.of_columns(codes, context) for member in self.members]))

    def of_cells(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return those of the whole."""
        return self._whole.of_cells(codes, context)

    def expected(
        self, codes: np.ndarray, context: np.ndarray | None, d: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return that of the whole."""
        return self._whole.expected(codes, context, d)


class _EnsembleOfChains(_QueriedCells):
    """Cells of an ensemble of chains, columns as the ensemble has them."""

    def __init__(self, ensemble: DensityEstimator, split: EnsembleSurprisal) -> None:
        super().__init__(ensemble)
        self.split = split

    def column_order(self) -> np.ndarray | None:
        """Return the order that all members share."""
        return self.split.column_order()

    def of_columns(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the terms of the members."""
        return self.split.of_columns(codes, context)
