"""AdamW (Loshchilov & Hutter 2019) by PyTorch's fused kernel.

`torch.optim` has the same, but brings PyTorch's compiler and its distributed tensors along: their import
takes as long as a small fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["AdamW"]


class AdamW:
    """Takes steps along the gradients of weights, of which some decay towards zero.

    Parameters
    ----------
    weights : sequence of Tensor
    decays : sequence of bool
        Which of them decay.
    weight_decay : float
    epsilon : float
    beta1, beta2 : float
        Of the means of gradients and of their squares.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        decays: Sequence[bool],
        *,
        weight_decay: float,
        epsilon: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
    ) -> None:
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._groups = [
            ([i for i, each in enumerate(decays) if each is decaying], weight_decay if decaying else 0.0)
            for decaying in (True, False)
        ]
        self._weights = list(weights)
        self._mean = [torch.zeros_like(w) for w in self._weights]
        self._square = [torch.zeros_like(w) for w in self._weights]
        self._steps = [torch.zeros((), dtype=torch.float32, device=w.device) for w in self._weights]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for weight in self._weights:
            weight.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Take a step; weights without a gradient stay as they are."""
        for members, weight_decay in self._groups:
            some = [i for i in members if self._weights[i].grad is not None]
            if not some:
                continue
            steps = [self._steps[i] for i in some]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                [self._weights[i] for i in some],
                [gradient for i in some if (gradient := self._weights[i].grad) is not None],
                [self._mean[i] for i in some],
                [self._square[i] for i in some],
                [],
                steps,
                lr=learning_rate,
                weight_decay=weight_decay,
                beta1=self._beta1,
                beta2=self._beta2,
                eps=self._epsilon,
                amsgrad=False,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for mine, saved in (
            (self._mean, state["mean"]), (self._square, state["square"]), (self._steps, state["steps"])
        ):  # fmt: skip
            for target, source in zip(mine, saved, strict=True):
                target.copy_(source)
