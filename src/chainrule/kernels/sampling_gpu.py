"""What ancestral sampling on a GPU must know of a network, and the door to its kernels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from chainrule.kernels.sampling_cpu import RowPlan

__all__ = ["GPUMADE", "GPUNADE", "sample_on_gpu"]


@dataclass(frozen=True)
class GPUMADE:
    """A MADE whose hidden layers are sorted by degree, in tensors on one device.

    Attributes
    ----------
    first : Tensor, (F, H_1)
        From features to the first layer.
    start : Tensor, (n or 1, H_1)
        Pre-activations of the first layer before any variable is known: bias and context.
    between : Tensor
        Weights (H_l, H_{l-1}) of the further layers, flattened, one after the other.
    bias : Tensor, (sum of H_l,)
        Biases of all layers, one after the other; those of the first are not read again.
    complete : Tensor, int64 (L, D + 1)
        How many units of a layer have all their inputs at each position, after a column of zeros.
    sizes : tuple of int, length L
    output : Tensor, (n_outputs, H_L)
    output_start : Tensor, (n or 1, n_outputs)
        Bias and context.
    direct : Tensor, (n_outputs, F), or None
    activation : int
    residual : bool
    """

    first: Tensor
    start: Tensor
    between: Tensor
    bias: Tensor
    complete: Tensor
    sizes: tuple[int, ...]
    output: Tensor
    output_start: Tensor
    direct: Tensor | None
    activation: int
    residual: bool


@dataclass(frozen=True)
class GPUNADE:
    """A NADE: weight (F, H), start (n or 1, H), output (n_outputs, H), output_start (n or 1, n_outputs)."""

    weight: Tensor
    start: Tensor
    output: Tensor
    output_start: Tensor
    activation: int


def sample_on_gpu(
    network: GPUMADE | GPUNADE, row: RowPlan, uniforms: Tensor, quantiles: Tensor | None
) -> Tensor:
    """Return rows (n, D) drawn from a network.

    Parameters
    ----------
    network : GPUMADE or GPUNADE
    row : RowPlan
    uniforms : Tensor, (n, D)
        Of binary variables their logits.
    quantiles : Tensor, (n, D), or None
        Standard quantiles of the variables that are mixtures; None where there are none.
    """
    from chainrule.kernels import sampling_triton

    if isinstance(network, GPUMADE):
        return sampling_triton.sample_made(network, row, uniforms, quantiles)
    return sampling_triton.sample_nade(network, row, uniforms, quantiles)
