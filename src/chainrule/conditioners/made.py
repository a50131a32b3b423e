"""MADE: a feed-forward network whose weights are masked into an autoregressive one (Germain et al. 2015).

Which unit sees what, for the order x2, x0, x1. The number in a unit is its degree m: it sees the m leading
variables of the order. Lines run from degree to equal or higher degree, and from there to later variables::

    features            x2          x0        (x1: nobody may see it)
                         | `---.     |
                         |      `--. |
    hidden layer        (1)        (2)        degree > rank of the feature
                         | `------. |
    hidden layer        (1)        (2)        degree >= degree below
                         | `------. |
    outputs    p(x2)  p(x0 | x2)  p(x1 | x2, x0)     rank of the output >= degree
               bias    sees (1)    sees (1), (2)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.conditioners.base import activation_gain, context_layer, place_of, weights_of
from chainrule.conditioners.compiled import CompiledConditioner
from chainrule.conditioners.dropout import dropout
from chainrule.conditioners.encoding import InputEncoding
from chainrule.conditioners.made_sequential import MADEPass, SortedNetwork
from chainrule.conditioners.masked import MaskedLinear, Permuted, StaircaseLinear
from chainrule.kernels.plans import SAMPLER_ACTIVATIONS, GPUMADEPlan, MADEPlan, whole_vectors
from chainrule.masks import direct_mask, hidden_mask, input_mask, lost_dependencies, output_mask
from chainrule.orders import rank_of

__all__ = ["MADEConditioner"]


class MADEConditioner(CompiledConditioner):
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

    feature_by_position: Tensor
    feature_place: Tensor
    output_by_position: Tensor
    output_place: Tensor

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
        generator: torch.Generator | None,
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
        self.n_masks: int = len(degrees[0])
        self.n_layers: int = len(degrees)
        self.is_direct = direct
        for layer, degree in enumerate(degrees):
            # Units are exchangeable: those of a fixed network stand in the order of their degrees.
            self.register_buffer(f"degrees_{layer}", degree.sort().values if self.is_fixed else degree)
        self._sort_variables()
        place = place_of(generator)
        layers = self._new_layers(widths, place)
        self.hidden: nn.ModuleList = nn.ModuleList(layers[: self.n_layers])
        self.output: MaskedLinear | StaircaseLinear = layers[self.n_layers]
        self.direct: MaskedLinear | StaircaseLinear | None = layers[-1] if direct else None
        self.first_context: nn.Linear | None = context_layer(n_context, widths[0], place)
        self.output_context: nn.Linear | None = context_layer(n_context, self.n_outputs, place)
        if generator is not None:
            self._reset(generator)
        # Which weights there are follows from orders and degrees, which may change with them.
        self.register_load_state_dict_pre_hook(_take_orders_and_degrees)

    def _new_layers(self, widths: Sequence[int], place: torch.device) -> list[MaskedLinear | StaircaseLinear]:
        """Return the layers in the order of `layers`; direct connections have no bias of their own."""
        sizes = [self.encoding.n_features, *widths, self.n_outputs]
        pairs = [*zip(sizes[:-1], sizes[1:], strict=True)]
        pairs += [(sizes[0], sizes[-1])] if self.is_direct else []
        biases = [number <= self.n_layers for number in range(len(pairs))]
        if not self.is_fixed:
            return [
                MaskedLinear(n_in, n_out, bias=bias, place=place)
                for (n_in, n_out), bias in zip(pairs, biases, strict=True)
            ]
        return [
            StaircaseLinear(prefix, n_in, bias=bias, place=place)
            for prefix, (n_in, _), bias in zip(self._prefixes(), pairs, biases, strict=True)
        ]

    def _sort_variables(self) -> None:
        """Note where features and outputs stand in a network of one member: in its order."""
        rank = rank_of(self.order(0)) if self.is_fixed else torch.arange(self.n_variables)
        for name, variable in (("feature", self.encoding.feature_variable), ("output", self.output_variable)):
            by_position = torch.argsort(rank.to(variable.device)[variable], stable=True)
            self.register_buffer(f"{name}_by_position", by_position, persistent=False)
            self.register_buffer(f"{name}_place", torch.argsort(by_position), persistent=False)
        self._is_natural = bool((rank.diff() > 0).all())

    @property
    def n_members(self) -> int:
        """How many (order, mask) pairs share the weights."""
        return max(len(self.orders), self.n_masks)

    @property
    def is_fixed(self) -> bool:
        """Whether there is one order and one set of degrees, so that the masks never change."""
        return self.n_members == 1

    @property
    def layers(self) -> list[MaskedLinear | StaircaseLinear]:
        """The masked layers in the order in which `masks` lists their masks."""
        layers = [*self.hidden, self.output] + ([] if self.direct is None else [self.direct])
        return [layer for layer in layers if isinstance(layer, MaskedLinear | StaircaseLinear)]

    def degrees_of(self, member: int) -> list[Tensor]:
        """Return the degrees of a member's hidden layers, (H_l,) each."""
        return [self.get_buffer(f"degrees_{n}")[member % self.n_masks] for n in range(self.n_layers)]

    def masks(self, member: int) -> list[Tensor]:
        """Return the bool masks of a member: hidden layers, output, direct connections."""
        return self.masks_of(rank_of(self.order(member)), self.degrees_of(member))

    def masks_of(self, rank: Tensor, degrees: Sequence[Tensor]) -> list[Tensor]:
        """Return the bool masks that follow from degrees and ranks (D,), or ranks of each row (n, D)."""
        rank_of_feature = rank[..., self.encoding.feature_variable]
        rank_of_output = rank[..., self.output_variable]
        masks = [input_mask(rank_of_feature, degrees[0])]
        masks += [hidden_mask(below, above) for below, above in zip(degrees[:-1], degrees[1:], strict=True)]
        masks.append(output_mask(degrees[-1], rank_of_output))
        if self.is_direct:
            masks.append(direct_mask(rank_of_feature, rank_of_output))
        return masks

    def _prefixes(self) -> list[Tensor]:
        """Return how many inputs each unit of a single member has, (n_out,), in its layers and directly.

        They are the row sums of its masks, which need not be made: features, units and outputs stand in the
        order of ranks and degrees, so that each has the first so many of those below.
        """
        rank = rank_of(self.order(0))
        of_features = rank[self.encoding.feature_variable][self.feature_by_position]
        of_outputs = rank[self.output_variable][self.output_by_position]
        degrees = self.degrees_of(0)
        below, above = degrees[:-1], degrees[1:]
        prefixes = [
            torch.searchsorted(of_features, degrees[0]),
            *(torch.searchsorted(d, e, right=True) for d, e in zip(below, above, strict=True)),
            torch.searchsorted(degrees[-1], of_outputs, right=True),
        ]
        return prefixes + ([torch.searchsorted(of_features, of_outputs)] if self.is_direct else [])

    def fix_masks(self) -> None:
        """Give the layers of a single member the masks of its order and degrees."""
        if self.is_fixed:
            self._sort_variables()
            for layer, prefix in zip(self.layers, self._prefixes(), strict=True):
                if isinstance(layer, StaircaseLinear):
                    layer.fix_mask(prefix)

    def clear_forbidden(self) -> None:
        """Set to zero the weights that masks forbid; those that change are applied, not written in."""
        self.fix_masks()

    def lost_dependencies(self) -> int:
        """Return how many dependencies the worst member of the ensemble cannot represent."""
        return max(
            lost_dependencies(rank_of(self.order(k)), self.degrees_of(k), self.is_direct)
            for k in range(self.n_members)
        )

    def _reset(self, generator: torch.Generator) -> None:
        gain = activation_gain(self.activation)
        masks = None if self.is_fixed else self.masks(0)
        for number, layer in enumerate(self.layers[: self.n_layers + 1]):
            # Residual branches start small, so that depth does not inflate the sum of layers.
            branch = self.n_layers**-0.5 if self.residual and number else 1.0
            scale = (gain if number else 1.0) * branch
            if number == self.n_layers:
                # Nearly constant outputs: training starts from the marginals that the output bias holds.
                scale = 0.1
            if isinstance(layer, StaircaseLinear):
                layer.reset(scale, generator)
            elif masks is not None:
                layer.reset(masks[number], scale, generator)
        for context in (self.first_context, self.output_context):
            if context is not None:
                with torch.no_grad():
                    context.weight.normal_(generator=generator).mul_(0.1)

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe."""
        return {"activation": self.activation, "residual": self.residual, "dropout": self.dropout}

    def n_free_parameters(self) -> int:
        """Return how many weights the masks leave free."""
        fixed = [layer for layer in self.layers if isinstance(layer, StaircaseLinear)]
        return super().n_free_parameters() - sum(layer.packed.numel() - layer.n_free() for layer in fixed)

    def activations_per_row(self) -> int:
        """Return about how many activations the widest step of `forward` holds for one row."""
        return max(self.encoding.n_features, self.n_outputs, *(len(degree) for degree in self.degrees_of(0)))

    def decayed_parameters(self) -> list[Tensor]:
        """Return the matrices."""
        matrices = [weight for layer in self.layers for weight in layer.weights()]
        return [*matrices, *weights_of(self.first_context, self.output_context)]

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        if self.output.bias is not None:
            with torch.no_grad():
                self.output.bias.copy_(bias[self.output_by_position.to(bias.device)])

    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) for codes x (n, D) and context features (n, C)."""
        return self._outputs(self._features(x), self._products(member), context)

    def _outputs(
        self, features: Tensor, products: Sequence[Callable[[Tensor], Tensor]], context: Tensor | None
    ) -> Tensor:
        """Return the outputs (n, n_outputs) of layers that act as `products` say."""
        outputs = products[self.n_layers](self._last_hidden(features, products, context))
        if self.direct is not None:
            outputs = outputs + products[-1](features)
        if not self._is_natural:
            outputs = Permuted.apply(outputs, self.output_place, self.output_by_position)
        if self.output_context is not None:
            outputs = outputs + self.output_context(context)
        return outputs

    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the activations of the last hidden layer, (n, H), for codes x and context features."""
        return self._last_hidden(self._features(x), self._products(member), context)

    def _features(self, x: Tensor) -> Tensor:
        """Return the features (n, F) of codes x, standing where the layers have them."""
        features = self.encoding(x)
        return features if self._is_natural else features.index_select(1, self.feature_by_position)

    def _products(self, member: int) -> list[Callable[[Tensor], Tensor]]:
        """Return what the layers do for a member."""
        if self.is_fixed:
            return [*self.layers]
        return self.products_under(self.masks(member))

    def products_under(self, masks: Sequence[Tensor]) -> list[Callable[[Tensor], Tensor]]:
        """Return what the layers do under masks that `masks_of` made."""
        return [partial(layer, mask=mask) for layer, mask in zip(self.layers, masks, strict=True)]

    def _last_hidden(
        self, features: Tensor, products: Sequence[Callable[[Tensor], Tensor]], context: Tensor | None
    ) -> Tensor:
        """Return the activations of the last hidden layer, (n, H_L)."""
        h, z = features, None
        for number, product in enumerate(products[: self.n_layers]):
            below = z
            z = product(h)
            if number == 0 and self.first_context is not None:
                z = z + self.first_context(context)
            if self.residual and below is not None:
                z = z + below
            h = self.activate(z)
            if self.training and self.dropout:
                h = dropout(h, self.dropout, self.generator)
        return h

    def effective(self, member: int) -> list[tuple[Tensor, Tensor]]:
        """Return weights and biases of `layers` as they act for a member.

        Features and outputs stand where codes and params have them, forbidden weights are zero.
        """
        if not self.is_fixed:
            return self.effective_under(self.masks(member))
        fixed = [layer for layer in self.layers if isinstance(layer, StaircaseLinear)]
        pairs = [(layer.dense(), layer.offset()) for layer in fixed]
        pairs[0] = (pairs[0][0][:, self.feature_place], pairs[0][1])
        output, *direct = pairs[self.n_layers :]
        pairs[self.n_layers] = (output[0][self.output_place], output[1][self.output_place])
        if direct:
            pairs[-1] = (direct[0][0][self.output_place][:, self.feature_place], direct[0][1])
        return pairs

    def effective_under(self, masks: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return weights and biases of `layers` as they act under masks that `masks_of` made."""
        changing = [layer for layer in self.layers if isinstance(layer, MaskedLinear)]
        pairs = [layer.under(mask) for layer, mask in zip(changing, masks, strict=True)]
        if self.is_direct:
            (output, bias), (direct, of_mask) = pairs[-2:]
            pairs[-2:] = [(output, bias + of_mask), (direct, torch.zeros_like(of_mask))]
        return pairs

    def sorted_network(self, order: int | Tensor) -> SortedNetwork:
        """Return the network of a member with every layer sorted by degree."""
        assert isinstance(order, int)  # networks of any order take others, too
        layers = self.effective(order)
        return self.sorted_layers(self.order(order), self.degrees_of(order), layers)

    def sorted_layers(
        self, order: Tensor, degrees: Sequence[Tensor], layers: Sequence[tuple[Tensor, Tensor]]
    ) -> SortedNetwork:
        """Return effective layers sorted by position and degree."""
        position = rank_of(order)[self.encoding.feature_variable]
        return SortedNetwork.of(position, degrees, layers, self.n_variables)

    def init_state(self, n: int, member: int = 0, context: Tensor | None = None) -> MADEPass:
        """Return a sequential pass that evaluates each hidden unit once, when its last input is known."""
        return MADEPass(self, self.sorted_network(member), n, member, context)

    def cpu_plan(self, order: int | Tensor = 0, context: Tensor | None = None) -> MADEPlan:
        """Return what the sampler on the CPU must know."""
        key = order if isinstance(order, int) else order.cpu().numpy().tobytes()
        plan, units = self.kept(("plan", key), lambda: self._new_plan(order))
        if self.first_context is None or self.output_context is None:
            return plan
        first_start = whole_vectors(self.first_context(context)[:, units])
        return replace(
            plan, first_start=first_start, output_start=self.output_context(context).detach().numpy()
        )

    def _new_plan(self, order: int | Tensor) -> tuple[MADEPlan, Tensor]:
        """Return a plan without context, and which unit of the first layer stands where."""
        network = self.sorted_network(order)
        activation = SAMPLER_ACTIVATIONS[self.activation]
        return network.cpu_plan(activation, self.residual), network.units[0]

    @torch.no_grad()
    def gpu_plan(self, member: int = 0, context: Tensor | None = None) -> GPUMADEPlan:
        """Return what the sampler on the GPU must know of a member, in tensors where the weights are."""
        network = self.kept(("sorted network", member), lambda: self.sorted_network(member))
        start = network.biases[0][None, :]
        if self.first_context is not None:
            start = start + self.first_context(context)[:, network.units[0]]
        output_start = self.output_start(network.output_bias, context)
        activation = SAMPLER_ACTIVATIONS[self.activation]
        return network.gpu_plan(start, output_start, activation, self.residual)


def _take_orders_and_degrees(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Give a network the shape of the state that it is about to load."""
    if isinstance(module, MADEConditioner):
        for name in ("orders", "ranks", *(f"degrees_{n}" for n in range(module.n_layers))):
            buffer, saved = module.get_buffer(name), state.get(prefix + name)
            if saved is not None and saved.shape == buffer.shape:
                buffer.copy_(saved)
        module.fix_masks()
