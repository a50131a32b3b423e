"""What a one-dimensional conditional family offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

__all__ = ["Conditional", "choose_index"]


class Conditional(nn.Module, ABC):
    """A one-dimensional family p(x | params), evaluated for any number of variables at once.

    It learns nothing: what distinguishes two variables arrives in `params`. It is a module only so that its
    constants move with the model to another device.

    Attributes
    ----------
    n_parameters : int
        P, how many numbers describe one distribution.
    n_uniforms : int
        U, how many uniform numbers one draw uses up.
    """

    n_parameters: int
    n_uniforms: int = 1

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return log p(x | params) in nats, shape (...), for codes x (...) and params (..., P)."""

    @abstractmethod
    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return one draw per distribution, shape (...), from params (..., P) and uniforms (..., U)."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Return the expected code, shape (...); for categories, whose codes are names, see `mode`."""

    @abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable code, shape (...)."""

    @abstractmethod
    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x), shape (...)."""

    @abstractmethod
    def marginal_params(self, x: Tensor) -> Tensor:
        """Return params (G, P) that fit each column of the codes x (n, G) alone: where training starts."""


def choose_index(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Return the index drawn by inverting the cumulative `weights` (..., K) at `uniforms` (...)."""
    cumulative = weights.cumsum(-1)
    below = cumulative[..., :-1] <= uniforms[..., None] * cumulative[..., -1:]
    return below.sum(-1)


def softplus_inverse(y: Tensor) -> Tensor:
    """Return x with softplus(x) = y, for y > 0."""
    return y + torch.log(-torch.expm1(-y))
