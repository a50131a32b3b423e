"""A causal convolutional network one pixel after the other: what no new pixel changes is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chainrule.conditioners.base import FixedOrderPass
from chainrule.conditioners.convolutions import convolved

if TYPE_CHECKING:
    from chainrule.conditioners.pixel_cnn import PixelCNNConditioner

__all__ = ["PixelCNNPass"]


class PixelCNNPass(FixedOrderPass):
    """The features of the pixels so far, and what each block keeps of the lines and pixels its kernels reach.

    The vertical stack is computed for a whole line at once, when the line begins; the horizontal stack for
    one pixel, when it begins; each channel takes its own small layer alone. So a pixel costs the layers of
    one pixel (Ramachandran et al. 2017).

    Parameters
    ----------
    network : PixelCNNConditioner
    n : int
    member : int
    context : Tensor (n, C), optional
    """

    vertical_start: Tensor
    horizontal_start: Tensor

    def __init__(self, network: PixelCNNConditioner, n: int, member: int, context: Tensor | None) -> None:
        super().__init__(network.order(member))
        self.network = network
        self.vertical_start, self.horizontal_start = network.start(member, context)
        shape, width = network.cells, network.n_filters
        reach, weight = network.kernel_size, network.output_bias
        # A margin of zeros, as wide as kernels reach, stands above and to both sides.
        self.features: Tensor = weight.new_zeros(
            n, reach + shape.height, reach + shape.width + reach, shape.channels * network.n_inputs
        )
        reach = network.kernel_size // 2
        n_blocks = len(network.blocks)
        self.lines: Tensor = weight.new_zeros(n_blocks, n, reach + 1, reach + shape.width + reach, width)
        self.pixels: Tensor = weight.new_zeros(n_blocks, n, reach + shape.width, width)
        self.from_above: Tensor = weight.new_zeros(n_blocks, n, shape.width, width)
        self.left: Tensor = _as_matrix(network.left)
        self.horizontal: list[Tensor] = [_as_matrix(block.horizontal) for block in network.causal_blocks]
        self.z = self.features[:, 0, 0]
        self.known_pixels = 0

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, the next one in the member's order."""
        self.check_next(d)
        network = self.network
        pixel, channel = divmod(self.position, network.cells.channels)
        row, column = divmod(pixel, network.cells.width)
        if pixel == self.known_pixels:
            if column == 0:
                self._begin_line(row)
            self._begin_pixel(row, column)
            self.known_pixels += 1
        reach = network.kernel_size
        params = network.params_of_channel(channel, self.z, self.features[:, reach + row, reach + column])
        outputs = slice(network.starts[d], network.starts[d + 1])
        return params[:, : outputs.stop - outputs.start] + network.output_bias[outputs]

    def update(self, d: int, value: Tensor) -> None:
        """Take in the codes (n,) of variable d."""
        network = self.network
        pixel, channel = divmod(self.position, network.cells.channels)
        row, column = divmod(pixel, network.cells.width)
        features = network.encoding.of_variable(d, value)
        first = channel * network.n_inputs
        place = self.features[:, network.kernel_size + row, network.kernel_size + column]
        place[:, first : first + features.shape[1]] = features
        self.position += 1

    def _begin_line(self, row: int) -> None:
        """Compute the vertical stack for a line, and what it gives to the horizontal stack."""
        network = self.network
        window = self.features[:, row : row + network.kernel_size]
        vertical = convolved(network.above, window) + self.vertical_start[:, row : row + 1]
        reach = network.kernel_size // 2
        columns = slice(reach, reach + network.cells.width)
        for number, block in enumerate(network.causal_blocks):
            lines = self.lines[number]
            lines[:, :-1] = lines[:, 1:].clone()
            lines[:, -1, columns] = network.activate(vertical)[:, 0]
            h = network.activate(convolved(block.vertical, lines))
            vertical = vertical + block.vertical_gated(h)
            self.from_above[number] = block.from_above(network.activate(vertical)[:, 0])

    def _begin_pixel(self, row: int, column: int) -> None:
        """Compute the horizontal stack for a pixel."""
        network = self.network
        reach = network.kernel_size
        window = self.features[:, reach + row, column : column + reach].flatten(1)
        h = self.horizontal_start[:, row, column] + window @ self.left
        reach = network.kernel_size // 2
        for number, block in enumerate(network.causal_blocks):
            self.pixels[number][:, reach + column] = network.activate(h)
            window = self.pixels[number][:, column : column + reach + 1].flatten(1)
            g = torch.addmm(self.from_above[number][:, column], window, self.horizontal[number])
            h = h + block.horizontal_gated(network.activate(g))
        self.z = network.before_heads(network.activate(h))


def _as_matrix(layer: nn.Conv2d) -> Tensor:
    """Return the weights of a convolution along one line, (width * n_in, n_out)."""
    return layer.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1)
