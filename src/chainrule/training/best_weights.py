"""The weights that a fit keeps: those that did best on the validation rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from chainrule.model import AutoregressiveModel

__all__ = ["BestWeights"]

# Few rows say little about a single column: what the whole row says counts beside it like so many rows of it.
_ROWS_OF_THE_WHOLE = 5


class BestWeights:
    """The best weights of a model so far.

    Where rows are few and each column has a network of its own, each keeps the weights of the epoch that was
    best for its column: one column is learned by heart long before another one is learned.

    Parameters
    ----------
    model : AutoregressiveModel
    n_valid : int
        Number of validation rows.
    by_column : bool
        Whether the weights of each column are chosen by themselves, where the network has such.

    Attributes
    ----------
    weights : dict of str to Tensor
        By name; empty before the first epoch.
    """

    def __init__(self, model: AutoregressiveModel, n_valid: int, by_column: bool) -> None:
        self.weights: dict[str, Tensor] = {}
        n_variables = model.conditioner.n_variables
        own = [model.conditioner.own_weights(d) for d in range(n_variables)]
        self._own = own if by_column and all(own) else []
        self._share_of_the_whole = _ROWS_OF_THE_WHOLE / max(n_valid, 1)
        self._least = torch.full((n_variables if self._own else 1,), math.inf, dtype=torch.float64)

    def update(self, model: AutoregressiveModel, nll: Tensor | None) -> None:
        """Keep those weights of a model that are better than the best so far.

        Parameters
        ----------
        model : AutoregressiveModel
        nll : Tensor (D,) or (1,), or None
            What each column adds to the validation NLL, or all of it; None without validation rows: the last
            weights are the best.
        """
        state = {name: weight.detach() for name, weight in model.state_dict().items()}
        if nll is None:
            self.weights = _copy(state)
            return
        nll = nll.cpu()
        reached = nll + self._share_of_the_whole * nll.sum() if self._own else nll.sum(0, keepdim=True)
        is_better = reached < self._least
        self._least = torch.where(is_better, reached, self._least)
        if not self._own and is_better:
            self.weights = _copy(state)
        elif self._own:
            self.weights = self.weights or _copy(state)
            for d in is_better.nonzero().flatten().tolist():
                for name, index in self._own[d].items():
                    self.weights[f"conditioner.{name}"][index] = state[f"conditioner.{name}"][index]

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"weights": self.weights, "least": self._least}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.weights, self._least = dict(state["weights"]), state["least"].cpu()


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in state.items()}
