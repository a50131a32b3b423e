"""The hot loop of mixtures in training: log p and its gradient in one pass."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from chainrule.kernels.backends import has_numba

__all__ = ["discretized_log_prob", "gaussian_log_prob", "is_compiled"]


def is_compiled(params: Tensor) -> bool:
    """Return whether a compiled kernel serves these params: those of a training step on the CPU.

    Elsewhere the families' own formulas do, which are exact to the last bit of each row whatever the batch.
    """
    is_training = params.requires_grad and torch.is_grad_enabled()
    return is_training and params.device.type == "cpu" and params.dtype == torch.float32 and has_numba()


def gaussian_log_prob(x: Tensor, params: Tensor, min_scale: float) -> Tensor:
    """Return the log-density of mixtures of Gaussians, (..., G).

    Parameters
    ----------
    x : Tensor (..., G)
    params : Tensor (..., G, 3M)
        M logits, locations and raw scales of each variable, ``scale = softplus(raw) + min_scale``.
    min_scale : float
    """
    from chainrule.kernels.mixtures_cpu import gaussians

    constants = np.full((params.shape[-2], 1), min_scale, np.float32)
    return _apply(x, params, gaussians, constants) - 0.5 * math.log(2 * math.pi)


def discretized_log_prob(x: Tensor, params: Tensor, n_levels: Tensor, narrowest: float) -> Tensor:
    """Return the log-probability of mixtures of logistics that are rounded to levels, (..., G).

    Parameters
    ----------
    x : Tensor (..., G)
        Levels 0, ..., K - 1, which lie evenly on [-1, 1].
    params : Tensor (..., G, 3M)
        M logits, locations and raw scales of each variable.
    n_levels : Tensor (G,) or (1,)
        K.
    narrowest : float
        The smallest scale, in half the width of a level.
    """
    from chainrule.kernels.mixtures_cpu import discretized_logistics

    last = np.broadcast_to(n_levels.numpy() - 1.0, params.shape[-2])
    half = 1.0 / np.maximum(last, 1.0)
    constants = np.stack([narrowest * half, half, last], axis=1).astype(np.float32)
    return _apply(x, params, discretized_logistics, constants)


def _apply(x: Tensor, params: Tensor, kernel: object, constants: np.ndarray) -> Tensor:
    from chainrule.kernels.mixtures_cpu import CompiledMixture

    codes = x.expand(params.shape[:-1])
    log_prob: Tensor = CompiledMixture.apply(
        codes.flatten(end_dim=-2), params.flatten(end_dim=-3), kernel, constants
    )
    return log_prob.reshape(codes.shape)
