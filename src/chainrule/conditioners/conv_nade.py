"""ConvNADE: one convolutional network for the conditionals of every order (Uria et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.conditioners.any_order import AnyOrderPass
from chainrule.conditioners.base import activation_gain, context_layer, place_of, undrawn_layer
from chainrule.conditioners.convolutions import trained_in_bfloat16
from chainrule.conditioners.encoding import InputEncoding
from chainrule.conditioners.image_cells import ImageCells
from chainrule.conditioners.observed_set import ObservedSetConditioner
from chainrule.image_shape import ImageShape
from chainrule.kernels.row_blocks import block_rows, linear

__all__ = ["ConvNADEConditioner"]

# Maps are halved until no side is longer.
_COARSEST = 8


class ConvNADEConditioner(ObservedSetConditioner):
    """A convolutional network that sees observed pixels and which they are, and predicts all others.

    Maps of cells, of 2 x 2 pixels in larger images, are halved down to about 7 x 7. There, units connected to
    the whole map let every output see every pixel. On the way back up, coarse maps are added to fine ones
    (Ronneberger et al. 2015), on which most residual blocks work: a sequential pass, which wants one pixel at
    a time, evaluates those around that pixel only.

    Parameters
    ----------
    encoding, starts, orders, activation
        As in `Conditioner`; the orders are those of `forward` and of averages, not of training.
    shape : ImageShape
    n_channels : int
        Of the fine maps; the coarser ones have twice as many.
    n_blocks : int
        Residual blocks of two 3 x 3 convolutions on the fine maps.
    n_hidden : int
        Units that see the whole image, in each of two layers.
    n_context : int
        C, the number of context features.
    """

    before: nn.Module
    after: nn.Module

    recipe = "convolutional any-order"

    def __init__(
        self,
        encoding: InputEncoding,
        starts: Sequence[int],
        orders: Tensor,
        shape: ImageShape,
        *,
        n_channels: int,
        n_blocks: int,
        n_hidden: int,
        activation: str = "relu",
        n_context: int = 0,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(encoding, starts, orders, activation)
        place = place_of(generator)
        widths = torch.tensor(self.starts).diff().tolist()
        # Of each variable its features, and whether it is observed.
        self.inputs: ImageCells = ImageCells(shape, [each.width + 1 for each in encoding.features])
        self.outputs_of_cells: ImageCells = ImageCells(shape, widths)
        of_variables = torch.cat([encoding.feature_variable, torch.arange(orders.shape[1])])
        self.register_buffer("_by_variable", torch.argsort(of_variables, stable=True), persistent=False)
        self.sizes: list[tuple[int, int]] = list(_halved(self.inputs.size))
        channels = [n_channels, *[2 * n_channels] * (len(self.sizes) - 1)]
        self.stem: nn.Conv2d = _convolution(self.inputs.n_channels, n_channels, place, bias=False)
        # What distinguishes places of the image from each other.
        self.places: nn.Parameter = nn.Parameter(torch.empty(n_channels, *self.sizes[0], device=place))
        self.shrink: nn.ModuleList = nn.ModuleList(
            _convolution(wide, narrow, place, stride=2) for wide, narrow in pairwise(channels)
        )
        n_coarse = channels[-1] * self.sizes[-1][0] * self.sizes[-1][1]
        self.before, self.after = (_Block(channels[-1], place) for _ in range(2))
        self.to_whole: nn.Linear = undrawn_layer(n_coarse, n_hidden, place)
        self.whole: nn.Linear = undrawn_layer(n_hidden, n_hidden, place)
        self.from_whole: nn.Linear = undrawn_layer(n_hidden, n_coarse, place)
        self.grow: nn.ModuleList = nn.ModuleList(
            _convolution(narrow, wide, place, kernel=1) for wide, narrow in pairwise(channels)
        )
        self.blocks: nn.ModuleList = nn.ModuleList(_Block(n_channels, place) for _ in range(n_blocks))
        self.output: nn.Conv2d = _convolution(
            n_channels, self.outputs_of_cells.n_channels, place, kernel=1, bias=False
        )
        self.output_bias: nn.Parameter = nn.Parameter(torch.empty(self.n_outputs, device=place))
        self.first_context: nn.Linear | None = context_layer(n_context, n_hidden, place)
        self.output_context: nn.Linear | None = context_layer(n_context, self.n_outputs, place)
        if generator is not None:
            self._reset(generator)

    @torch.no_grad()
    def _reset(self, generator: torch.Generator) -> None:
        gain = activation_gain(self.activation)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in = layer.weight[0].numel()
                layer.weight.normal_(generator=generator).mul_(gain * fan_in**-0.5)
                if layer.bias is not None:
                    layer.bias.zero_()
        branch = (len(self.blocks) + 3) ** -0.5
        blocks = [block for block in self.modules() if isinstance(block, _Block)]
        for weight in (*(block.second.weight for block in blocks), self.from_whole.weight):
            weight.mul_(branch)
        # Nearly constant outputs: training starts from the marginals that the output bias holds.
        self.output.weight.mul_(0.1)
        self.places.zero_()
        self.output_bias.zero_()
        for context in (self.first_context, self.output_context):
            if context is not None:
                context.weight.normal_(generator=generator).mul_(0.1)

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe."""
        shape = self.inputs.shape
        return {"activation": self.activation, "image_shape": [shape.height, shape.width, shape.channels]}

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        with torch.no_grad():
            self.output_bias.copy_(bias)

    def activations_per_row(self) -> int:
        """Return about how many activations the widest step of `forward` holds for one row."""
        height, width = self.sizes[0]
        widest = max(self.inputs.n_channels, len(self.places), self.outputs_of_cells.n_channels)
        return max(self.n_outputs, height * width * widest)

    def products_per_step(self) -> int:
        """Return about how many multiplications a step of a sequential pass takes for each row."""
        reach = 4 * len(self.blocks) + 1
        n_cells = [height * width for height, width in self.sizes]
        near = min(reach, self.sizes[0][0]) * min(reach, self.sizes[0][1])
        at_places = [
            (n_cells[0], self.stem),
            *zip(n_cells[1:], self.shrink, strict=True),
            *zip(n_cells[1:], self.grow, strict=True),
            *((n_cells[-1], block) for block in (self.before, self.after)),
            *((near, block) for block in self.blocks),
            *((1, layer) for layer in (self.to_whole, self.whole, self.from_whole)),
        ]
        return sum(n * sum(p.numel() for p in layer.parameters()) for n, layer in at_places)

    def decayed_parameters(self) -> list[Tensor]:
        """Return the matrices and kernels."""
        return [layer.weight for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]

    # ---------------------------------------------------------------- one pass

    def training_outputs(
        self,
        x: Tensor,
        present: Tensor | None,
        member: int = 0,
        context: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what `ObservedSetConditioner` does, in bfloat16 where the processor does so faster."""
        with trained_in_bfloat16(x, self.places.numel()):
            return super().training_outputs(x, present, member, context, drawn)

    def outputs_from(
        self, x: Tensor, observed: Tensor, order: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) of all variables, each from the observed ones alone.

        They are the same for every order of the observed ones.
        """
        outputs = _in_blocks(self._outputs_of_inputs, self.inputs_of(x, observed), context)
        return outputs if self.output_context is None else outputs + self.output_context(context)

    def _outputs_of_inputs(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        maps = self.fine_maps(inputs, context)
        for block in self.blocks:
            maps = block(maps, self.activate)
        return self.outputs_of_cells.from_maps(self.output(self.activate(maps))) + self.output_bias

    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the activations of the last layer of units that see the whole image, (n, n_hidden).

        They are what the network makes of all pixels that are not missing (NaN).
        """
        missing = x.isnan()
        inputs = self.inputs_of(x.masked_fill(missing, 0.0), ~missing)
        return _in_blocks(self._embedding, inputs, context)

    def _embedding(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        return self.activate(self._whole(self._skips(inputs)[-1], context))

    def inputs_of(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return the numbers of all cells (n, K): features of what is observed, and which that is."""
        mask = observed.to(x.dtype)
        features = self.encoding(x) * mask[:, self.encoding.feature_variable]
        return self.inputs.spread(torch.cat([features, mask], dim=1)[:, self.get_buffer("_by_variable")])

    def fine_maps(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Return what the blocks of the fine maps start from, (n, channels, height, width)."""
        skips = self._skips(inputs)
        coarse = skips.pop()
        hidden = self.activate(self._whole(coarse, context))
        seen = self.from_whole(hidden).view(len(coarse), *self.sizes[-1], -1).permute(0, 3, 1, 2)
        maps = self.after(coarse + seen, self.activate)
        for skip, grow in zip(reversed(skips), reversed(self.grow), strict=True):
            maps = skip + F.interpolate(grow(self.activate(maps)), size=skip.shape[2:], mode="nearest")
        return maps

    def _skips(self, inputs: Tensor) -> list[Tensor]:
        """Return the maps of each size on the way down, the coarsest after its block."""
        skips = [self.stem(self.inputs.to_maps(inputs)) + self.places]
        for shrink in self.shrink:
            skips.append(shrink(self.activate(skips[-1])))
        skips[-1] = self.before(skips[-1], self.activate)
        return skips

    def _whole(self, coarse: Tensor, context: Tensor | None) -> Tensor:
        """Return the pre-activations of the last layer that sees the whole image, (n, n_hidden)."""
        pre = self.to_whole(self.activate(coarse).permute(0, 2, 3, 1).reshape(len(coarse), -1))
        if self.first_context is not None:
            pre = pre + self.first_context(context)
        return pre + self.whole(self.activate(pre))

    # ---------------------------------------------------------------- one variable after the other

    def init_state_from(
        self, x: Tensor, observed: Tensor, order: Tensor, context: Tensor | None = None
    ) -> ConvNADEPass:
        """Return a sequential pass that has seen the observed variables of each row, in whatever order."""
        return ConvNADEPass(self, self.inputs_of(x, observed), context)

    def params_of(self, d: int, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Return the params (n, P_d) of one variable; its blocks see no more of the maps than they need."""
        maps = self.fine_maps(inputs, context)
        row, column = self.outputs_of_cells.rows[d], self.outputs_of_cells.columns[d]
        reach = 2 * len(self.blocks)
        top, left = max(0, row - reach), max(0, column - reach)
        maps = maps[:, :, top : row + reach + 1, left : column + reach + 1]
        for block in self.blocks:
            maps = block(maps, self.activate)
        last = self.activate(maps[:, :, row - top, column - left])
        outputs = slice(self.starts[d], self.starts[d + 1])
        first = self.outputs_of_cells.first_channels[d]
        weight = self.output.weight[first : first + outputs.stop - outputs.start].flatten(1)
        return linear(last, weight, self.output_bias[outputs])


class ConvNADEPass(AnyOrderPass):
    """The numbers of all cells, which each step puts through the network.

    Parameters
    ----------
    network : ConvNADEConditioner
    inputs : Tensor (n, K)
        What is observed.
    context : Tensor (n, C), optional
    """

    network: ConvNADEConditioner
    inputs: Tensor
    context: Tensor | None

    def __init__(self, network: ConvNADEConditioner, inputs: Tensor, context: Tensor | None) -> None:
        self.network, self.inputs, self.context = network, inputs, context
        self.output_context: Tensor | None = (
            None if network.output_context is None else network.output_context(context)
        )

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d given what each row has seen."""
        params = _in_blocks(partial(self.network.params_of, d), self.inputs, self.context)
        outputs = slice(self.network.starts[d], self.network.starts[d + 1])
        return params if self.output_context is None else params + self.output_context[:, outputs]

    def update(self, d: int, value: Tensor, rows: Tensor | None = None) -> None:
        """Take in the codes (n,) of variable d in some rows (bool (n,)), or in all."""
        features = self.network.encoding.of_variable(d, value)
        numbers = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        self.inputs: Tensor = self.network.inputs.replaced(self.inputs, d, numbers, rows)


class _Block(nn.Module):
    """Two 3 x 3 convolutions, added to what they see (He et al. 2016)."""

    first: nn.Conv2d
    second: nn.Conv2d

    def __init__(self, n_channels: int, place: torch.device) -> None:
        super().__init__()
        self.first, self.second = (_convolution(n_channels, n_channels, place) for _ in range(2))

    def forward(self, maps: Tensor, activate: Callable[[Tensor], Tensor]) -> Tensor:
        """Return maps of the same shape."""
        added: Tensor = self.second(activate(self.first(activate(maps))))
        return maps + added


def _in_blocks(
    function: Callable[[Tensor, Tensor | None], Tensor], inputs: Tensor, context: Tensor | None
) -> Tensor:
    """Return a function of rows, of so many at a time where no gradient is wanted.

    Convolutions may take other kernels for other numbers of rows, which round differently. Scoring evaluates
    whole blocks of rows (`row_blocks`), so all of its convolutions have one shape.
    """
    if torch.is_grad_enabled() or len(inputs) <= block_rows():
        return function(inputs, context)
    beside = [None] * len(inputs) if context is None else context.split(block_rows())
    return torch.cat([function(*part) for part in zip(inputs.split(block_rows()), beside, strict=False)])


def _halved(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the sizes of maps, from fine to coarse.

    >>> list(_halved((14, 14))), list(_halved((1, 20)))
    ([(14, 14), (7, 7)], [(1, 20), (1, 10), (1, 5)])
    """
    yield size
    while max(size) > _COARSEST:
        size = -(-size[0] // 2), -(-size[1] // 2)
        yield size


def _convolution(
    n_in: int,
    n_out: int,
    place: torch.device,
    *,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    """Return a convolution that keeps the size of maps, or divides it by the stride; weights are undrawn."""
    layer: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d, n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=bias, device=place
    )
    return layer
