"""A network for each column: all conditionals of any order in one pass, each row in an order of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.conditioners.any_order import AnyOrderConditioner, AnyOrderPass, observed_first
from chainrule.conditioners.base import Index, activation_gain, context_layer, place_of
from chainrule.conditioners.dropout import dropout
from chainrule.conditioners.encoding import InputEncoding
from chainrule.kernels.backends import is_recorded
from chainrule.kernels.column_products import ColumnProducts, column_products_reference, runs_of
from chainrule.kernels.row_blocks import MIN_OUTPUTS, linear
from chainrule.kernels.seen_sums import seen_sums
from chainrule.orders import rank_of

__all__ = ["ColumnNetworks"]


class ColumnNetworks(AnyOrderConditioner):
    """D small networks, each of which predicts one variable from those that it may see.

    The first layer of network d sums what the observed variables add, with weights of its own:
    ``b_d + sum over seen j of (W_d[x_j] + u_dj)``; hidden layers and the outputs of d follow. Which variables
    a network sees is a matter of the sum alone, so that one pass gives the conditionals of an order, another
    order for each row, and training learns D conditionals of every row (nets of this kind, without densities:
    Tiwald et al. 2025). Weights grow with D^2, which suits few columns.

    Parameters
    ----------
    encoding, starts, orders, activation
        As in `Conditioner`; the orders are those of `forward` and of averages, not of training.
    hidden_sizes : sequence of int
        Units of each layer of each network; all layers have the same number.
    dropout : float
        Share of hidden units left out in training.
    n_context : int
        C, the number of context features.
    """

    observes_a_set = True
    # Each row in a random order of its own: the mean over all orders, not one of them, is what a fit lowers.
    validates_by_monte_carlo = True
    recipe = "column-networks"

    def __init__(
        self,
        encoding: InputEncoding,
        starts: Sequence[int],
        orders: Tensor,
        hidden_sizes: Sequence[int],
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        n_context: int = 0,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(encoding, starts, orders, activation)
        if len(set(hidden_sizes)) != 1:
            raise ValueError(f"column networks need equal hidden_sizes, got {tuple(hidden_sizes)}")
        self.dropout = dropout
        n_targets, width, n_deep = self.n_variables, hidden_sizes[0], len(hidden_sizes) - 1
        # One-hot features say by themselves that a variable is seen; others have a flag beside the value.
        onehot = torch.tensor(encoding.is_onehot, dtype=torch.bool)
        n_flags = int((~onehot).sum())
        flags = torch.full((n_targets,), -1).masked_scatter(
            ~onehot, encoding.n_features + torch.arange(n_flags)
        )
        self.register_buffer("_flag", flags, persistent=False)
        place = place_of(generator)
        self.first: nn.Parameter = nn.Parameter(
            torch.empty(n_targets, encoding.n_features + n_flags, width, device=place)
        )
        self.first_bias: nn.Parameter = nn.Parameter(torch.zeros(n_targets, 1, width, device=place))
        self.deep: nn.Parameter = nn.Parameter(torch.empty(n_deep, n_targets, width, width, device=place))
        self.deep_bias: nn.Parameter = nn.Parameter(torch.zeros(n_deep, n_targets, 1, width, device=place))
        self.output: nn.Parameter = nn.Parameter(torch.empty(self.n_outputs, width, device=place))
        self.output_bias: nn.Parameter = nn.Parameter(torch.zeros(self.n_outputs, device=place))
        self.first_context: nn.Linear | None = context_layer(n_context, n_targets * width, place)
        self.output_context: nn.Linear | None = context_layer(n_context, self.n_outputs, place)
        self._runs = runs_of(self.starts)
        if generator is not None:
            self._reset(generator)

    @torch.no_grad()
    def _reset(self, generator: torch.Generator) -> None:
        gain = activation_gain(self.activation)
        # Half of the variables are seen on average, each by one or two weights.
        self.first.normal_(generator=generator).mul_((2 / self.n_variables) ** 0.5)
        width, n_layers = self.first.shape[2], len(self.deep) + 1
        self.deep.normal_(generator=generator).mul_(gain * (n_layers * width) ** -0.5)
        # Nearly constant outputs: training starts from the marginals that the output bias holds.
        self.output.normal_(generator=generator).mul_(0.1 * width**-0.5)
        self.clear_forbidden()
        for context in (self.first_context, self.output_context):
            if context is not None:
                context.weight.normal_(generator=generator).mul_(0.1)

    @torch.no_grad()
    def clear_forbidden(self) -> None:
        """Let no network add anything for its own variable; no gradient ever changes that."""
        self.first.mul_(~self._own[:, :, None])

    @property
    def _own(self) -> Tensor:
        """Which weights of the first layer belong to a network's own variable, bool (D, F + flags)."""
        flagged = (self._flags >= 0).nonzero().flatten()
        variable = torch.cat([self.encoding.feature_variable, flagged])
        return torch.arange(self.n_variables, device=variable.device)[:, None] == variable

    def n_free_parameters(self) -> int:
        """Return how many weights can differ from zero: a network has none for its own variable."""
        return super().n_free_parameters() - int(self._own.sum()) * self.first.shape[2]

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe."""
        return {"activation": self.activation, "dropout": self.dropout}

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        with torch.no_grad():
            self.output_bias.copy_(bias)

    def activations_per_row(self) -> int:
        """Return about how many activations the widest step of `forward` holds for one row."""
        # Sums and activations of two layers, of all networks.
        return max(self.n_outputs, 4 * self.n_variables * self.first.shape[2])

    def decayed_parameters(self) -> list[Tensor]:
        """Return the matrices."""
        layers = (self.first_context, self.output_context)
        return [self.first, self.deep, self.output, *(each.weight for each in layers if each is not None)]

    def own_weights(self, d: int) -> dict[str, Index]:
        """Return the weights of network d."""
        width, outputs = self.first.shape[2], slice(self.starts[d], self.starts[d + 1])
        own: dict[str, Index] = {"first": d, "first_bias": d, "output": outputs, "output_bias": outputs}
        own |= {"deep": (slice(None), d), "deep_bias": (slice(None), d)}
        if self.first_context is not None:
            own |= {"first_context.weight": slice(d * width, (d + 1) * width)}
            own |= {"output_context.weight": outputs}
        return own

    # ---------------------------------------------------------------- one pass

    def outputs_in_orders(self, x: Tensor, order: Tensor, n_seen: Tensor, context: Tensor | None) -> Tensor:
        """Return outputs (n, n_outputs), variable d of a row from the first of the row's order.

        Parameters
        ----------
        x : Tensor (n, D)
            Codes.
        order : Tensor, int64 (n, D)
        n_seen : Tensor, int64 (n, D)
            How many of them each network sees.
        context : Tensor (n, C) or None
        """
        return self._outputs(self.last_hidden(self._first_sums(x, order, n_seen, context)), context)

    def _first_sums(self, x: Tensor, order: Tensor, n_seen: Tensor, context: Tensor | None) -> Tensor:
        row, value = self.encoding.rows_and_values(x)
        row, value, flag = row.gather(1, order), value.gather(1, order), self._flags[order]
        return seen_sums(row, value, flag, n_seen, self.first, self.start(context))

    def start(self, context: Tensor | None) -> Tensor:
        """Return the sums over no variable, (D, 1 or n, H): bias and context."""
        if self.first_context is None:
            return self.first_bias
        added: Tensor = self.first_context(context)
        return self.first_bias + added.unflatten(1, (self.n_variables, -1)).transpose(0, 1)

    @property
    def _flags(self) -> Tensor:
        return self.get_buffer("_flag")

    def last_hidden(self, pre: Tensor, targets: slice | Tensor = slice(None)) -> Tensor:
        """Return the activations of the last hidden layer, (T, n, H), from the first pre-activations."""
        pre = _whole(pre, 1)
        h = self._dropped(self.activate(pre))
        for weight, bias in zip(self.deep, self.deep_bias, strict=True):
            pre = torch.baddbmm(pre + _whole(bias[targets], 1), h, _whole(weight[targets], 2))
            h = self._dropped(self.activate(pre))
        return h

    def _dropped(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout, self.generator) if self.training and self.dropout else h

    def _outputs(self, h: Tensor, context: Tensor | None) -> Tensor:
        """Return the outputs (n, n_outputs) of the last hidden layer's activations (D, n, H)."""
        arguments = (h, _whole(self.output, 1), self.output_bias)
        outputs: Tensor = (
            column_products_reference(*arguments, self.starts)
            if is_recorded()
            else ColumnProducts.apply(*arguments, self._runs)
        )
        return outputs if self.output_context is None else outputs + self.output_context(context)

    def training_draws(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Return numbers by which the columns of each row are sorted, (n, D)."""
        return torch.rand(x.shape, generator=self.generator, device=x.device)

    def training_outputs(
        self,
        x: Tensor,
        present: Tensor | None,
        member: int = 0,
        context: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs (n, n_outputs) in a random order of each row, missing variables left out."""
        key = self.training_draws(x, present) if drawn is None else drawn
        order = (key if present is None else key + 2 * ~present).argsort(dim=1)
        n_seen = torch.empty_like(order)
        n_seen.scatter_(1, order, torch.arange(x.shape[1], device=x.device).expand_as(order))
        if present is None:
            return self.outputs_in_orders(x, order, n_seen, context), None
        n_seen = n_seen.clamp(max=present.sum(1, keepdim=True))
        return self.outputs_in_orders(x, order, n_seen, context), present.to(x.dtype)

    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the last hidden activations of all networks, (n, D H), after all that is not missing."""
        x, observed = x.masked_fill(x.isnan(), 0.0), ~x.isnan()
        order = (~observed).long().argsort(dim=1, stable=True)
        n_seen = observed.sum(1, keepdim=True).expand_as(order)  # a network's own variable adds nothing
        h = self.last_hidden(self._first_sums(x, order, n_seen, context))[..., : self.first.shape[2]]
        return h.transpose(0, 1).flatten(1)

    # ---------------------------------------------------------------- queries

    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) of all variables in a member's order."""
        order = self.order(member).expand(x.shape)
        return self.outputs_in_orders(x, order, rank_of(order), context)

    def query_outputs(
        self, x: Tensor, observed: Tensor, query: Tensor, order: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) of which those of the query count, in one pass."""
        ranks = observed_first(order, observed, query)
        return self.outputs_in_orders(x, rank_of(ranks), ranks * query, context)

    def outputs_from(
        self, x: Tensor, observed: Tensor, order: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) of all variables, each from the observed ones alone."""
        rows = (~observed).long().argsort(dim=1, stable=True)
        n_seen = observed.sum(1, keepdim=True) * ~observed
        return self.outputs_in_orders(x, rows, n_seen, context)

    def init_state_from(
        self, x: Tensor, observed: Tensor, order: Tensor, context: Tensor | None = None
    ) -> ColumnPass:
        """Return a sequential pass that has seen the observed variables of each row, in whatever order."""
        return ColumnPass(self, x, observed, context)

    def init_state(self, n: int, member: int = 0, context: Tensor | None = None) -> ColumnPass:
        """Return a sequential pass over n rows of which nothing is known yet."""
        nothing = self.output.new_zeros(n, self.n_variables)
        return ColumnPass(self, nothing, nothing > 0, context)


def _whole(tensor: Tensor, n_dimensions: int) -> Tensor:
    """Return a tensor with zeros appended to its last dimensions, where no gradient is wanted.

    Products over as many numbers are the same for a row whatever rows stand beside it; see `row_blocks`.
    """
    lacking = -tensor.shape[-1] % MIN_OUTPUTS
    if not lacking or torch.is_grad_enabled():
        return tensor
    return F.pad(tensor, (0, lacking) * n_dimensions)


class ColumnPass(AnyOrderPass):
    """What each row has seen so far, from which one network after the other takes its sum.

    Parameters
    ----------
    network : ColumnNetworks
    x : Tensor (n, D)
        Codes.
    observed : Tensor, bool (n, D)
    context : Tensor (n, C), optional
    """

    row: Tensor
    value: Tensor
    n_seen: Tensor

    def __init__(self, network: ColumnNetworks, x: Tensor, observed: Tensor, context: Tensor | None) -> None:
        self.network = network
        order = (~observed).long().argsort(dim=1, stable=True)
        row, value = network.encoding.rows_and_values(x)
        # In the order in which each row came to see its variables. What follows the first n_seen is not read;
        # a column to spare takes what a row that has seen all is not to take in.
        self.row, self.value = F.pad(row.gather(1, order), (0, 1)), F.pad(value.gather(1, order), (0, 1))
        self.flag: Tensor = F.pad(network.get_buffer("_flag")[order], (0, 1))
        self.n_seen = observed.sum(1)
        self.starts: Tensor = network.start(context)
        self.output_context: Tensor | None = (
            None if network.output_context is None else network.output_context(context)
        )

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d given what each row has seen."""
        network, target = self.network, slice(d, d + 1)
        sums = seen_sums(
            self.row, self.value, self.flag, self.n_seen[:, None], network.first[target], self.starts[target]
        )
        outputs = slice(network.starts[d], network.starts[d + 1])
        h = network.last_hidden(sums, target)[0]
        params = linear(h, _whole(network.output[outputs], 1), network.output_bias[outputs])
        return params if self.output_context is None else params + self.output_context[:, outputs]

    def update(self, d: int, value: Tensor, rows: Tensor | None = None) -> None:
        """Take in the codes (n,) of variable d in some rows (bool (n,)), or in all."""
        row, number = self.network.encoding.row_and_value(d, value)
        at = self.n_seen[:, None]
        self.row.scatter_(1, at, row[:, None])
        self.value.scatter_(1, at, number[:, None])
        self.flag.scatter_(1, at, self.network.get_buffer("_flag")[d].expand_as(at))
        self.n_seen = self.n_seen + (1 if rows is None else rows)
