"""The hot loop of conditionals: log p of rows and its gradient in one pass over all params."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.kernels.backends import has_numba
from chainrule.kernels.plans import LogProbPlan

__all__ = ["compiled_log_prob", "is_compiled"]


def is_compiled(outputs: Tensor) -> bool:
    """Return whether the compiled kernel serves these outputs: rows in single precision on the CPU."""
    return (
        outputs.device.type == "cpu" and outputs.dtype == torch.float32 and len(outputs) > 0 and has_numba()
    )


def compiled_log_prob(x: Tensor, outputs: Tensor, plan: LogProbPlan) -> Tensor:
    """Return log p of the variables that a plan knows.

    Parameters
    ----------
    x : Tensor (n, G)
        Codes of these variables; no gradient flows to them.
    outputs : Tensor (n, n_outputs)
        Single precision, on the CPU.
    plan : LogProbPlan

    Returns
    -------
    Tensor (n, G)
        Nats.
    """
    from chainrule.kernels.log_prob_cpu import CompiledLogProb

    log_prob: Tensor = CompiledLogProb.apply(x, outputs, plan)
    return log_prob
