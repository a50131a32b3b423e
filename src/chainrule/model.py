"""The autoregressive model: a conditioner and the conditionals of a row, put together."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner
from chainrule.kernels.sampling_cpu import RowPlan
from chainrule.kernels.sampling_gpu import sample_on_gpu

__all__ = ["AutoregressiveModel"]


class AutoregressiveModel(nn.Module):
    """p(x) = prod_r p(x_order[r] | x_order[0..r-1]), or the mean of several such products.

    Rows are codes (n, D), context is features (n, C), log-probabilities are in nats.
    """

    def __init__(self, conditioner: Conditioner, conditionals: Conditionals) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.conditionals = conditionals

    @property
    def n_members(self) -> int:
        """How many orders and masks the model averages over."""
        return self.conditioner.n_members

    def log_conditionals(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return log p(x_d | earlier variables of the member's order), (n, D)."""
        return self.conditionals.log_prob(x, self.conditioner(x, member, context))

    def log_prob_of_member(self, x: Tensor, member: int, context: Tensor | None = None) -> Tensor:
        """Return log p(x) under one member, float64 (n,)."""
        return self.log_conditionals(x, member, context).sum(-1, dtype=torch.float64)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x), float64 (n,): the log of the mean of the members' probabilities."""
        members = [self.log_prob_of_member(x, k, context) for k in range(self.n_members)]
        return torch.logsumexp(torch.stack(members), dim=0) - math.log(self.n_members)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, context: Tensor | None = None) -> Tensor:
        """Draw n rows (n, D): first the member of each row, then one variable after the other."""
        if self.n_members == 1:
            return self.sample_member(0, self._uniforms(n, generator), context)
        device = self.conditionals.output_variable.device
        member = torch.randint(self.n_members, (n,), generator=generator, device=device)
        rows = next(self.conditioner.parameters()).new_empty(n, self.conditionals.n_variables)
        for k in member.unique().tolist():
            mine = (member == k).nonzero().squeeze(1)
            uniforms = self._uniforms(len(mine), generator)
            rows[mine] = self.sample_member(k, uniforms, None if context is None else context[mine])
        return rows

    def sample_member(self, member: int, uniforms: Tensor, context: Tensor | None = None) -> Tensor:
        """Return rows (n, D) of one member, a function of uniforms (n, D, U) alone."""
        if not self.conditioner.is_sampled_compiled():
            return self.sample_step_by_step(member, uniforms, context)
        if uniforms.is_cuda:
            return self.sample_on_gpu(member, uniforms, context)
        draws = self.conditionals.draws(uniforms)
        rows = self.conditioner.sample_compiled(self._row_plan(member), draws, member, context)
        return torch.from_numpy(rows)

    def sample_on_gpu(self, member: int, uniforms: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what `sample_member` does, in one walk on the GPU."""
        network = self.conditioner.gpu_network(member, context)
        draws = self.conditionals.uniforms_and_quantiles(uniforms)
        return sample_on_gpu(network, self._row_plan(member), *draws)

    def _row_plan(self, member: int) -> RowPlan:
        order = self.conditioner.order(member).cpu().numpy()
        features = self.conditioner.encoding.feature_table
        return RowPlan(order=order, **self.conditionals.draw_table, **features)

    def sample_step_by_step(self, member: int, uniforms: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what `sample_member` does, one variable after the other on any device."""
        rows = uniforms.new_empty(uniforms.shape[:2])
        walk = self.conditioner.begin(len(rows), member, context)
        for d in self.conditioner.order(member).tolist():
            params = self.conditioner.params(walk, d)
            rows[:, d] = self.conditionals.sample_variable(d, params, uniforms[:, d])
            self.conditioner.observe(walk, d, rows[:, d])
        return rows

    def _uniforms(self, n: int, generator: torch.Generator) -> Tensor:
        weight = next(self.conditioner.parameters())
        shape = (n, self.conditionals.n_variables, self.conditionals.n_uniforms)
        return torch.rand(shape, generator=generator, device=weight.device, dtype=weight.dtype)
