"""MADE one variable after the other: layers sorted by degree, so that known units are leading ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.conditioners.base import FixedOrderPass
from chainrule.kernels.plans import LANES, GPUMADEPlan, MADEPlan, whole_vectors

if TYPE_CHECKING:
    from chainrule.conditioners.made import MADEConditioner

__all__ = ["MADEPass", "SortedNetwork"]


@dataclass(frozen=True)
class SortedNetwork:
    """The network of one order and mask with features sorted by position and hidden units by degree.

    Attributes
    ----------
    columns : Tensor (F,)
        The feature that stands at each place.
    units : list of Tensor (H_l,)
        The unit of each hidden layer that stands at each place.
    weights, biases : list of Tensor
        Of the hidden layers, sorted.
    complete : list of list of int
        ``complete[l][r]`` counts the units of layer l whose inputs are all known at position r.
    output_weight, output_bias : Tensor
        (n_outputs, H_L) and (n_outputs,); outputs stand where the variables have their params.
    direct_weight : Tensor (n_outputs, F), or None
    """

    columns: Tensor
    units: list[Tensor]
    weights: list[Tensor]
    biases: list[Tensor]
    complete: list[list[int]]
    output_weight: Tensor
    output_bias: Tensor
    direct_weight: Tensor | None

    @classmethod
    def of(
        cls,
        position: Tensor,
        degrees: Sequence[Tensor],
        layers: Sequence[tuple[Tensor, Tensor]],
        n_variables: int,
    ) -> SortedNetwork:
        """Return the network of the given layers.

        Parameters
        ----------
        position : Tensor, int64 (F,)
            The position of each feature's variable.
        degrees : sequence of Tensor, int64 (H_l,)
        layers : sequence of (weight, bias)
            Hidden layers, output layer, and direct connections where there are any.
        n_variables : int
            D.
        """
        positions = torch.arange(n_variables, device=position.device)
        columns = torch.argsort(position, stable=True)
        below, units, weights, biases, complete = columns, [], [], [], []
        for (weight, bias), degree in zip(layers, degrees, strict=False):
            units.append(torch.argsort(degree, stable=True))
            weights.append(weight[units[-1]][:, below])
            biases.append(bias[units[-1]])
            complete.append(torch.searchsorted(degree[units[-1]], positions, right=True).tolist())
            below = units[-1]
        output_weight, output_bias = layers[len(degrees)]
        direct = layers[-1][0][:, columns] if len(layers) > len(degrees) + 1 else None
        return cls(columns, units, weights, biases, complete, output_weight[:, below], output_bias, direct)

    def cpu_plan(self, activation: int, residual: bool) -> MADEPlan:
        """Return what the sampler on the CPU must know, as long as no context adds to it."""
        unsort = torch.argsort(self.columns)
        first, *between = self.weights
        n_units = max(len(units) for units in self.units)
        width = n_units + -n_units % LANES
        squares = [_filled(weight, width, width) for weight in between]
        none = self.output_weight[:0, :0]
        direct = none if self.direct_weight is None else self.direct_weight[:, unsort]
        bias = np.stack([_filled(bias, width) for bias in self.biases])
        output_bias = self.output_bias.contiguous().numpy()
        return MADEPlan(
            first=_filled(first[:, unsort].T, len(unsort), width),
            bias=bias,
            between=np.stack(squares) if squares else _filled(first[:0, :0], 0, width)[None],
            complete=np.array(self.complete),
            output=_filled(self.output_weight, len(output_bias), width),
            output_bias=output_bias,
            direct=whole_vectors(direct.T),
            first_start=np.zeros_like(bias[:1]),
            output_start=np.zeros_like(output_bias)[None],
            activation=activation,
            residual=residual,
        )

    def gpu_plan(self, start: Tensor, output_start: Tensor, activation: int, residual: bool) -> GPUMADEPlan:
        """Return what the sampler on the GPU must know, `start` and `output_start` including the context."""
        unsort = torch.argsort(self.columns)
        between = [weight.flatten() for weight in self.weights[1:]]
        direct = self.direct_weight
        return GPUMADEPlan(
            first=self.weights[0][:, unsort].T.contiguous(),
            start=start,
            between=torch.cat(between) if between else start.new_empty(0),
            bias=torch.cat(self.biases),
            complete=F.pad(torch.tensor(self.complete, device=start.device), (1, 0)),
            sizes=tuple(len(units) for units in self.units),
            output=self.output_weight.contiguous(),
            output_start=output_start,
            direct=None if direct is None else direct[:, unsort].contiguous(),
            activation=activation,
            residual=residual,
        )


def _filled(tensor: Tensor, *shape: int) -> np.ndarray:
    """Return an array of the given shape, zeros standing after what the tensor holds."""
    lacking = [n - m for n, m in zip(shape, tensor.shape, strict=True)]
    padding = [n for size in reversed(lacking) for n in (0, size)]
    return F.pad(tensor, padding).contiguous().numpy()


class MADEPass(FixedOrderPass):
    """The features and units that are known so far, which lead their layers.

    Parameters
    ----------
    made : MADEConditioner
    network : SortedNetwork
        That of the member.
    n : int
    member : int
    context : Tensor (n, C), optional
    """

    made: MADEConditioner
    network: SortedNetwork
    first_context: Tensor | None
    output_context: Tensor | None
    n_features: int

    def __init__(
        self, made: MADEConditioner, network: SortedNetwork, n: int, member: int, context: Tensor | None
    ) -> None:
        super().__init__(made.order(member))
        self.made, self.network = made, network
        self.features: Tensor = network.output_weight.new_zeros(n, len(network.columns))
        self.hidden: list[Tensor] = [self.features.new_zeros(n, len(units)) for units in network.units]
        self.pre: list[Tensor] = [h.clone() for h in self.hidden] if made.residual else []
        self.first_context = self.output_context = None
        if made.first_context is not None and made.output_context is not None:
            self.first_context = made.first_context(context)[:, network.units[0]]
            self.output_context = made.output_context(context)
        self.n_features = 0

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, the next one in the member's order."""
        self.check_next(d)
        self._complete_units()
        network = self.network
        outputs = slice(self.made.starts[d], self.made.starts[d + 1])
        known = network.complete[-1][self.position]
        params = torch.addmm(
            network.output_bias[outputs],
            self.hidden[-1][:, :known],
            network.output_weight[outputs, :known].T,
        )
        if network.direct_weight is not None and self.n_features:
            leading = slice(self.n_features)
            params = params + self.features[:, leading] @ network.direct_weight[outputs, leading].T
        return params if self.output_context is None else params + self.output_context[:, outputs]

    def _complete_units(self) -> None:
        """Evaluate, layer after layer, the units whose degree is the current position."""
        network, below, n_below = self.network, self.features, self.n_features
        for number, complete in enumerate(network.complete):
            stop = complete[self.position]
            start = complete[self.position - 1] if self.position else 0
            if stop > start:
                units = slice(start, stop)
                weight = network.weights[number][units, :n_below]
                z = torch.addmm(network.biases[number][units], below[:, :n_below], weight.T)
                if number == 0 and self.first_context is not None:
                    z = z + self.first_context[:, units]
                if self.made.residual:
                    if number:
                        z = z + self.pre[number - 1][:, units]
                    self.pre[number][:, units] = z
                self.hidden[number][:, units] = self.made.activate(z)
            below, n_below = self.hidden[number], stop

    def update(self, d: int, value: Tensor) -> None:
        """Take in the codes (n,) of variable d."""
        features = self.made.encoding.of_variable(d, value)
        self.features[:, self.n_features : self.n_features + features.shape[1]] = features
        self.n_features += features.shape[1]
        self.position += 1
