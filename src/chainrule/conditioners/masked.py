"""Linear layers of which a mask forbids some weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chainrule.kernels.backends import is_recorded
from chainrule.kernels.row_blocks import linear
from chainrule.kernels.staircase import Block, StaircaseProduct, blocks_of, staircase_product_reference

__all__ = ["MaskedLinear", "Permuted", "StaircaseLinear"]

_CPU = torch.device("cpu")


def _drawn(fan_in: Tensor, n_in: int, gain: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Return weights (n_out, n_in) with variance gain^2 / fan_in, of the connected inputs, (n_out,)."""
    weight = torch.empty(len(fan_in), n_in, dtype=like.dtype, device=like.device)
    return weight.normal_(generator=generator).mul_(gain / fan_in.clamp(min=1).sqrt()[:, None])


class Permuted(torch.autograd.Function):
    """Columns in another order, and a gradient that is put back by the inverse order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        """Return ``x[:, order]``."""
        ctx.save_for_backward(inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        """Return the gradient of x."""
        return gradients[0].index_select(1, ctx.saved_tensors[0]), None, None


class StaircaseLinear(nn.Module):
    """A linear layer under one fixed mask, a staircase, of which only the blocks are kept.

    Parameters
    ----------
    prefix : Tensor, int64 (n_out,)
        How many of the first inputs each row allows, later rows no fewer.
    n_in : int
    bias : bool
    place : device
        Where the parameters are to be.
    """

    packed: nn.Parameter
    blocks: list[Block]

    prefix: Tensor

    def __init__(self, prefix: Tensor, n_in: int, *, bias: bool, place: torch.device = _CPU) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.zeros(0, device=place))
        self.bias: nn.Parameter | None = (
            nn.Parameter(torch.zeros(len(prefix), device=place)) if bias else None
        )
        self.n_in = n_in
        self.fix_mask(prefix)

    def fix_mask(self, prefix: Tensor) -> None:
        """Use a mask for good and clear the weights it forbids; all of them, if its blocks are new."""
        if (prefix.diff() < 0).any():
            raise ValueError("the mask is no staircase: no row may allow fewer inputs than the one before it")
        self.register_buffer("prefix", prefix, persistent=False)
        self.blocks = blocks_of(prefix.tolist())
        size = self.blocks[-1].start + self.blocks[-1].size
        if self.packed.numel() != size:
            self.packed = nn.Parameter(self.packed.new_zeros(size))
        if self.packed.is_meta:
            return  # There is nothing to clear, and no room is taken, before weights are loaded.
        for number, block in enumerate(self.blocks):
            column = torch.arange(block.full, block.width, device=self.packed.device)
            stair = column < prefix[block.rows, None].to(self.packed.device)
            self.register_buffer(f"_stair_{number}", stair.to(self.packed.dtype), persistent=False)
        with torch.no_grad():
            for block, stair in zip(self.blocks, self._stairs(), strict=True):
                block.of(self.packed)[block.stairs].mul_(stair)

    def _stairs(self) -> list[Tensor]:
        return [self.get_buffer(f"_stair_{number}") for number in range(len(self.blocks))]

    def allowed(self) -> Tensor:
        """Return the mask, bool (n_out, n_in)."""
        return torch.arange(self.n_in, device=self.prefix.device) < self.prefix[:, None]

    def dense(self) -> Tensor:
        """Return the weights with zeros where the mask forbids them, (n_out, n_in)."""
        weight = self.packed.new_zeros(len(self.prefix), self.n_in)
        for block in self.blocks:
            weight[block.rows, block.columns] = block.of(self.packed)
        return weight

    def set_dense(self, weight: Tensor) -> None:
        """Take the allowed ones of weights (n_out, n_in)."""
        with torch.no_grad():
            weight = weight * self.allowed()
            for block in self.blocks:
                block.of(self.packed).copy_(weight[block.rows, block.columns])

    def offset(self) -> Tensor:
        """Return the bias, zeros where there is none, (n_out,)."""
        return self.packed.new_zeros(len(self.prefix)) if self.bias is None else self.bias

    def reset(self, gain: float, generator: torch.Generator) -> None:
        """Draw the weights with variance gain^2 / (number of inputs under the mask)."""
        self.set_dense(_drawn(self.prefix, self.n_in, gain, generator, self.packed))

    def weights(self) -> list[Tensor]:
        """Return all parameters but the bias."""
        return [self.packed]

    def n_free(self) -> int:
        """Return how many weights the mask allows."""
        return int(self.prefix.sum())

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, (n, n_out)."""
        if len(self.blocks) == 1 and not torch.is_grad_enabled():
            return linear(x[:, self.blocks[0].columns], self.blocks[0].of(self.packed), self.bias)
        if is_recorded():
            return staircase_product_reference(x, self.packed, self.bias, self.blocks)
        return StaircaseProduct.apply(x, self.packed, self.bias, self.blocks, self._stairs())


class MaskedLinear(nn.Module):
    """A linear layer under masks that change from call to call.

    `mask_weight` tells each unit which inputs it has (Germain et al. 2015, sec. 4.4: connectivity weights).
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool, place: torch.device = _CPU) -> None:
        super().__init__()
        self.weight: nn.Parameter = nn.Parameter(torch.zeros(n_out, n_in, device=place))
        self.bias: nn.Parameter | None = nn.Parameter(torch.zeros(n_out, device=place)) if bias else None
        self.mask_weight: nn.Parameter = nn.Parameter(torch.zeros(n_out, n_in, device=place))

    def weights(self) -> list[Tensor]:
        """Return all parameters but the bias."""
        return [self.weight, self.mask_weight]

    def reset(self, typical_mask: Tensor, gain: float, generator: torch.Generator) -> None:
        """Draw the weights with variance gain^2 / (number of inputs under a mask).

        None is left at zero: one that this mask forbids may belong to another.
        """
        with torch.no_grad():
            n_in = typical_mask.shape[1]
            self.weight.copy_(_drawn(typical_mask.sum(1), n_in, gain, generator, self.weight))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return x (W * mask)^T + b, (n, n_out), for a mask (n_out, n_in), or one for each row."""
        weight, bias = self.under(mask)
        if mask.ndim == 2:
            return linear(x, weight, bias)
        return torch.bmm(weight, x[:, :, None]).squeeze(2) + bias

    def offset(self) -> Tensor:
        """Return the bias, zeros where there is none, (n_out,)."""
        return self.weight.new_zeros(len(self.weight)) if self.bias is None else self.bias

    def under(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (..., n_out, n_in) and biases (..., n_out) as they act under masks of that shape."""
        mask = mask.to(self.weight.dtype)
        return self.weight * mask, self.offset() + (self.mask_weight * mask).sum(-1)
