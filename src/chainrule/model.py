"""The autoregressive model: a conditioner and the conditionals of a row, put together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainrule.conditionals import Conditionals, Tempered
from chainrule.conditioners import Conditioner
from chainrule.samplers import Restriction, draw_rows

__all__ = ["AutoregressiveModel"]


class AutoregressiveModel(nn.Module):
    """p(x) = prod_r p(x_order[r] | x_order[0..r-1]), or the mean of several such products, its members.

    Rows are codes (n, D), context is features (n, C), log-probabilities are in nats. Networks of any order
    leave out missing values (NaN). For p(query | evidence) see `inference`. A `restriction` holds log p and
    draws within what rules allow; training and what it reports know nothing of it.
    """

    def __init__(self, conditioner: Conditioner, conditionals: Conditionals) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.conditionals = conditionals
        self.restriction: Restriction | None = None

    def within(self, restriction: Restriction) -> AutoregressiveModel:
        """Return a model of the same weights under another restriction."""
        model = AutoregressiveModel(self.conditioner, self.conditionals)
        model.restriction = restriction
        return model.train(self.training)

    def tempered(self, n_levels: Sequence[int], temperature: float) -> AutoregressiveModel:
        """Return a model of the same weights whose conditionals are p^(1/T), normalised; see `Tempered`.

        Each variable d must have `n_levels[d]` levels. With temperatures below 1 rows are drawn that are
        more probable, and less different from each other.
        """
        of_variable = self.conditionals.of_variable
        families = [Tempered(of_variable(d), n, temperature) for d, n in enumerate(n_levels)]
        return AutoregressiveModel(self.conditioner, Conditionals(families)).train(self.training)

    @property
    def n_members(self) -> int:
        """Number of orders and masks that the model averages over."""
        return self.conditioner.n_members

    def log_conditionals(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return log p(x_d | earlier variables of the member's order), (n, D); 0 where missing."""
        x, present = self.conditioner.split_missing(x)
        outputs = self.conditioner.outputs(x, present, member, context)
        log_probs = self.conditionals.log_prob(x, outputs)
        if self.restriction is not None:
            query = torch.ones_like(x, dtype=torch.bool) if present is None else present
            order = self.conditioner.order(member)
            nothing = torch.zeros_like(query)
            log_probs = self.restriction.log_conditionals(log_probs, x, outputs, nothing, query, query, order)
        return log_probs if present is None else torch.where(present, log_probs, 0.0)

    def log_prob_of_member(self, x: Tensor, member: int, context: Tensor | None = None) -> Tensor:
        """Return log p(x) under one member, float64 (n,)."""
        return self.log_conditionals(x, member, context).sum(-1, dtype=torch.float64)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x), float64 (n,): the log of the mean of the members' probabilities."""
        members = [self.log_prob_of_member(x, k, context) for k in range(self.n_members)]
        return torch.logsumexp(torch.stack(members), dim=0) - math.log(self.n_members)

    def training_draws(self, x: Tensor) -> Tensor | None:
        """Return what a training step draws for each row beside dropout, (n, D); None: nothing."""
        return self.conditioner.training_draws(*self.conditioner.split_missing(x))

    def training_log_prob(
        self, x: Tensor, member: int = 0, context: Tensor | None = None, drawn: Tensor | None = None
    ) -> Tensor:
        """Return the objective of a training step, (n,): log p(x), or an unbiased estimate of it.

        For networks of any order its expectation is the mean log p(x) of all orders. What `training_draws`
        has not `drawn` for these rows before is drawn now.
        """
        return self.training_log_conditionals(x, member, context, drawn).sum(-1)

    def training_log_conditionals(
        self, x: Tensor, member: int = 0, context: Tensor | None = None, drawn: Tensor | None = None
    ) -> Tensor:
        """Return what each variable adds to `training_log_prob`, (n, D)."""
        x, present = self.conditioner.split_missing(x)
        outputs, weights = self.conditioner.training_outputs(x, present, member, context, drawn)
        log_probs = self.conditionals.log_prob(x, outputs)
        return log_probs if weights is None else log_probs * weights

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, context: Tensor | None = None) -> Tensor:
        """Draw n rows (n, D): first the member of each row, then one variable after the other."""
        if self.n_members == 1:
            return self.sample_member(0, self.uniforms(n, generator), context)
        device = self.conditionals.output_variable.device
        member = torch.randint(self.n_members, (n,), generator=generator, device=device)
        rows = next(self.conditioner.parameters()).new_empty(n, self.conditionals.n_variables)
        for k in member.unique().tolist():
            mine = (member == k).nonzero().squeeze(1)
            uniforms = self.uniforms(len(mine), generator)
            rows[mine] = self.sample_member(k, uniforms, None if context is None else context[mine])
        return rows

    def sample_member(self, member: int, uniforms: Tensor, context: Tensor | None = None) -> Tensor:
        """Return rows (n, D) of one member, a function of uniforms (n, D, U) alone."""
        return draw_rows(
            self.conditioner, self.conditionals, member, uniforms, context, None, self.restriction
        )

    def uniforms(self, n: int, generator: torch.Generator) -> Tensor:
        """Return the uniform numbers that n rows are drawn with, (n, D, U)."""
        weight = next(self.conditioner.parameters())
        shape = (n, self.conditionals.n_variables, self.conditionals.n_uniforms)
        return torch.rand(shape, generator=generator, device=weight.device, dtype=weight.dtype)
