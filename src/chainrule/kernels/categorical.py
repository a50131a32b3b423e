"""The hot loop of categorical conditionals: log softmax at the codes, of any numbers of levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.kernels.backends import has_numba

__all__ = ["categorical_log_prob", "categorical_log_prob_reference", "is_compiled"]


def categorical_log_prob_reference(
    x: Tensor, outputs: Tensor, first: Sequence[int], width: Sequence[int]
) -> Tensor:
    """Return log p of categories, variable after variable.

    Parameters
    ----------
    x : Tensor (n, G)
        Codes 0, ..., K_g - 1.
    outputs : Tensor (n, n_outputs)
        The logits of variable g are columns ``first[g]:first[g] + width[g]``.
    first, width : sequence of int, length G

    Returns
    -------
    Tensor (n, G)
    """
    columns = x.long()
    return torch.cat(
        [
            outputs[:, start : start + k].log_softmax(-1).gather(-1, columns[:, g : g + 1])
            for g, (start, k) in enumerate(zip(first, width, strict=True))
        ],
        dim=1,
    )


def is_compiled(outputs: Tensor) -> bool:
    """Return whether a compiled kernel serves these outputs."""
    return outputs.device.type == "cpu" and has_numba() and outputs.dtype == torch.float32


def categorical_log_prob(x: Tensor, outputs: Tensor, first: Sequence[int], width: Sequence[int]) -> Tensor:
    """Return log p of categories by the fastest way there is; see `categorical_log_prob_reference`."""
    if not is_compiled(outputs):
        return categorical_log_prob_reference(x, outputs, first, width)
    from chainrule.kernels.categorical_cpu import CompiledCategorical

    log_prob: Tensor = CompiledCategorical.apply(x, outputs, first, width)
    return log_prob
