"""Linear layers of which a mask forbids some weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chainrule.kernels.row_blocks import linear
from chainrule.kernels.staircase import StaircaseProduct, blocks_of

__all__ = ["MaskedLinear", "Permuted", "StaircaseLinear"]


def _drawn(mask: Tensor, gain: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Return weights with variance gain^2 / (number of connected inputs), forbidden ones among them."""
    fan_in = mask.sum(1, keepdim=True).clamp(min=1)
    weight = torch.empty(mask.shape, dtype=like.dtype, device=like.device).normal_(generator=generator)
    return weight.mul_(gain / fan_in.sqrt())


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
    mask : Tensor, bool (n_out, n_in)
        Row i allows the first so many inputs, later rows no fewer.
    bias : bool
    """

    prefix: Tensor

    def __init__(self, mask: Tensor, *, bias: bool) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.zeros(0))
        self.bias = nn.Parameter(torch.zeros(len(mask))) if bias else None
        self.fix_mask(mask)

    def fix_mask(self, mask: Tensor) -> None:
        """Use a mask for good and clear the weights it forbids; all of them, if its blocks are new."""
        prefix = mask.sum(1)
        self.n_in = mask.shape[1]
        if not torch.equal(mask, torch.arange(self.n_in, device=mask.device) < prefix[:, None]):
            raise ValueError("the mask is no staircase: each row must allow the first inputs")
        if (prefix.diff() < 0).any():
            raise ValueError("the mask is no staircase: no row may allow fewer inputs than the one before it")
        self.register_buffer("prefix", prefix, persistent=False)
        self.blocks = blocks_of(prefix.tolist())
        for number, block in enumerate(self.blocks):
            stair = mask[block.rows][block.stairs].to(self.packed.dtype)
            self.register_buffer(f"_stair_{number}", stair, persistent=False)
        size = self.blocks[-1].start + self.blocks[-1].size
        if self.packed.numel() != size:
            self.packed = nn.Parameter(self.packed.new_zeros(size))
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

    def reset(self, mask: Tensor, gain: float, generator: torch.Generator) -> None:
        """Draw the weights with variance gain^2 / (number of inputs under a mask)."""
        self.set_dense(_drawn(mask, gain, generator, self.packed))

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
        return StaircaseProduct.apply(x, self.packed, self.bias, self.blocks, self._stairs())


class MaskedLinear(nn.Module):
    """A linear layer under masks that change from call to call.

    `mask_weight` tells each unit which inputs it has (Germain et al. 2015, sec. 4.4: connectivity weights).
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.mask_weight = nn.Parameter(torch.zeros(n_out, n_in))

    def weights(self) -> list[Tensor]:
        """Return all parameters but the bias."""
        return [self.weight, self.mask_weight]

    def reset(self, typical_mask: Tensor, gain: float, generator: torch.Generator) -> None:
        """Draw the weights with variance gain^2 / (number of inputs under a mask).

        None is left at zero: one that this mask forbids may belong to another.
        """
        with torch.no_grad():
            self.weight.copy_(_drawn(typical_mask, gain, generator, self.weight))

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
