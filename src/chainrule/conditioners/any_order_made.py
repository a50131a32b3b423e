"""MADE over all orders: masks of a new order at every step (Germain et al. 2015, sec. 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditioners.any_order import AnyOrderConditioner, AnyOrderPass, observed_first
from chainrule.conditioners.made import MADEConditioner
from chainrule.conditioners.made_sequential import SortedNetwork
from chainrule.conditioners.masked import MaskedLinear
from chainrule.kernels.row_blocks import filled_up
from chainrule.masks import hidden_mask
from chainrule.orders import rank_of

__all__ = ["AnyOrderMADEConditioner"]

# Numbers that the weights of a layer may take when each row has masks of its own: 128 MiB of float32.
_MASKED_NUMBERS = 2**25
# Rows of the same ranks that are as many as these have a pass of their own; fewer get masks for each row.
_MIN_TOGETHER = 4


class AnyOrderMADEConditioner(MADEConditioner, AnyOrderConditioner):
    """A MADE whose degrees stay and whose order is drawn anew at every step of a fit.

    All D conditionals of an order come from one pass. Weights on the masks (`MaskedLinear`) tell each unit
    which variables it sees. Parameters are those of `MADEConditioner`; the orders are those of `forward`
    and of averages, not of training.
    """

    @property
    def is_fixed(self) -> bool:
        """Whether the masks never change: not here."""
        return False

    def training_outputs(
        self, x: Tensor, present: Tensor | None, member: int = 0, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs of a random order; missing variables come last in it, and do not count."""
        order = torch.randperm(self.n_variables, generator=self.generator, device=x.device)
        if present is None:
            return self.outputs_in(x, rank_of(order), member, context), None
        ranks = observed_first(order, torch.zeros_like(present), present)
        return self.outputs_in(x, ranks, member, context), present.to(x.dtype)

    def outputs_in(self, x: Tensor, rank: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) under ranks (D,), or under ranks of each row, (n, D).

        Variables of the same rank do not see each other.
        """
        if rank.ndim == 2 and (rank == rank[:1]).all():
            rank = rank[0]
        if rank.ndim == 1:
            return self._outputs_under(x, rank, context, member)
        if not self.training:
            return self._outputs_by_rank(x, rank, member, context)
        groups = [(rows, rank[rows[0]]) for rows in _rows_of_one_rank(rank, _MIN_TOGETHER)]
        alone = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for rows, _ in groups:
            alone[rows] = False
        widest = max(layer.weight.numel() for layer in self.layers if isinstance(layer, MaskedLinear))
        few = alone.nonzero().squeeze(1).split(max(1, _MASKED_NUMBERS // widest))
        groups += [(rows, rank[rows]) for rows in few if len(rows)]
        outputs = torch.cat(
            [
                self._outputs_under(x[rows], ranks, None if context is None else context[rows], member)
                for rows, ranks in groups
            ]
        )
        return outputs[torch.cat([rows for rows, _ in groups]).argsort()]

    def _outputs_by_rank(self, x: Tensor, rank: Tensor, member: int, context: Tensor | None) -> Tensor:
        """Return the outputs under ranks of each row, rows of one rank in a pass of whole blocks.

        What a row gets does not depend on how many others have its ranks, as it does in training.
        """
        outputs = x.new_empty(len(x), self.n_outputs)
        for rows in _rows_of_one_rank(rank, 1):
            blocks = rows[torch.from_numpy(filled_up(len(rows))).to(rows.device)]
            of_blocks = None if context is None else context[blocks]
            outputs[rows] = self._outputs_under(x[blocks], rank[rows[0]], of_blocks, member)[: len(rows)]
        return outputs

    def _outputs_under(self, x: Tensor, rank: Tensor, context: Tensor | None, member: int) -> Tensor:
        masks = self.masks_of(rank, self.degrees_of(member))
        return self._outputs(self.encoding(x), self.products_under(masks), context)

    def query_outputs(
        self, x: Tensor, observed: Tensor, query: Tensor, order: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) in one pass, of which those of the query count."""
        return self.outputs_in(x, observed_first(order, observed, query), context=context)

    def outputs_from(
        self, x: Tensor, observed: Tensor, order: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) of all variables not observed, each from the observed ones alone.

        They share the rank after the observed ones, each of them being next in some order.
        """
        rank = observed_first(order, observed, torch.zeros_like(observed))
        return self.outputs_in(x, torch.minimum(rank, observed.sum(1, keepdim=True)), context=context)

    def sorted_network(self, order: int | Tensor) -> SortedNetwork:
        """Return the network of a member, or of an order (D,) of the caller's, sorted by degree."""
        if isinstance(order, int):
            return super().sorted_network(order)
        degrees = self.degrees_of(0)
        layers = self.effective_under(self.masks_of(rank_of(order), degrees))
        return self.sorted_layers(order, degrees, layers)

    def init_state_from(
        self, x: Tensor, observed: Tensor, order: Tensor, context: Tensor | None = None
    ) -> AnyOrderMADEPass:
        """Return a sequential pass that has seen the observed variables of each row."""
        state = AnyOrderMADEPass(self, len(x), context)
        for d in order[observed.any(0)[order]].tolist():
            state.update(d, x[:, d], observed[:, d])
        return state


class AnyOrderMADEPass(AnyOrderPass):
    """A running sum of the first layer's pre-activations, of which each unit keeps that of its degree.

    Parameters
    ----------
    network : AnyOrderMADEConditioner
    n : int
    context : Tensor (n, C), optional
    """

    def __init__(self, network: AnyOrderMADEConditioner, n: int, context: Tensor | None) -> None:
        self.network = network
        self.degrees = network.degrees_of(0)
        layers = [layer for layer in network.layers if isinstance(layer, MaskedLinear)]
        self.first, self.output = layers[0], layers[network.n_layers]
        self.direct = layers[-1] if network.is_direct else None
        masks = [hidden_mask(a, b) for a, b in zip(self.degrees[:-1], self.degrees[1:], strict=True)]
        self.between = [layer.under(mask) for layer, mask in zip(layers[1:], masks, strict=False)]
        self.running = self.first.offset().expand(n, -1)
        if network.first_context is not None:
            self.running = self.running + network.first_context(context)
        self.output_context = None if network.output_context is None else network.output_context(context)
        # A unit above the current position holds what it must not yet be asked for.
        self.pre = self.running
        self.position = torch.zeros(n, 1, dtype=torch.long, device=self.running.device)
        self.features = self.running.new_zeros(n, network.encoding.n_features)
        self.observed = torch.zeros_like(self.features)

    def next_params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d given what each row has seen."""
        outputs = slice(self.network.starts[d], self.network.starts[d + 1])
        complete = (self.degrees[-1] <= self.position).to(self.pre.dtype)
        params = self.output.offset()[outputs] + self._from(
            self.output, outputs, self._last_hidden() * complete, complete
        )
        if self.direct is not None:
            params = params + self._from(self.direct, outputs, self.features, self.observed)
        return params if self.output_context is None else params + self.output_context[:, outputs]

    @staticmethod
    def _from(layer: MaskedLinear, outputs: slice, x: Tensor, mask: Tensor) -> Tensor:
        """Return what inputs x (n, n_in) and the mask of each row add to some outputs of a layer."""
        return x @ layer.weight[outputs].T + mask @ layer.mask_weight[outputs].T

    def _last_hidden(self) -> Tensor:
        pre = self.pre
        h = self.network.activate(pre)
        for weight, bias in self.between:
            z = torch.addmm(bias, h, weight.T)
            pre = z + pre if self.network.residual else z
            h = self.network.activate(pre)
        return h

    def update(self, d: int, value: Tensor, rows: Tensor | None = None) -> None:
        """Take in the codes (n,) of variable d in some rows (bool (n,)), or in all."""
        encoding = self.network.encoding
        columns = slice(encoding.starts[d], encoding.starts[d + 1])
        features = encoding.of_variable(d, value)
        of_mask = self.first.mask_weight[:, columns].sum(1)
        added = torch.addmm(of_mask, features, self.first.weight[:, columns].T)
        here = features.new_ones(len(features), 1) if rows is None else rows.to(features.dtype)[:, None]
        self.position = self.position + here.long()
        self.running = self.running + added * here
        self.features[:, columns] += features * here
        self.observed[:, columns] += here
        self.pre = torch.where(self.degrees[0] == self.position, self.running, self.pre)


def _rows_of_one_rank(rank: Tensor, at_least: int) -> list[Tensor]:
    """Return the numbers of rows that have the same ranks (n, D), for ranks that so many rows have."""
    _, group, counts = rank.unique(dim=0, return_inverse=True, return_counts=True)
    return [(group == k).nonzero().squeeze(1) for k in (counts >= at_least).nonzero().flatten()]
