"""NADE: one hidden layer, shared weights, a running sum of pre-activations (Larochelle & Murray 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.conditioners.base import Walk, context_layer, weights_of
from chainrule.conditioners.compiled import CompiledConditioner
from chainrule.conditioners.encoding import InputEncoding
from chainrule.kernels.nade import is_compiled, nade_outputs
from chainrule.kernels.sampling_cpu import SAMPLER_ACTIVATIONS, Draws, NADEPlan, RowPlan, sample_nade
from chainrule.kernels.sampling_gpu import GPUNADE
from chainrule.kernels.vector_activations import VECTOR_ACTIVATIONS, activation_code
from chainrule.kernels.vectors import whole_vectors

__all__ = ["NADEConditioner"]


@dataclass(kw_only=True)
class _NADEWalk(Walk):
    """The running pre-activations (n, H) of a step-by-step pass."""

    pre: Tensor = field(default_factory=torch.Tensor)
    output_context: Tensor | None = None


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
        generator: torch.Generator,
    ) -> None:
        super().__init__(encoding, starts, orders, activation)
        self.weight = nn.Parameter(torch.zeros(encoding.n_features, hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.output_weight = nn.Parameter(torch.zeros(self.n_outputs, hidden_size))
        self.output_bias = nn.Parameter(torch.zeros(self.n_outputs))
        self.first_context = context_layer(n_context, hidden_size)
        self.output_context = context_layer(n_context, self.n_outputs)
        self._pad_outputs()
        self._reset(generator)

    def _pad_outputs(self) -> None:
        """Lay the outputs out as (D, P) for the kernel, P being the widest variable's number of params."""
        first = torch.tensor(self.starts[:-1])[:, None]
        width = torch.tensor(self.starts).diff()[:, None]
        self._alike = bool((width == width[0]).all())
        column = torch.arange(int(width.max()))[None, :]
        used = column < width
        self.register_buffer("_output_row", torch.where(used, first + column, self.n_outputs), False)
        self.register_buffer("_output_column", used.flatten().nonzero().squeeze(1), False)

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
            self._start(len(x), context),
            self._output_weight_by_variable(),
            self.activation,
        )
        outputs = outputs.flatten(1)
        if not self._alike:
            outputs = outputs[:, self.get_buffer("_output_column")]
        outputs = outputs + self.output_bias
        return outputs if self.output_context is None else outputs + self.output_context(context)

    def encode(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the hidden units (n, H) after all variables are known, which no order changes."""
        return self.activate(self._start(len(x), context) + self.encoding(x) @ self.weight)

    def _output_weight_by_variable(self) -> Tensor:
        """Return the output weights as (D, P, H), rows of zeros standing in for missing params."""
        if self._alike:
            return self.output_weight.unflatten(0, (self.n_variables, -1))
        padded = torch.cat([self.output_weight, self.output_weight.new_zeros(1, len(self.bias))])
        return padded[self.get_buffer("_output_row")]

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

    def _start(self, n: int, context: Tensor | None) -> Tensor:
        """Return the pre-activations (n, H) before any variable is known."""
        start = self.bias.expand(n, -1)
        return start if self.first_context is None else start + self.first_context(context)

    def begin(self, n: int, member: int = 0, context: Tensor | None = None) -> _NADEWalk:
        """Return a walk over n rows of which nothing is known yet."""
        return _NADEWalk(
            member=member,
            order=self.order(member).tolist(),
            pre=self._start(n, context).clone(),
            output_context=None if self.output_context is None else self.output_context(context),
        )

    def params(self, state: _NADEWalk, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, the next one in the member's order."""
        if state.position >= len(state.order) or state.order[state.position] != d:
            raise ValueError(f"variable {d} is not the next one in this order; see order(member)")
        outputs = slice(self.starts[d], self.starts[d + 1])
        params = torch.addmm(
            self.output_bias[outputs], self.activate(state.pre), self.output_weight[outputs].T
        )
        return params if state.output_context is None else params + state.output_context[:, outputs]

    def sample_compiled(
        self, row: RowPlan, draws: Draws, member: int = 0, context: Tensor | None = None
    ) -> np.ndarray:
        """Return rows (n, D) of a member, in one compiled walk with the results of a step-by-step one."""
        n = 1 if context is None else len(context)
        start = whole_vectors(self._start(n, context))
        return sample_nade(self.plan(0), row, start, self.context_outputs(context), draws)

    def _new_plan(self, member: int) -> NADEPlan:  # members differ in nothing but the order
        is_vectors = self.activation in VECTOR_ACTIVATIONS
        return NADEPlan(
            weight=whole_vectors(self.weight),
            output=whole_vectors(self.output_weight),
            output_bias=self.output_bias.detach().numpy(),
            activation=SAMPLER_ACTIVATIONS[self.activation],
            vector_activation=activation_code(self.activation, self.weight.dtype) if is_vectors else -1,
        )

    @torch.no_grad()
    def gpu_network(self, member: int = 0, context: Tensor | None = None) -> GPUNADE:
        """Return what the sampler on the GPU must know; all members share it, as each row has its order."""
        return GPUNADE(
            weight=self.weight.detach(),
            start=self._start(1 if context is None else len(context), context).contiguous(),
            output=self.output_weight.detach(),
            output_start=self.output_start(self.output_bias, context),
            activation=SAMPLER_ACTIVATIONS[self.activation],
        )

    def observe(self, state: _NADEWalk, d: int, value: Tensor) -> None:
        """Take in the codes (n,) of variable d, whose params were asked for last."""
        features = self.encoding.of_variable(d, value)
        rows = slice(self.encoding.starts[d], self.encoding.starts[d + 1])
        state.pre = torch.addmm(state.pre, features, self.weight[rows])
        state.position += 1
