"""A causal convolutional network over images, in two stacks (van den Oord et al. 2016; Salimans et al. 2017).

What the two stacks see of an image for the pixel ``?``, when pixels come line by line::

    v v v v v       the vertical stack sees all lines above, as wide as they are;
    v v v v v       the horizontal stack sees its own line up to the pixel, and what
    h h ? . .       the vertical stack makes of the lines above

One stack of masked kernels would be blind to the right of the pixel above. Here no kernel has a mask, and no
product with a zero is computed: kernels of the vertical stack end in their own line, and its input is moved
down by one line; those of the horizontal stack end in their own pixel, and its input is moved to the right by
one. The channels of a pixel are a chain: each has a small layer of its own that sees those before it.

Cells of 2 x 2 pixels take the place of pixels where `cell_size` is 2, and their pixels that of channels: the
stacks are computed at a quarter of the places, and kernels reach twice as far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.conditioners.base import (
    Conditioner,
    activation_gain,
    context_layer,
    place_of,
    undrawn_layer,
)
from chainrule.conditioners.convolutions import convolved, trained_in_bfloat16, undrawn_convolution
from chainrule.conditioners.dropout import dropout
from chainrule.conditioners.encoding import InputEncoding
from chainrule.conditioners.masked import Permuted
from chainrule.conditioners.pixel_cnn_sequential import PixelCNNPass
from chainrule.image_shape import ImageShape
from chainrule.orders import rank_of

__all__ = ["CausalBlock", "PixelCNNConditioner"]


class Gated(nn.Module):
    """A layer for each pixel whose outputs are let through as far as gates say, in (0, 1)."""

    def __init__(self, n_filters: int, place: torch.device) -> None:
        super().__init__()
        # Two products: the halves of one would lie apart in memory, which slows all that follows.
        self.value: nn.Linear = undrawn_layer(n_filters, n_filters, place)
        self.gate: nn.Linear = undrawn_layer(n_filters, n_filters, place)

    def forward(self, h: Tensor) -> Tensor:
        """Return what comes of h (..., W), of the same shape."""
        value: Tensor = self.value(h)
        return value * self.gate(h).sigmoid()


class CausalBlock(nn.Module):
    """A residual block of both stacks: a convolution, then a gated layer for each pixel.

    Parameters
    ----------
    n_filters : int
        W, the width of both stacks.
    kernel_size : int
        K, odd: kernels of the vertical stack are K wide and reach K // 2 lines up, those of the horizontal
        stack reach K // 2 pixels to the left.
    place : device
    """

    def __init__(self, n_filters: int, kernel_size: int, place: torch.device) -> None:
        super().__init__()
        reach = kernel_size // 2
        self.vertical: nn.Conv2d = undrawn_convolution(n_filters, n_filters, (reach + 1, kernel_size), place)
        self.vertical_gated: Gated = Gated(n_filters, place)
        self.horizontal: nn.Conv2d = undrawn_convolution(
            n_filters, n_filters, (1, reach + 1), place, bias=False
        )
        self.from_above: nn.Linear = undrawn_layer(n_filters, n_filters, place)
        self.horizontal_gated: Gated = Gated(n_filters, place)


class ChannelHead(nn.Module):
    """The last layers of one channel of a pixel.

    Parameters
    ----------
    n_before : int
        Features of the channels before it.
    n_filters : int
    n_params : int
    place : device
    """

    def __init__(self, n_before: int, n_filters: int, n_params: int, place: torch.device) -> None:
        super().__init__()
        self.before: nn.Linear | None = (
            undrawn_layer(n_before, n_filters, place, bias=False) if n_before else None
        )
        self.params: nn.Linear = undrawn_layer(n_filters, n_params, place, bias=False)


class PixelCNNConditioner(Conditioner):
    """A causal convolutional network over the pixels, in the scan of each member.

    Parameters
    ----------
    encoding, starts, orders, activation
        As in `Conditioner`; orders are meant to be scans of the image, or of its cells, see
        `ImageShape.scans` and `ImageShape.in_cells`.
    image_shape : ImageShape
    n_filters : int
        W, the width of both stacks.
    n_layers : int
        Residual blocks.
    kernel_size : int
        K of the blocks, odd and at least 3. The first layer sees K lines up, and K pixels to either side.
    cell_size : int
        Sides of the cells that are treated as pixels, in pixels.
    dropout : float
        Share of the activations in each block left out in training.
    n_context : int
        C, the number of context features.
    """

    n_inputs: int
    n_params: int

    recipe = "convolutional"

    place_in_cells: Tensor
    input_place: Tensor | None
    output_place: Tensor | None

    def __init__(
        self,
        encoding: InputEncoding,
        starts: Sequence[int],
        orders: Tensor,
        image_shape: ImageShape,
        n_filters: int,
        *,
        n_layers: int = 6,
        kernel_size: int = 3,
        cell_size: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        n_context: int = 0,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(encoding, starts, orders, activation)
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 3, got {kernel_size}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.image_shape = image_shape
        self.cells, variables = image_shape.in_cells(cell_size)
        self.register_buffer("place_in_cells", variables.argsort(), persistent=False)
        self.n_filters = n_filters
        self.kernel_size = kernel_size
        self.dropout = dropout
        # Features and params of a pixel are as wide as those of the widest variable.
        self.n_inputs, input_place = _places(encoding.starts)
        self.n_params, output_place = _places(self.starts)
        self.register_buffer("input_place", input_place, persistent=False)
        self.register_buffer("output_place", output_place, persistent=False)
        place = place_of(generator)
        self._make_stacks(n_layers, place)
        self._make_head(place)
        self.first_context: nn.Linear | None = context_layer(n_context, 2 * n_filters, place)
        if generator is not None:
            self._reset(generator)

    def _make_stacks(self, n_layers: int, place: torch.device) -> None:
        shape, width, reach = self.cells, self.n_filters, self.kernel_size
        n_inputs = shape.channels * self.n_inputs
        self.above: nn.Conv2d = undrawn_convolution(
            n_inputs, width, (reach, 2 * reach + 1), place, bias=False
        )
        self.left: nn.Conv2d = undrawn_convolution(n_inputs, width, (1, reach), place, bias=False)
        with place:  # what both stacks know of a pixel by its place, and of the scan
            self.of_line: nn.Parameter = nn.Parameter(torch.zeros(shape.height, 2 * width))
            self.of_column: nn.Parameter = nn.Parameter(torch.zeros(shape.width, 2 * width))
            self.of_scan: nn.Parameter = nn.Parameter(torch.zeros(len(self.orders), 2 * width))
        self.blocks: nn.ModuleList = nn.ModuleList(
            CausalBlock(width, self.kernel_size, place) for _ in range(n_layers)
        )

    def _make_head(self, place: torch.device) -> None:
        n_channels, width = self.cells.channels, self.n_filters
        self.before_heads: nn.Linear = undrawn_layer(width, n_channels * width, place)
        self.heads: nn.ModuleList = nn.ModuleList(
            ChannelHead(c * self.n_inputs, width, self.n_params, place) for c in range(n_channels)
        )
        with place:
            self.output_bias: nn.Parameter = nn.Parameter(torch.zeros(self.n_outputs))

    @property
    def causal_blocks(self) -> list[CausalBlock]:
        """The residual blocks."""
        return [block for block in self.blocks if isinstance(block, CausalBlock)]

    @property
    def channel_heads(self) -> list[ChannelHead]:
        """The last layers of each channel."""
        return [head for head in self.heads if isinstance(head, ChannelHead)]

    @torch.no_grad()
    def _reset(self, generator: torch.Generator) -> None:
        gain = activation_gain(self.activation)
        scales: dict[nn.Linear | nn.Conv2d, float] = {
            self.above: 1.0,
            self.left: 1.0,
            self.before_heads: gain,
        }
        for block in self.causal_blocks:
            scales[block.vertical] = gain
            scales[block.horizontal] = scales[block.from_above] = gain * 0.5**0.5  # they are added
            # Residual branches start small, so that depth does not inflate their sum.
            branch = gain * max(len(self.blocks), 1) ** -0.5
            for gated in (block.vertical_gated, block.horizontal_gated):
                scales[gated.value], scales[gated.gate] = branch, gain
        for head in self.channel_heads:
            # Nearly constant outputs: training starts from the marginals that the output bias holds.
            scales[head.params] = 0.1
            if head.before is not None:
                scales[head.before] = 1.0
        if self.first_context is not None:
            scales[self.first_context] = 0.1 * self.first_context.in_features**0.5
        for layer, scale in scales.items():
            layer.weight.normal_(generator=generator).mul_(scale * layer.weight[0].numel() ** -0.5)
            if layer.bias is not None:
                layer.bias.zero_()

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe."""
        shape = self.image_shape
        return {
            "activation": self.activation,
            "dropout": self.dropout,
            "image_shape": [shape.height, shape.width, shape.channels],
            "cells": [self.cells.height, self.cells.width, self.cells.channels],
        }

    def activations_per_row(self) -> int:
        """Return about how many activations the widest step of `forward` holds for one row."""
        shape = self.cells
        widest = max(2 * self.n_filters, shape.channels * max(self.n_filters, self.n_inputs, self.n_params))
        return max(shape.n_pixels * widest, self.n_outputs)

    def decayed_parameters(self) -> list[Tensor]:
        """Return the weights of all layers."""
        layers = [m for m in self.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        return [layer.weight for layer in layers]

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        with torch.no_grad():
            self.output_bias.copy_(bias)

    # ---------------------------------------------------------------- all pixels at once

    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) for codes x (n, D) and context features (n, C)."""
        order = self.order(member)
        grid = self._grid(x, order)
        z = self.before_heads(self.activate(self._last_states(grid, member, context)))
        n_channels = self.cells.channels
        params = [self.params_of_channel(c, z, grid) for c in range(n_channels)]
        outputs = torch.stack(params, dim=-2).view(len(x), self.n_variables, self.n_params)
        outputs = Permuted.apply(outputs, rank_of(order), order).flatten(1)
        if self.output_place is not None:
            outputs = outputs[:, self.output_place]
        return outputs + self.output_bias

    def training_outputs(
        self,
        x: Tensor,
        present: Tensor | None,
        member: int = 0,
        context: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs of a training step, computed in bfloat16 where the processor does so faster."""
        with trained_in_bfloat16(x, self.cells.n_pixels * self.n_filters):
            outputs = self(x, member, context)
        return outputs, None

    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the mean over the pixels of the last block's activations, (n, W)."""
        states = self._last_states(self._grid(x, self.order(member)), member, context)
        return self.activate(states).mean((1, 2))

    def _grid(self, x: Tensor, order: Tensor) -> Tensor:
        """Return the features (n, height, width, channels * n_inputs) of codes x, where a scan has them."""
        features = self.encoding(x)
        if self.input_place is not None:
            wide = features.new_zeros(len(x), self.n_variables * self.n_inputs)
            features = wide.index_copy(1, self.input_place, features)
        scanned = features.view(len(x), self.n_variables, -1).index_select(1, order)
        return self.cells.to_grid(scanned.flatten(1)).permute(0, 2, 3, 1)

    def start(self, member: int, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what the two stacks know without any pixel, (n or 1, height, width, W) each."""
        shape = self.cells
        pixels = self.place_in_cells[self.order(member)[:: shape.channels]] // shape.channels
        of_place = (self.of_line[:, None] + self.of_column).flatten(0, 1)[pixels]
        start = (of_place + self.of_scan[member % len(self.orders)]).view(1, shape.height, shape.width, -1)
        if self.first_context is not None:
            start = start + self.first_context(context)[:, None, None]
        vertical, horizontal = start.chunk(2, dim=-1)
        return vertical, horizontal

    def _last_states(self, grid: Tensor, member: int, context: Tensor | None) -> Tensor:
        """Return the states (n, height, width, W) of the horizontal stack that predict the pixels."""
        reach = self.kernel_size
        vertical, horizontal = self.start(member, context)
        above = convolved(self.above, F.pad(grid, (0, 0, reach, reach, reach, -1)))
        vertical = above + vertical.to(above.dtype)  # which is half as precise in training
        horizontal = convolved(self.left, F.pad(grid, (0, 0, reach, -1))) + horizontal.to(above.dtype)
        reach = self.kernel_size // 2
        lines = self.activate(vertical)
        for block in self.causal_blocks:
            h = convolved(block.vertical, F.pad(lines, (0, 0, reach, reach, reach, 0)))
            vertical = vertical + block.vertical_gated(self._dropped(self.activate(h)))
            lines = self.activate(vertical)
            h = convolved(block.horizontal, F.pad(self.activate(horizontal), (0, 0, reach, 0)))
            h = self._dropped(self.activate(h + block.from_above(lines)))
            horizontal = horizontal + block.horizontal_gated(h)
        return horizontal

    def params_of_channel(self, channel: int, z: Tensor, features: Tensor) -> Tensor:
        """Return the params (..., n_params) of a pixel's channel without the output bias.

        Parameters
        ----------
        channel : int
        z : Tensor (..., channels * W)
            What the layer after the blocks makes of what comes before the pixel.
        features : Tensor (..., channels * n_inputs)
            Those of the pixel itself, of which the channels before this one have an effect.
        """
        head = self.channel_heads[channel]
        hidden = z[..., channel * self.n_filters : (channel + 1) * self.n_filters]
        if head.before is not None:
            hidden = hidden + head.before(features[..., : channel * self.n_inputs])
        params: Tensor = head.params(self.activate(hidden))
        return params

    def _dropped(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout, self.generator) if self.training and self.dropout else h

    def init_state(self, n: int, member: int = 0, context: Tensor | None = None) -> PixelCNNPass:
        """Return a sequential pass that computes each layer where its last input has become known."""
        return PixelCNNPass(self, n, member, context)


def _places(starts: Sequence[int]) -> tuple[int, Tensor | None]:
    """Return the widest width of variables that start there, and where their entries stand if all have it.

    The latter is None where all have it.

    >>> _places([0, 2, 3]), _places([0, 2, 4])
    ((2, tensor([0, 1, 2])), (2, None))
    """
    widths = torch.tensor(starts).diff()
    widest = int(widths.max())
    if bool((widths == widest).all()):
        return widest, None
    return widest, (torch.arange(widest) < widths[:, None]).flatten().nonzero().squeeze(1)
