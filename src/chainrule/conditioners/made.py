"""MADE: a feed-forward network whose weights are masked into an autoregressive one (Germain et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.conditioners.base import Conditioner, Walk, activation_gain, context_layer
from chainrule.conditioners.dropout import dropout
from chainrule.conditioners.encoding import InputEncoding
from chainrule.kernels.sampling_cpu import SAMPLER_ACTIVATIONS, Draws, MADEPlan, RowPlan, sample_made
from chainrule.kernels.sampling_gpu import GPUMADE
from chainrule.masks import direct_mask, hidden_mask, input_mask, lost_dependencies, output_mask
from chainrule.orders import rank_of

__all__ = ["MADEConditioner", "MaskedLinear"]


class _ProductWithMaskedGradient(torch.autograd.Function):
    """x W^T + b for weights that are already masked: only the gradient of W needs the mask."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, mask = inputs
        ctx.save_for_backward(x, weight, mask)
        ctx.has_bias = bias is not None

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        gradient = gradients[0]
        x, weight, mask = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            gradient @ weight if needs_x else None,
            (gradient.T @ x).mul_(mask) if needs_weight else None,
            gradient.sum(0) if ctx.has_bias and needs_bias else None,
            None,
        )


class MaskedLinear(nn.Module):
    """A linear layer of which a mask forbids some weights.

    With one fixed mask the forbidden weights are zero and stay zero, so that the forward pass is one plain
    matrix product. Masks that change from call to call are multiplied in, and `mask_weight` (if any) tells
    each unit how many inputs it has (Germain et al. 2015, sec. 4.4: connectivity weights).
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool, mask_weight: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.mask_weight = nn.Parameter(torch.zeros(n_out, n_in)) if mask_weight else None
        self.register_buffer("mask", None, persistent=False)

    def fix_mask(self, mask: Tensor) -> None:
        """Use one mask for good, and clear the weights it forbids."""
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        with torch.no_grad():
            self.weight.mul_(mask)

    def reset(self, typical_mask: Tensor, gain: float, generator: torch.Generator) -> None:
        """Draw the weights with variance gain^2 / (number of connected inputs).

        None is left at zero: where masks change, one that this mask forbids may belong to another.
        """
        fan_in = typical_mask.sum(1, keepdim=True).clamp(min=1)
        with torch.no_grad():
            self.weight.normal_(generator=generator).mul_(gain / fan_in.sqrt())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return x W^T + b under the fixed mask, or under the one given."""
        if mask is None:
            return _ProductWithMaskedGradient.apply(x, self.weight, self.bias, self.mask)
        weight, bias = self.effective(mask)
        return F.linear(x, weight, bias)

    def effective(self, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return weights and bias as they act under a mask."""
        bias = self.weight.new_zeros(len(self.weight)) if self.bias is None else self.bias
        if mask is None:
            return self.weight, bias
        mask = mask.to(self.weight.dtype)
        if self.mask_weight is not None:
            bias = bias + (self.mask_weight * mask).sum(1)
        return self.weight * mask, bias


@dataclass(frozen=True)
class _SortedNetwork:
    """The network of one member with features sorted by position and hidden units by degree.

    ``complete[l][r]`` counts the units of layer l whose inputs are all known at position r.
    """

    columns: Tensor
    rows: list[Tensor]
    weights: list[Tensor]
    biases: list[Tensor]
    complete: list[list[int]]
    output_weight: Tensor
    output_bias: Tensor
    direct_weight: Tensor | None


@dataclass(kw_only=True)
class _MADEWalk(Walk):
    """What a step-by-step pass knows of each layer so far."""

    network: _SortedNetwork
    features: Tensor
    hidden: list[Tensor]
    pre: list[Tensor]
    first_context: Tensor | None
    output_context: Tensor | None
    n_features: int = 0


class MADEConditioner(Conditioner):
    """A masked network of any depth.

    Parameters
    ----------
    encoding, starts, orders, activation
        As in `Conditioner`.
    degrees : sequence of Tensor, int64 (n_masks, H_l)
        Degrees of the units of each hidden layer, for each connectivity mask. Member k has order
        ``k % n_orders`` and mask ``k % n_masks``.
    residual : bool
        Add each hidden layer's pre-activations to the next ones; all layers need the same width and degrees.
    direct : bool
        Connect the features to the outputs they may reach.
    dropout : float
        Share of hidden units left out in training.
    n_context : int
        C, the number of context features.
    """

    degrees: list[Tensor]
    has_gpu_network = True

    def __init__(
        self,
        encoding: InputEncoding,
        starts: Sequence[int],
        orders: Tensor,
        degrees: Sequence[Tensor],
        *,
        activation: str = "relu",
        residual: bool = False,
        direct: bool = True,
        dropout: float = 0.0,
        n_context: int = 0,
        generator: torch.Generator,
    ) -> None:
        super().__init__(encoding, starts, orders, activation)
        widths = [degree.shape[1] for degree in degrees]
        if residual and len(set(widths)) > 1:
            raise ValueError(f"residual layers need equal hidden_sizes, got {tuple(widths)}")
        if residual and any(not torch.equal(degree, degrees[0]) for degree in degrees):
            raise ValueError("residual layers need the same degrees in every layer")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.residual = residual
        self.dropout = dropout
        self.n_masks = len(degrees[0])
        for layer, degree in enumerate(degrees):
            self.register_buffer(f"degrees_{layer}", degree)
        changing = self.n_members > 1
        sizes = [encoding.n_features, *widths]
        self.hidden = nn.ModuleList(
            MaskedLinear(n_in, n_out, bias=True, mask_weight=changing)
            for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.output = MaskedLinear(sizes[-1], self.n_outputs, bias=True, mask_weight=changing)
        self.direct = (
            MaskedLinear(encoding.n_features, self.n_outputs, bias=False, mask_weight=False)
            if direct
            else None
        )
        self.first_context = context_layer(n_context, widths[0])
        self.output_context = context_layer(n_context, self.n_outputs)
        self._reset(generator)
        self.fix_masks()
        # Masks follow from orders and degrees, which may have changed with the weights.
        self.register_load_state_dict_post_hook(_fix_masks)

    @property
    def n_members(self) -> int:
        """How many (order, mask) pairs share the weights."""
        return max(len(self.orders), self.n_masks)

    @property
    def layers(self) -> list[MaskedLinear]:
        """The masked layers in the order in which `masks` lists their masks."""
        hidden = [layer for layer in self.hidden if isinstance(layer, MaskedLinear)]
        return [*hidden, self.output] + ([] if self.direct is None else [self.direct])

    def degrees_of(self, member: int) -> list[Tensor]:
        """Return the degrees of a member's hidden layers, (H_l,) each."""
        return [self.get_buffer(f"degrees_{n}")[member % self.n_masks] for n in range(len(self.hidden))]

    def masks(self, member: int) -> list[Tensor]:
        """Return the bool masks of a member: hidden layers, output, direct connections."""
        rank = rank_of(self.order(member))
        rank_of_feature, rank_of_output = rank[self.encoding.feature_variable], rank[self.output_variable]
        degrees = self.degrees_of(member)
        masks = [input_mask(rank_of_feature, degrees[0])]
        masks += [hidden_mask(below, above) for below, above in zip(degrees[:-1], degrees[1:], strict=True)]
        masks.append(output_mask(degrees[-1], rank_of_output))
        if self.direct is not None:
            masks.append(direct_mask(rank_of_feature, rank_of_output))
        return masks

    def fix_masks(self) -> None:
        """Write the masks into the weights, if there is only one set of them."""
        if self.n_members == 1:
            for layer, mask in zip(self.layers, self.masks(0), strict=True):
                layer.fix_mask(mask)

    def lost_dependencies(self) -> int:
        """Return how many dependencies the worst member of the ensemble cannot represent."""
        return max(
            lost_dependencies(rank_of(self.order(k)), self.degrees_of(k), self.direct is not None)
            for k in range(self.n_members)
        )

    def _reset(self, generator: torch.Generator) -> None:
        gain = activation_gain(self.activation)
        *hidden, output = self.masks(0)[: len(self.hidden) + 1]
        for number, (layer, mask) in enumerate(zip(self.layers, hidden, strict=False)):
            # Residual branches start small, so that depth does not inflate the sum of layers.
            branch = len(hidden) ** -0.5 if self.residual and number else 1.0
            layer.reset(mask, (gain if number else 1.0) * branch, generator)
        # Nearly constant outputs: training starts from the margins that the output bias holds.
        self.output.reset(output, 0.1, generator)
        for context in (self.first_context, self.output_context):
            if context is not None:
                with torch.no_grad():
                    context.weight.normal_(generator=generator).mul_(0.1)

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe."""
        return {**super().settings(), "residual": self.residual, "dropout": self.dropout}

    def n_free_parameters(self) -> int:
        """Return how many weights the masks leave free."""
        total = super().n_free_parameters()
        if self.n_members > 1:
            return total
        return total - sum(int((layer.get_buffer("mask") == 0).sum()) for layer in self.layers)

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        if self.output.bias is not None:
            with torch.no_grad():
                self.output.bias.copy_(bias)

    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) for codes x (n, D) and context features (n, C)."""
        features = self.encoding(x)
        masks: list[Tensor | None] = (
            [None] * len(self.layers) if self.n_members == 1 else [*self.masks(member)]
        )
        last = self.hidden_activations(features, masks, context)
        outputs: Tensor = self.output(last, masks[len(self.hidden)])
        if self.direct is not None:
            outputs = outputs + self.direct(features, masks[-1])
        if self.output_context is not None:
            outputs = outputs + self.output_context(context)
        return outputs

    def hidden_activations(
        self, features: Tensor, masks: Sequence[Tensor | None], context: Tensor | None
    ) -> Tensor:
        """Return the activations of the last hidden layer, (n, H_L)."""
        h, z = features, None
        for number, layer in enumerate(self.hidden):
            below = z
            z = layer(h, masks[number])
            if number == 0 and self.first_context is not None:
                z = z + self.first_context(context)
            if self.residual and below is not None:
                z = z + below
            h = self.activate(z)
            if self.training and self.dropout:
                h = dropout(h, self.dropout, self.generator)
        return h

    def sorted_network(self, member: int) -> _SortedNetwork:
        """Return the member's network with every layer sorted by degree."""
        order = self.order(member)
        masks = self._changing_masks(member)
        positions = torch.arange(self.n_variables, device=order.device)
        columns = torch.argsort(rank_of(order)[self.encoding.feature_variable], stable=True)
        below, rows, weights, biases, complete = columns, [], [], [], []
        for number, degree in enumerate(self.degrees_of(member)):
            weight, bias = self.layers[number].effective(masks[number])
            rows.append(torch.argsort(degree, stable=True))
            weights.append(weight[rows[-1]][:, below])
            biases.append(bias[rows[-1]])
            complete.append(torch.searchsorted(degree[rows[-1]], positions, right=True).tolist())
            below = rows[-1]
        output_weight, output_bias = self.output.effective(masks[len(self.hidden)])
        direct = None if self.direct is None else self.direct.effective(masks[-1])[0][:, columns]
        return _SortedNetwork(
            columns, rows, weights, biases, complete, output_weight[:, below], output_bias, direct
        )

    def _changing_masks(self, member: int) -> list[Tensor | None]:
        """Return the masks to multiply in, or None for each layer where one set of them is fixed."""
        return [None] * len(self.layers) if self.n_members == 1 else [*self.masks(member)]

    def begin(self, n: int, member: int = 0, context: Tensor | None = None) -> _MADEWalk:
        """Return a walk in which each hidden unit will be evaluated once, when its last input is known."""
        network = self.sorted_network(member)
        features = self.output.weight.new_zeros(n, self.encoding.n_features)
        hidden = [features.new_zeros(n, len(rows)) for rows in network.rows]
        return _MADEWalk(
            member=member,
            order=self.order(member).tolist(),
            network=network,
            features=features,
            hidden=hidden,
            pre=[h.clone() for h in hidden] if self.residual else [],
            first_context=None
            if self.first_context is None
            else self.first_context(context)[:, network.rows[0]],
            output_context=None if self.output_context is None else self.output_context(context),
        )

    def params(self, state: _MADEWalk, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, the next one in the member's order."""
        if state.position >= len(state.order) or state.order[state.position] != d:
            raise ValueError(f"variable {d} is not the next one in this order; see order(member)")
        self._complete_units(state)
        network = state.network
        outputs = slice(self.starts[d], self.starts[d + 1])
        known = network.complete[-1][state.position]
        params = torch.addmm(
            network.output_bias[outputs],
            state.hidden[-1][:, :known],
            network.output_weight[outputs, :known].T,
        )
        if network.direct_weight is not None and state.n_features:
            seen = state.n_features
            params = params + state.features[:, :seen] @ network.direct_weight[outputs, :seen].T
        if state.output_context is not None:
            params = params + state.output_context[:, outputs]
        return params

    def _complete_units(self, state: _MADEWalk) -> None:
        """Evaluate, layer after layer, the units whose degree is the current position."""
        network, below, n_below = state.network, state.features, state.n_features
        for number, complete in enumerate(network.complete):
            stop = complete[state.position]
            start = complete[state.position - 1] if state.position else 0
            if stop > start:
                units = slice(start, stop)
                weight = network.weights[number][units, :n_below]
                z = torch.addmm(network.biases[number][units], below[:, :n_below], weight.T)
                if number == 0 and state.first_context is not None:
                    z = z + state.first_context[:, units]
                if self.residual:
                    if number:
                        z = z + state.pre[number - 1][:, units]
                    state.pre[number][:, units] = z
                state.hidden[number][:, units] = self.activate(z)
            below, n_below = state.hidden[number], stop

    def observe(self, state: _MADEWalk, d: int, value: Tensor) -> None:
        """Take in the codes (n,) of variable d, whose params were asked for last."""
        features = self.encoding.of_variable(d, value)
        state.features[:, state.n_features : state.n_features + features.shape[1]] = features
        state.n_features += features.shape[1]
        state.position += 1

    def sample_compiled(
        self, row: RowPlan, draws: Draws, member: int = 0, context: Tensor | None = None
    ) -> np.ndarray:
        """Return rows (n, D) of a member, in one compiled walk with the results of a step-by-step one."""
        plan, rows = self._plan(member)
        first_start = np.zeros((1, len(rows)), plan.first.dtype)
        if self.first_context is not None:
            first_start = self.first_context(context)[:, rows].detach().contiguous().numpy()
        return sample_made(plan, row, first_start, self.context_outputs(context), draws)

    @torch.no_grad()
    def gpu_network(self, member: int = 0, context: Tensor | None = None) -> GPUMADE:
        """Return what the sampler on the GPU must know of a member, in tensors where the weights are."""
        network = self.sorted_network(member)
        unsort = torch.argsort(network.columns)
        start = network.biases[0][None, :]
        if self.first_context is not None:
            start = start + self.first_context(context)[:, network.rows[0]]
        between = [w.flatten() for w in network.weights[1:]]
        direct = network.direct_weight
        return GPUMADE(
            first=network.weights[0][:, unsort].T.contiguous(),
            start=start,
            between=torch.cat(between) if between else start.new_empty(0),
            bias=torch.cat(network.biases),
            complete=F.pad(torch.tensor(network.complete, device=start.device), (1, 0)),
            sizes=tuple(len(rows) for rows in network.rows),
            output=network.output_weight.contiguous(),
            output_start=self.output_start(network.output_bias, context),
            direct=None if direct is None else direct[:, unsort].contiguous(),
            activation=SAMPLER_ACTIVATIONS[self.activation],
            residual=self.residual,
        )

    def _plan(self, member: int) -> tuple[MADEPlan, Tensor]:
        """Return the compiled sampler's view of a member, made anew only when a weight has changed."""
        version = (member, *((p.data_ptr(), p._version) for p in self.parameters()))
        if _plans.get(self, (None,))[0] != version:
            _plans[self] = (version, *self._new_plan(member))
        return _plans[self][1:]

    @torch.no_grad()
    def _new_plan(self, member: int) -> tuple[MADEPlan, Tensor]:
        network = self.sorted_network(member)
        unsort = torch.argsort(network.columns)
        direct = network.direct_weight
        plan = MADEPlan(
            first=_array(network.weights[0][:, unsort].T),
            bias=_array(torch.cat(network.biases)),
            between=_array(
                torch.cat([w.flatten() for w in network.weights[1:]] or [self.output.weight[:0, 0]])
            ),
            sizes=np.array([len(rows) for rows in network.rows]),
            complete=np.array(network.complete),
            output=_array(network.output_weight),
            output_bias=_array(network.output_bias),
            direct=_array(self.output.weight[:0, :0] if direct is None else direct[:, unsort].T),
            activation=SAMPLER_ACTIVATIONS[self.activation],
            residual=self.residual,
        )
        return plan, network.rows[0]


# Plans of the compiled sampler, kept beside the modules so that copies and pickles stay small.
_plans: WeakKeyDictionary[MADEConditioner, Any] = WeakKeyDictionary()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _fix_masks(module: nn.Module, _: Any) -> None:
    if isinstance(module, MADEConditioner):
        module.fix_masks()
