"""A network of one's own: a causal Transformer over the variables, and an estimator that fits it.

A position of the sequence holds the variable before it and predicts the next one: position r sees
x_order[0..r-1]. ``forward`` evaluates all positions at once under a causal mask; the sequential pass takes
one after the other and keeps keys and values.

``python examples/transformer_conditioner.py`` fits it to small binary rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, InputEncoding
from chainrule.conditioners.base import FixedOrderPass, context_layer, place_of
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.restoring import Members
from chainrule.estimators.shared_arguments import SharedArguments
from chainrule.registry import ModelEntry, register_model

__all__ = ["Transformer", "TransformerConditioner"]


class Block(nn.Module):
    """Attention to earlier positions, then a layer for each position alone; both are added to their input."""

    def __init__(self, width: int, n_heads: int, place: torch.device) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        sizes = ((width, 3 * width), (width, width), (width, 2 * width), (2 * width, width))
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, a, b, device=place) for a, b in sizes)

    def forward(self, h: Tensor, past: list[Tensor] | None = None) -> Tensor:
        """Return the states (n, L, E) after the block.

        With `past`, keys and values of earlier positions, which it extends, h is the next position alone.
        """
        to_heads, from_heads, widen, narrow = self.layers
        split = to_heads(self.norms[0](h)).unflatten(-1, (3, self.n_heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (n, heads, L, E / heads) each
        if past is not None:
            key, value = (torch.cat([old, new], dim=2) for old, new in zip(past, (key, value), strict=True))
            past[:] = key, value
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        h = h + from_heads(attended.transpose(1, 2).flatten(2))
        return h + narrow(F.gelu(widen(self.norms[1](h))))


class TransformerConditioner(Conditioner):
    """A causal Transformer over the variables, in the order of each member.

    Parameters
    ----------
    encoding, starts, orders
        As in `Conditioner`.
    width : int
        E, a multiple of n_heads.
    n_layers, n_heads : int
    n_context : int
        C, the number of context features.
    generator : torch.Generator or None
        Draws the first weights; None leaves them to be loaded.
    """

    def __init__(
        self,
        encoding: InputEncoding,
        starts: Sequence[int],
        orders: Tensor,
        width: int,
        *,
        n_layers: int = 2,
        n_heads: int = 2,
        n_context: int = 0,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(encoding, starts, orders, "gelu")
        self.width, self.n_heads = width, n_heads
        place = place_of(generator)
        with place:
            self.features = nn.Parameter(torch.empty(encoding.n_features, width))
            self.came = nn.Parameter(torch.empty(self.n_variables, width))  # which variable came
            self.comes = nn.Parameter(torch.empty(self.n_variables, width))  # which one is to be predicted
            self.from_context = context_layer(n_context, width, place)
            self.blocks = nn.ModuleList(Block(width, n_heads, place) for _ in range(n_layers))
            self.output_weight = nn.Parameter(torch.empty(self.n_outputs, width))
            self.output_bias = nn.Parameter(torch.zeros(self.n_outputs))
        if generator is not None:
            self._reset(generator)

    def _reset(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim == 2:
                    weight.normal_(generator=generator).mul_(weight.shape[1] ** -0.5)
                elif "norms" not in name:
                    weight.zero_()
            self.output_weight.mul_(0.1)  # nearly constant outputs: training starts from the marginals

    def first_state(self, d: Tensor | int, context: Tensor | None) -> Tensor:
        """Return what a position knows without its predecessor: the variable to come, and the context."""
        start = self.comes[d]
        return start if self.from_context is None else start + self.from_context(context)[:, None]

    def last_states(self, x: Tensor, member: int, context: Tensor | None) -> Tensor:
        """Return the states (n, D, E) that predict the variables, position after position."""
        order = self.order(member)
        row, value = self.encoding.rows_and_values(x)
        seen = (value[..., None] * self.features[row] + self.came)[:, order[:-1]]
        h = F.pad(seen, (0, 0, 1, 0)) + self.first_state(order, context)
        for block in self.blocks:
            h = block(h)
        return h

    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) for codes x (n, D) and context features (n, C)."""
        rank = self.ranks[member % len(self.ranks)]
        h = self.last_states(x, member, context)[:, rank[self.output_variable]]
        return (h * self.output_weight).sum(-1) + self.output_bias

    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the state (n, E) that predicts the last variable."""
        return self.last_states(x, member, context)[:, -1]

    def init_state(self, n: int, member: int = 0, context: Tensor | None = None) -> TransformerPass:
        """Return a sequential pass over n rows of which nothing is known yet."""
        return TransformerPass(self, n, member, context)

    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights."""
        return {"n_heads": self.n_heads}

    def activations_per_row(self) -> int:
        """Return the number of products that make the outputs, or of the widest layer's activations."""
        return max(self.n_outputs * self.width, 3 * self.n_variables * self.width)

    def decayed_parameters(self) -> list[Tensor]:
        """Return the matrices."""
        return [weight for weight in self.parameters() if weight.ndim == 2]

    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""
        with torch.no_grad():
            self.output_bias.copy_(bias)


class TransformerPass(FixedOrderPass):
    """The keys and values of the positions so far, and what the last variable left for the next one."""

    def __init__(self, network: TransformerConditioner, n: int, member: int, context: Tensor | None) -> None:
        super().__init__(network.order(member))
        self.network, self.context = network, context
        self.seen = network.came.new_zeros(n, 1, network.width)
        empty = network.came.new_zeros(n, network.n_heads, 0, network.width // network.n_heads)
        self.past = [[empty, empty] for _ in network.blocks]

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, the next one in the member's order."""
        self.check_next(d)
        network = self.network
        h = self.seen + network.first_state(d, self.context)
        for block, past in zip(network.blocks, self.past, strict=True):
            h = block(h, past)
        outputs = slice(network.starts[d], network.starts[d + 1])
        return torch.addmm(network.output_bias[outputs], h[:, 0], network.output_weight[outputs].T)

    def update(self, d: int, value: Tensor) -> None:
        """Take in the codes (n,) of variable d."""
        network = self.network
        own = slice(network.encoding.starts[d], network.encoding.starts[d + 1])
        features = network.encoding.of_variable(d, value)
        self.seen = (features @ network.features[own] + network.came[d])[:, None]
        self.position += 1


class Transformer(AutoregressiveEstimator):
    """A causal Transformer over the variables.

    Parameters
    ----------
    width : int, default=64
    n_layers : int, default=2
    n_heads : int, default=4
    ordering : {"natural", "random"} or sequence of int, default="natural"
    **shared
        What all networks' estimators take, and how to fit.
    """

    activation = "gelu"

    def __init__(
        self,
        width: int = 64,
        *,
        n_layers: int = 2,
        n_heads: int = 4,
        ordering: Any = "natural",
        **shared: Unpack[SharedArguments],
    ) -> None:
        self.width, self.n_layers, self.n_heads, self.ordering = width, n_layers, n_heads, ordering
        super().__init__(**shared)

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        members: Members,
        n_context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:
        return TransformerConditioner(
            encoding, conditionals.starts, members.orders, self.width, n_layers=self.n_layers,
            n_heads=self.n_heads, n_context=n_context, generator=generator,
        )  # fmt: skip


register_model("transformer", ModelEntry("Transformer", "Transformer", __name__))

if __name__ == "__main__":
    first = np.random.default_rng(0).integers(0, 2, (2000, 4))
    rows = np.concatenate([first, first ^ first[:, ::-1]], axis=1)
    model = Transformer(max_epochs=30, random_state=0).fit(rows[:1500])
    print(
        f"{model.score_samples(rows[1500:]).mean():.3f} nats per held-out row; {-4 * np.log(2):.3f} are best"
    )
