"""NADE: one hidden layer, shared weights, a running sum of pre-activations (Larochelle & Murray 2011).

Which unit sees what, for the order x2, x0, x1. There is one layer for each position, of the same units: its
pre-activations are those of the position before, plus what the variable before adds::

    features               x2             x0
                            | W2           | W0
    pre-activations   b ----+----- a_1 ----+----- a_2        a_r: after the r leading variables
                      |             |              |
    hidden units     h_0           h_1            h_2        h_r = activation(a_r)
                      | V2          | V0           | V1
    outputs         p(x2)      p(x0 | x2)    p(x1 | x2, x0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.conditioners.base import FixedOrderPass, context_layer, place_of, weights_of
from chainrule.conditioners.compiled import CompiledConditioner
from chainrule.conditioners.encoding import InputEncoding
from chainrule.kernels.nade import is_compiled, nade_outputs
from chainrule.kernels.plans import (
    SAMPLER_ACTIVATIONS,
    VECTOR_ACTIVATIONS,
    GPUNADEPlan,
    NADEPlan,
    vector_activation_code,
    whole_vectors,
)

__all__ = ["NADEConditioner"]


class NADEConditioner(CompiledConditioner):
    """h_r = act(b + sum over earlier features of W), and outputs c_d + V_d h_r for the variable d at r.

    W (F, H) and b are shared by all positions, V (n_outputs, H) and c belong to each variable: for binary
    data 2DH + H + D numbers.

    Parameters
    ----------
    encoding, starts, orders, activation
        As in `Conditioner`.
    hidden_size : int
        H.
    n_context : int
        C, the number of context features.
    """

    def __init__(
        self,
        encoding: InputEncoding,
        starts: Sequence[int],
        orders: Tensor,
        hidden_size: int,
        *,
        activation: str = "sigmoid",
        n_context: int = 0,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(encoding, starts, orders, activation)
        place = place_of(generator)
        self.weight: nn.Parameter = nn.Parameter(torch.zeros(encoding.n_features, hidden_size, device=place))
        self.bias: nn.Parameter = nn.Parameter(torch.zeros(hidden_size, device=place))
        self.output_weight: nn.Parameter = nn.Parameter(
            torch.zeros(self.n_outputs, hidden_size, device=place)
        )
        self.output_bias: nn.Parameter = nn.Parameter(torch.zeros(self.n_outputs, device=place))
        self.first_context: nn.Linear | None = context_layer(n_context, hidden_size, place)
        self.output_context: nn.Linear | None = context_layer(n_context, self.n_outputs, place)
        if generator is not None:
            self._reset(generator)

    def _reset(self, generator: torch.Generator) -> None:
        n_variables, hidden_size = self.n_variables, len(self.bias)
        with torch.no_grad():
            self.weight.normal_(generator=generator).mul_(n_variables**-0.5)
            self.bias.normal_(generator=generator).mul_(0.1)
            self.output_weight.normal_(generator=generator).mul_(0.1 * hidden_size**-0.5)
            for context in (self.first_context, self.output_context):
                if context is not None:
                    context.weight.normal_(generator=generator).mul_(0.1)

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        with torch.no_grad():
            self.output_bias.copy_(bias)

    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) for codes x (n, D) and context features (n, C)."""
        row, value = self.encoding.rows_and_values(x)
        outputs = nade_outputs(
            row,
            value,
            self.order(member),
            self.weight,
            self.start(x.shape[0], context),
            self.output_weight,
            tuple(self.starts),
            self.activation,
        )
        outputs = outputs + self.output_bias
        return outputs if self.output_context is None else outputs + self.output_context(context)

    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the hidden units (n, H) after all variables are known, which no order changes."""
        return self.activate(self.start(len(x), context) + self.encoding(x) @ self.weight)

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe."""
        return {"activation": self.activation}

    def activations_per_row(self) -> int:
        """Return about how many activations the widest step of `forward` holds for one row."""
        if is_compiled(self.activation, self.weight.device):
            return max(max(p.shape) for p in self.parameters())
        return self.n_variables * len(self.bias)

    def decayed_parameters(self) -> list[Tensor]:
        """Return the matrices."""
        return [self.weight, self.output_weight, *weights_of(self.first_context, self.output_context)]

    def start(self, n: int, context: Tensor | None) -> Tensor:
        """Return the pre-activations (n, H) before any variable is known."""
        start = self.bias.expand(n, -1)
        return start if self.first_context is None else start + self.first_context(context)

    def init_state(self, n: int, member: int = 0, context: Tensor | None = None) -> NADEPass:
        """Return a sequential pass over n rows of which nothing is known yet."""
        return NADEPass(self, n, member, context)

    def cpu_plan(self, order: int | Tensor = 0, context: Tensor | None = None) -> NADEPlan:
        """Return what the sampler on the CPU must know; all members share it, as each row has its order."""
        plan = self.kept("plan", self._new_plan)
        if self.first_context is None or self.output_context is None:
            return plan
        start, output_start = self.start(1, context), self.output_context(context)
        return replace(plan, start=whole_vectors(start), output_start=output_start.detach().numpy())

    def _new_plan(self) -> NADEPlan:
        is_vectors = self.activation in VECTOR_ACTIVATIONS
        bias = self.output_bias.detach()
        return NADEPlan(
            weight=whole_vectors(self.weight),
            start=whole_vectors(self.bias[None, :]),
            output=whole_vectors(self.output_weight),
            output_bias=bias.numpy(),
            output_start=torch.zeros_like(bias)[None, :].numpy(),
            activation=SAMPLER_ACTIVATIONS[self.activation],
            vector_activation=(
                vector_activation_code(self.activation, self.weight.dtype) if is_vectors else -1
            ),
        )

    @torch.no_grad()
    def gpu_plan(self, member: int = 0, context: Tensor | None = None) -> GPUNADEPlan:
        """Return what the sampler on the GPU must know; all members share it, as each row has its order."""
        return GPUNADEPlan(
            weight=self.weight.detach(),
            start=self.start(1 if context is None else len(context), context).contiguous(),
            output=self.output_weight.detach(),
            output_start=self.output_start(self.output_bias, context),
            activation=SAMPLER_ACTIVATIONS[self.activation],
        )


class NADEPass(FixedOrderPass):
    """The running sum (n, H) of pre-activations.

    Parameters
    ----------
    network : NADEConditioner
    n : int
    member : int
    context : Tensor (n, C), optional
    """

    pre: Tensor

    def __init__(self, network: NADEConditioner, n: int, member: int, context: Tensor | None) -> None:
        super().__init__(network.order(member))
        self.network = network
        self.pre = network.start(n, context).clone()
        self.output_context: Tensor | None = (
            None if network.output_context is None else network.output_context(context)
        )

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, the next one in the member's order."""
        self.check_next(d)
        network = self.network
        outputs = slice(network.starts[d], network.starts[d + 1])
        params = torch.addmm(
            network.output_bias[outputs], network.activate(self.pre), network.output_weight[outputs].T
        )
        return params if self.output_context is None else params + self.output_context[:, outputs]

    def update(self, d: int, value: Tensor) -> None:
        """Take in the codes (n,) of variable d."""
        encoding = self.network.encoding
        features = encoding.of_variable(d, value)
        rows = slice(encoding.starts[d], encoding.starts[d + 1])
        self.pre = torch.addmm(self.pre, features, self.network.weight[rows])
        self.position += 1
