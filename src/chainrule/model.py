"""The autoregressive model: a conditioner and the conditionals of a row, put together."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from chainrule.conditionals import Conditionals
from chainrule.conditioners import (
    AnyOrderConditioner,
    AnyOrderMADEConditioner,
    CompiledConditioner,
    Conditioner,
)
from chainrule.kernels.sampling_cpu import RowPlan
from chainrule.kernels.sampling_gpu import sample_on_gpu

__all__ = ["AutoregressiveModel", "LateVariableError"]


class LateVariableError(Exception):
    """Variable `late` is part of a question without `missing`, which comes before it in the fixed order."""

    def __init__(self, late: int, missing: int) -> None:
        super().__init__(late, missing)
        self.late, self.missing = late, missing


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
        """Return log p(x) under one member, float64 (n,); any-order models leave out missing values (NaN)."""
        if isinstance(self.conditioner, AnyOrderConditioner):
            there = ~x.isnan()
            return self.log_prob_given(
                x, torch.zeros_like(there), there, self.conditioner.order(member), context
            )
        return self.log_conditionals(x, member, context).sum(-1, dtype=torch.float64)

    def training_log_prob(self, x: Tensor, member: int = 0, context: Tensor | None = None) -> Tensor:
        """Return what a training step maximises, (n,): log p(x), or an unbiased estimate of it.

        For any-order models its expectation is the mean log p(x) of all orders; missing values (NaN) are
        left out.
        """
        seen = None
        if self.conditioner.is_any_order:
            x, seen = _split_missing(x)
        outputs, weights = self.conditioner.training_outputs(x, seen, member, context)
        log_probs = self.conditionals.log_prob(x, outputs)
        return log_probs.sum(-1) if weights is None else (log_probs * weights).sum(-1)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x), float64 (n,): the log of the mean of the members' probabilities."""
        members = [self.log_prob_of_member(x, k, context) for k in range(self.n_members)]
        return torch.logsumexp(torch.stack(members), dim=0) - math.log(self.n_members)

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
        network = self._compiled()
        if network is None:
            return self.sample_step_by_step(member, uniforms, context)
        if uniforms.is_cuda:
            return self.sample_on_gpu(member, uniforms, context)
        plan = self._row_plan(network.order(member))
        rows = network.sample_compiled(plan, self.conditionals.draws(uniforms), member, context)
        return torch.from_numpy(rows)

    def sample_on_gpu(self, member: int, uniforms: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what `sample_member` does, in one walk on the GPU."""
        network = self.conditioner
        assert isinstance(network, CompiledConditioner)  # or `sample_member` would not come here
        draws = self.conditionals.uniforms_and_quantiles(uniforms)
        plan = self._row_plan(network.order(member))
        return sample_on_gpu(network.gpu_network(member, context), plan, *draws)

    def _compiled(self) -> CompiledConditioner | None:
        """Return the network if its compiled walks serve it where it is now, and draw from all families."""
        network = self.conditioner
        if not (isinstance(network, CompiledConditioner) and self.conditionals.is_drawn_compiled):
            return None
        if not network.encoding.is_compiled:
            return None
        return network if network.is_sampled_compiled() else None

    def _row_plan(self, order: Tensor) -> RowPlan:
        features = self.conditioner.encoding.feature_table
        return RowPlan(order=order.cpu().numpy(), **self.conditionals.draw_table, **features)

    def sample_step_by_step(
        self,
        member: int,
        uniforms: Tensor,
        context: Tensor | None = None,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return what `sample_member` does, one variable after the other on any device.

        `known` are codes (n, D), and which of them stand (bool (n, D)) instead of being drawn.
        """
        rows = uniforms.new_empty(uniforms.shape[:2])
        walk = self.conditioner.begin(len(rows), member, context)
        for d in self.conditioner.order(member).tolist():
            params = self.conditioner.params(walk, d)
            rows[:, d] = self.conditionals.sample_variable(d, params, uniforms[:, d])
            if known is not None:
                rows[:, d] = torch.where(known[1][:, d], known[0][:, d], rows[:, d])
            self.conditioner.observe(walk, d, rows[:, d])
        return rows

    # ---------------------------------------------------------------- p(these | those)

    # Questions name an order (D,) for a network of any order, and a member for one of fixed orders.

    def log_prob_given(
        self, x: Tensor, given: Tensor, asked: Tensor, order: Tensor | int, context: Tensor | None = None
    ) -> Tensor:
        """Return log p(x_asked | x_given), float64 (n,): the sum of `log_conditionals_given`."""
        return self.log_conditionals_given(x, given, asked, order, context).sum(-1, dtype=torch.float64)

    def log_conditionals_given(
        self, x: Tensor, given: Tensor, asked: Tensor, order: Tensor | int, context: Tensor | None = None
    ) -> Tensor:
        """Return log p(x_d | given and earlier asked ones) of the variables asked for, (n, D), 0 of the rest.

        Parameters
        ----------
        x : Tensor (n, D)
            Codes; those neither given nor asked for may be missing (NaN).
        given, asked : Tensor, bool (n, D)
            What is known and what is asked for in each row.
        order : Tensor (D,) or int
            In which the given variables come, then those asked for; or which member answers.
        context : Tensor (n, C), optional

        Raises
        ------
        LateVariableError
            If the order is fixed, and what is given, or what is given and asked for, does not lead it.
        """
        x, _ = _split_missing(x)
        if isinstance(order, int):
            self._check_leading(given, order)
            self._check_leading(given | asked, order)
            outputs = self.conditioner(x, order, context)
        else:
            outputs = self._any_order().outputs_given(x, given, asked, order, context)
        log_probs = self.conditionals.log_prob(x, outputs)
        return torch.where(asked, log_probs, 0.0)

    @torch.no_grad()
    def complete(
        self, x: Tensor, given: Tensor, order: Tensor | int, uniforms: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return rows with everything drawn that is not given, one variable after the other.

        Parameters and errors are those of `log_conditionals_given`, and uniforms (n, D, U); no draw is ever
        rejected.
        """
        x, _ = _split_missing(x)
        if isinstance(order, int):
            self._check_leading(given, order)
        network = self._compiled()
        if network is not None and len(x) and not x.is_cuda and (given == given[:1]).all():
            return self._complete_compiled(network, x, given[0], order, uniforms, context)
        if isinstance(order, int):
            return self.sample_step_by_step(order, uniforms, context, (x, given))
        x = x.clone()
        walk = self._any_order().begin_given(x, given, order, context)
        missing = ~given
        some, every = missing.any(0).tolist(), missing.all(0).tolist()
        for d in order.tolist():
            if some[d]:
                drawn = self.conditionals.sample_variable(d, walk.params(d), uniforms[:, d])
                x[:, d] = drawn if every[d] else torch.where(missing[:, d], drawn, x[:, d])
                walk.observe(d, x[:, d], None if every[d] else missing[:, d])
        return x

    def _complete_compiled(
        self,
        network: CompiledConditioner,
        x: Tensor,
        given: Tensor,
        order: Tensor | int,
        uniforms: Tensor,
        context: Tensor | None,
    ) -> Tensor:
        """Return what `complete` does, in one compiled walk: variables (D,) are given in all rows."""
        draws = self.conditionals.draws(uniforms)
        draws.uniforms[:, given.numpy()] = x[:, given].numpy()
        if isinstance(order, int):
            plan = self._row_plan(network.order(order)).with_given(given.numpy())
            return torch.from_numpy(network.sample_compiled(plan, draws, order, context))
        assert isinstance(network, AnyOrderMADEConditioner)  # no other of any order has a compiled walk
        own_order = torch.cat([order[given[order]], order[~given[order]]])
        plan = self._row_plan(own_order).with_given(given.numpy())
        return torch.from_numpy(network.sample_compiled_in(own_order, plan, draws, context))

    def outputs_from(
        self,
        x: Tensor,
        given: Tensor,
        asked: Tensor,
        order: Tensor | int,
        context: Tensor | None = None,
    ) -> Tensor:
        """Return the outputs (n, n_outputs) of the asked variables, each from the given ones alone.

        Parameters and errors are those of `log_conditionals_given`; a fixed order answers for the next
        variable.
        """
        x, _ = _split_missing(x)
        if isinstance(order, int):
            self._check_leading(given, order)
            for d in asked.any(0).nonzero().flatten().tolist():
                rows = asked[:, d]
                only = torch.zeros_like(given[rows])
                only[:, d] = True
                self._check_leading(given[rows] | only, order)
            return self.conditioner(x, order, context)
        return self._any_order().outputs_from(x, given, order, context)

    def _check_leading(self, sets: Tensor, member: int) -> None:
        """Raise a QueryError if one of the sets (n, D) is not the leading part of a member's order."""
        order = self.conditioner.order(member)
        in_order = sets[:, order]
        broken = ~in_order[:, :-1] & in_order[:, 1:]
        if not broken.any():
            return
        row = int(broken.any(1).nonzero()[0])
        late = int(broken[row].nonzero()[0]) + 1
        raise LateVariableError(int(order[late]), int(order[~sets[row, order]][0]))

    def _any_order(self) -> AnyOrderConditioner:
        if not isinstance(self.conditioner, AnyOrderConditioner):
            raise TypeError(f"{type(self.conditioner).__name__} serves fixed orders only")
        return self.conditioner

    def uniforms(self, n: int, generator: torch.Generator) -> Tensor:
        """Return what n rows are drawn with, (n, D, U)."""
        weight = next(self.conditioner.parameters())
        shape = (n, self.conditionals.n_variables, self.conditionals.n_uniforms)
        return torch.rand(shape, generator=generator, device=weight.device, dtype=weight.dtype)


def _split_missing(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return codes with zeros for the missing ones, and which are there, None for all."""
    missing = x.isnan()
    return (x.masked_fill(missing, 0.0), ~missing) if missing.any() else (x, None)
