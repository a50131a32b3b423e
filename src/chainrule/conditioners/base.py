"""What every conditioner offers: all conditionals at once, and one variable at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from chainrule.conditioners.encoding import InputEncoding
from chainrule.kernels.activations import ACTIVATIONS
from chainrule.kernels.row_blocks import ScoringLinear
from chainrule.orders import rank_of

__all__ = [
    "ACTIVATIONS",
    "Conditioner",
    "FixedOrderPass",
    "Index",
    "SequentialPass",
    "activation_gain",
    "context_layer",
    "place_of",
    "undrawn_layer",
    "weights_of",
]

Index = int | slice | tuple[int | slice, ...]
"""What picks a part of a tensor."""


def activation_gain(name: str) -> float:
    """Return the factor by which weights before this activation are drawn wider (He et al. 2015)."""
    return 2**0.5 if name in ("relu", "leaky_relu", "elu", "silu", "gelu") else 1.0


def place_of(generator: torch.Generator | None) -> torch.device:
    """Return where a constructor makes its parameters: without a generator, none that take any memory."""
    return torch.device("meta") if generator is None else generator.device


def undrawn_layer(n_in: int, n_out: int, place: torch.device, *, bias: bool = True) -> nn.Linear:
    """Return a layer whose weights are still to be drawn: by default, from the global random state."""
    layer: nn.Linear = nn.utils.skip_init(ScoringLinear, n_in, n_out, bias=bias, device=place)
    return layer


def context_layer(n_context: int, n_out: int, place: torch.device) -> nn.Linear | None:
    """Return an undrawn layer for the context features, or None without context."""
    return undrawn_layer(n_context, n_out, place, bias=False) if n_context else None


def weights_of(*layers: nn.Linear | None) -> list[Tensor]:
    """Return the matrices of those layers that are there."""
    return [layer.weight for layer in layers if layer is not None]


class SequentialPass(ABC):
    """The state of a pass over the variables of n rows, one after the other: what it has seen so far.

    `next_params` and `update` alternate. Together they give what `Conditioner.forward` gives at once, and
    evaluate each hidden unit as few times as the network allows.
    """

    @abstractmethod
    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d given what has been seen."""

    @abstractmethod
    def update(self, d: int, value: Tensor) -> None:
        """Take in the codes (n,) of variable d."""


class FixedOrderPass(SequentialPass):
    """A pass in the order (D,) of one member.

    Parameters
    ----------
    order : Tensor (D,)
    """

    def __init__(self, order: Tensor) -> None:
        self.order: list[int] = order.tolist()
        self.position = 0

    def check_next(self, d: int) -> None:
        """Raise a ValueError unless variable d comes at the current position."""
        if self.position >= len(self.order) or self.order[self.position] != d:
            raise ValueError(f"variable {d} is not the next one in this order; see order(member)")


class Conditioner(nn.Module, ABC):
    """The network from x to the params of all conditionals, each from lower-ranked variables only.

    A new one defines the abstract methods: `forward` and a `SequentialPass`, which are two forms of one
    function, and what a fit must know. Rows are drawn by the sequential pass; see `CompiledConditioner` for
    one that has compiled samplers, too.

    Parameters
    ----------
    encoding : InputEncoding
    starts : sequence of int, length D + 1
        The outputs of variable d are columns ``starts[d]:starts[d + 1]``.
    orders : Tensor, int64 (n_orders, D)
    activation : str

    Every conditioner takes a `generator`, too, to draw its first weights from. With None in its place the
    parameters have shapes and no memory (torch's "meta" device) until weights are loaded into it.
    """

    is_any_order: ClassVar[bool] = False
    """Whether the network is trained over all orders; see `AnyOrderConditioner`."""

    recipe: ClassVar[str] = "fixed-order"
    """Which recipe of `training.recipes` suits the network."""

    validates_by_monte_carlo: ClassVar[bool] = False
    """Whether a fit estimates the validation NLL from `training_outputs`, because forward passes are dear."""

    orders: Tensor
    ranks: Tensor
    output_variable: Tensor
    output_context: nn.Linear | None

    def __init__(
        self, encoding: InputEncoding, starts: Sequence[int], orders: Tensor, activation: str
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.encoding = encoding
        self.starts: list[int] = list(starts)
        self.n_outputs: int = self.starts[-1]
        self.n_variables: int = orders.shape[1]
        self.activation = activation
        # Where dropout draws from; a trainer lends it for the time of a fit.
        self.generator: torch.Generator | None = None
        widths = torch.tensor(self.starts).diff()
        self.register_buffer("orders", orders)
        self.register_buffer("ranks", rank_of(orders))
        self.register_buffer(
            "output_variable", torch.repeat_interleave(torch.arange(len(widths)), widths), persistent=False
        )

    @property
    def n_members(self) -> int:
        """How many (order, degrees) pairs share the weights."""
        return len(self.orders)

    def order(self, member: int) -> Tensor:
        """Return the order in which a member takes the variables, (D,)."""
        return self.orders[member % len(self.orders)]

    def activate(self, z: Tensor) -> Tensor:
        """Return the activation of pre-activations z."""
        return ACTIVATIONS[self.activation](z)

    @abstractmethod
    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) for codes x (n, D) and context features (n, C)."""

    def split_missing(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return codes and which of them are present, None for all: fixed orders take whole rows."""
        return x, None

    def outputs(
        self, x: Tensor, present: Tensor | None, member: int = 0, context: Tensor | None = None
    ) -> Tensor:
        """Return the outputs (n, n_outputs) for what `split_missing` returned."""
        outputs: Tensor = self(x, member, context)
        return outputs

    def training_draws(self, x: Tensor, present: Tensor | None) -> Tensor | None:
        """Return what a training step draws for each row beside dropout, (n, D); None: nothing.

        The rows of a batch may be shared out among processes afterwards.
        """
        return None

    def training_outputs(
        self,
        x: Tensor,
        present: Tensor | None,
        member: int = 0,
        context: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs of a training step, and how much each variable's log-probability counts.

        Parameters
        ----------
        x : Tensor (n, D)
            Codes; any number stands for a missing one.
        present : Tensor, bool (n, D), or None
            Which codes are not missing; None: all of them.
        member : int
        context : Tensor (n, C), optional
        drawn : Tensor (n, D), optional
            What `training_draws` has drawn for these rows; by default it is drawn now.

        Returns
        -------
        outputs : Tensor (n, n_outputs)
        weights : Tensor (n, D) or None
            None: every variable counts once.
        """
        return self(x, member, context), None

    @abstractmethod
    def embed(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the activations of the last hidden layer, (n, H), for codes x and context features."""

    @abstractmethod
    def init_state(self, n: int, member: int = 0, context: Tensor | None = None) -> SequentialPass:
        """Return a sequential pass over n rows of which nothing is known yet, in the member's order."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what shapes the function beside its weights, JSON-safe.

        A checkpoint belongs to a fit only if these are equal: activation, dropout, number of heads, ...
        """

    @abstractmethod
    def activations_per_row(self) -> int:
        """Return about how many activations the widest step of `forward` holds for one row.

        From it follows how many rows are evaluated at a time, so too small a number costs memory.
        """

    @abstractmethod
    def decayed_parameters(self) -> list[Tensor]:
        """Return the parameters that weight decay pulls towards zero: matrices, as a rule.

        Those left out, biases above all, hold the marginals of the data and need no pull.
        """

    def own_weights(self, d: int) -> dict[str, Index]:
        """Return the weights that serve the params of variable d alone: parts of parameters, by their names.

        Only where every weight serves one variable can each variable's be chosen by themselves; otherwise
        there are none.
        """
        return {}

    @abstractmethod
    def set_output_bias(self, bias: Tensor) -> None:
        """Let the outputs start from the given values, (n_outputs,)."""

    def clear_forbidden(self) -> None:
        """Set to zero what must be zero in loaded weights for each conditional to see only what it may."""
        return

    def n_free_parameters(self) -> int:
        """Return how many weights can differ from zero."""
        return sum(p.numel() for p in self.parameters())
