"""Orderless NADE: one deep network for the conditionals of every order (Uria, Murray & Larochelle 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.conditioners.any_order import AnyOrderPass
from chainrule.conditioners.base import activation_gain, context_layer, place_of, undrawn_layer, weights_of
from chainrule.conditioners.dropout import dropout
from chainrule.conditioners.encoding import InputEncoding
from chainrule.conditioners.observed_set import ObservedSetConditioner
from chainrule.kernels.row_blocks import linear

__all__ = ["OrderlessConditioner"]


class OrderlessConditioner(ObservedSetConditioner):
    """A deep network that sees the observed values and which they are, and predicts all others.

    Every unit sees every observed variable.

    Parameters
    ----------
    encoding, starts, orders, activation
        As in `Conditioner`; the orders are those of `forward` and of averages, not of training.
    hidden_sizes : sequence of int
    residual : bool
        Add each hidden layer's pre-activations to the next ones; all layers need the same width.
    dropout : float
        Share of hidden units left out in training.
    n_context : int
        C, the number of context features.
    """

    recipe = "shared-network"

    def __init__(
        self,
        encoding: InputEncoding,
        starts: Sequence[int],
        orders: Tensor,
        hidden_sizes: Sequence[int],
        *,
        activation: str = "relu",
        residual: bool = False,
        dropout: float = 0.0,
        n_context: int = 0,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(encoding, starts, orders, activation)
        if residual and len(set(hidden_sizes)) > 1:
            raise ValueError(f"residual layers need equal hidden_sizes, got {tuple(hidden_sizes)}")
        self.residual = residual
        self.dropout = dropout
        widths = [encoding.n_features + self.n_variables, *hidden_sizes]
        place = place_of(generator)
        self.hidden: nn.ModuleList = nn.ModuleList(
            undrawn_layer(n_in, n_out, place) for n_in, n_out in zip(widths[:-1], widths[1:], strict=True)
        )
        self.output: nn.Linear = undrawn_layer(widths[-1], self.n_outputs, place)
        self.first_context: nn.Linear | None = context_layer(n_context, widths[1], place)
        self.output_context: nn.Linear | None = context_layer(n_context, self.n_outputs, place)
        if generator is not None:
            self._reset(generator)

    @property
    def layers(self) -> list[nn.Linear]:
        """The hidden layers."""
        return [layer for layer in self.hidden if isinstance(layer, nn.Linear)]

    @torch.no_grad()
    def _reset(self, generator: torch.Generator) -> None:
        gain = activation_gain(self.activation)
        for number, layer in enumerate(self.layers):
            branch = len(self.layers) ** -0.5 if self.residual and number else 1.0
            # The first layer has two inputs per variable, of which half are observed on average.
            fan_in = layer.in_features if number else self.n_variables
            layer.weight.normal_(generator=generator).mul_((gain if number else 1.0) * branch * fan_in**-0.5)
            layer.bias.zero_()
        # Nearly constant outputs: training starts from the marginals that the output bias holds.
        self.output.weight.normal_(generator=generator).mul_(0.1 * self.output.in_features**-0.5)
        self.output.bias.zero_()
        for context in (self.first_context, self.output_context):
            if context is not None:
                context.weight.normal_(generator=generator).mul_(0.1)

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe."""
        return {"activation": self.activation, "residual": self.residual, "dropout": self.dropout}

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        with torch.no_grad():
            self.output.bias.copy_(bias)

    def activations_per_row(self) -> int:
        """Return about how many activations the widest step of `forward` holds for one row."""
        return max(self.n_outputs, *(layer.in_features for layer in self.layers), self.output.in_features)

    def products_per_step(self) -> int:
        """Return how many multiplications the layers after the first take for a row."""
        sizes = [layer.out_features for layer in self.layers]
        return sum(first * second for first, second in pairwise(sizes))

    def decayed_parameters(self) -> list[Tensor]:
        """Return the matrices."""
        return weights_of(*self.layers, self.output, self.first_context, self.output_context)

    def outputs_from(
        self, x: Tensor, observed: Tensor, order: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) of all variables, each from the observed ones alone.

        They are the same for every order of the observed ones.
        """
        outputs = self.output(self.last_hidden(self._pre(x, observed, context)))
        return outputs if self.output_context is None else outputs + self.output_context(context)

    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the activations of the last hidden layer, (n, H), after all that is not missing (NaN)."""
        missing = x.isnan()
        return self.last_hidden(self._pre(x.masked_fill(missing, 0.0), ~missing, context))

    def _pre(self, x: Tensor, observed: Tensor, context: Tensor | None) -> Tensor:
        """Return the first layer's pre-activations, (n, H_1)."""
        mask = observed.to(x.dtype)
        features = self.encoding(x) * mask[:, self.encoding.feature_variable]
        pre: Tensor = self.layers[0](torch.cat([features, mask], dim=1))
        return pre if self.first_context is None else pre + self.first_context(context)

    def last_hidden(self, pre: Tensor) -> Tensor:
        """Return the activations of the last hidden layer from the pre-activations of the first."""
        h = self._dropped(self.activate(pre))
        for layer in self.layers[1:]:
            pre = layer(h) + pre if self.residual else layer(h)
            h = self._dropped(self.activate(pre))
        return h

    def _dropped(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout, self.generator) if self.training and self.dropout else h

    def init_state_from(
        self, x: Tensor, observed: Tensor, order: Tensor, context: Tensor | None = None
    ) -> OrderlessPass:
        """Return a sequential pass that has seen the observed variables of each row, in whatever order."""
        return OrderlessPass(self, self._pre(x, observed, context), context)


class OrderlessPass(AnyOrderPass):
    """A running sum of the first layer's pre-activations, from which each step goes through the layers.

    Parameters
    ----------
    network : OrderlessConditioner
    pre : Tensor (n, H_1)
        The first layer's pre-activations from what is observed.
    context : Tensor (n, C), optional
    """

    pre: Tensor

    def __init__(self, network: OrderlessConditioner, pre: Tensor, context: Tensor | None) -> None:
        self.network = network
        self.pre = pre
        # Input after input, because each step takes the weights of one variable.
        self.weight: Tensor = network.layers[0].weight.T.contiguous()
        self.output_context: Tensor | None = (
            None if network.output_context is None else network.output_context(context)
        )

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d given what each row has seen."""
        outputs = slice(self.network.starts[d], self.network.starts[d + 1])
        output = self.network.output
        params = linear(self.network.last_hidden(self.pre), output.weight[outputs], output.bias[outputs])
        return params if self.output_context is None else params + self.output_context[:, outputs]

    def update(self, d: int, value: Tensor, rows: Tensor | None = None) -> None:
        """Take in the codes (n,) of variable d in some rows (bool (n,)), or in all."""
        encoding = self.network.encoding
        features = encoding.of_variable(d, value)
        mask = features.new_ones(features.shape[0], 1) if rows is None else rows.to(features.dtype)[:, None]
        flag = encoding.n_features + d
        inputs = [self.weight[encoding.starts[d] : encoding.starts[d + 1]], self.weight[flag : flag + 1]]
        self.pre = self.pre + linear(torch.cat([features * mask, mask], dim=1), torch.cat(inputs).T)
