"""One network that sees which variables are observed, and their codes: what such networks share."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from chainrule.conditioners.any_order import AnyOrderConditioner, AnyOrderPass

__all__ = ["ObservedSetConditioner", "draw_observed_masks", "unobserved_weights"]


def draw_observed_masks(present: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return which variables are observed, bool (n, D): k of the P of a row that are not missing.

    One variable of a row is left out, and each other one is observed with a probability 1 - v of the row,
    where v is the square of a uniform number, spread evenly over the rows of a batch. So k is beta-binomial:
    p(k) falls with P - k about as (P - k)^(-1/2). With each k as often, the one conditional left at k = P - 1
    would count P times, and gradients be noise.

    Parameters
    ----------
    present : Tensor (n, D), bool
        What is not missing.
    """
    n, device = len(present), present.device
    strata = torch.randperm(n, generator=generator, device=device)
    v = ((strata + torch.rand(n, generator=generator, device=device)) / n).square()
    observed = torch.rand(present.shape, generator=generator, device=device) >= v[:, None]
    # Each variable that is there is left out as often as any other.
    n_before = torch.rand(n, 1, generator=generator, device=device) * present.sum(1, keepdim=True)
    left_out = (present.cumsum(1) > n_before.long()).int().argmax(1, keepdim=True)
    return (observed & present).scatter(1, left_out, False)


def unobserved_weights(observed: Tensor, present: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight of each log-conditional, (n, D), that makes their sum an unbiased log p(x).

    Of P variables of a row, P - k are not observed: each counts 1 / (p(k) (P - k)), where k is observed with
    probability p(k) (Uria et al. 2014, eq. 13, for uniform p), and the observed ones 0. Averaged over all
    observed masks, that is the mean log p(x) of all orders.
    """
    query = present & ~observed
    n_present, n_left = (cells.sum(1).clamp(min=1).double() for cells in (present, query))
    # p(k) of draw_observed_masks, with m = P - k: gamma(P) gamma(m - 1/2) / (2 gamma(P + 1/2) gamma(m)).
    log_share = n_present.lgamma() - (n_present + 0.5).lgamma() + (n_left - 0.5).lgamma() - n_left.lgamma()
    weight = 2.0 / (log_share.exp() * n_left)
    return query * weight.to(dtype)[:, None]


class ObservedSetConditioner(AnyOrderConditioner):
    """A network for all variables at once that sees the observed ones, and which they are.

    A conditional of any order has the whole network; in return, the D conditionals of one order take D
    passes, and a training pass learns those of one observed mask per row (Uria, Murray & Larochelle 2014).
    """

    # A pass over random masks estimates the mean NLL of all orders; one order exactly would take D passes.
    validates_by_monte_carlo = True
    observes_a_set = True

    @abstractmethod
    def outputs_from(
        self, x: Tensor, observed: Tensor, order: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) of all variables, each from the observed ones alone.

        They are the same for every order of the observed ones.
        """

    @abstractmethod
    def products_per_step(self) -> int:
        """Return about how many multiplications a step of a sequential pass takes for each row."""

    def training_draws(self, x: Tensor, present: Tensor | None) -> Tensor:
        """Return which variables are observed, bool (n, D)."""
        if present is None:
            present = x.new_ones(x.shape, dtype=torch.bool)
        return draw_observed_masks(present, self.generator)

    def training_outputs(
        self,
        x: Tensor,
        present: Tensor | None,
        member: int = 0,
        context: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs (n, n_outputs) from random observed masks, and what each conditional counts."""
        if present is None:
            present = x.new_ones(x.shape, dtype=torch.bool)
        observed = self.training_draws(x, present) if drawn is None else drawn
        return self.outputs_from(x, observed, context=context), unobserved_weights(observed, present, x.dtype)

    def forward(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return the outputs (n, n_outputs) of all variables in a member's order; takes D passes."""
        every = x.new_ones(x.shape, dtype=torch.bool)
        return self.query_outputs(x, ~every, every, self.order(member), context)

    def query_outputs(
        self, x: Tensor, observed: Tensor, query: Tensor, order: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs), one variable after the other, of which those of the query count."""
        state = self.init_state_from(x, observed, order, context)
        some, every = query.any(0).tolist(), query.all(0).tolist()
        params = {}
        for d in order.tolist():
            if some[d]:
                params[d] = state.next_params(d)
                state.update(d, x[:, d], None if every[d] else query[:, d])
        widths = torch.tensor(self.starts).diff().tolist()
        return torch.cat(
            [params[d] if d in params else x.new_zeros(len(x), width) for d, width in enumerate(widths)],
            dim=1,
        )

    def init_state(self, n: int, member: int = 0, context: Tensor | None = None) -> AnyOrderPass:
        """Return a sequential pass over n rows of which nothing is known yet."""
        nothing = next(self.parameters()).new_zeros(n, self.n_variables)
        return self.init_state_from(nothing, nothing > 0, self.order(member), context)
