"""The conditionals of a whole row: variables of one family are evaluated together."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chainrule.conditionals.base import Conditional
from chainrule.kernels.log_prob import compiled_log_prob, is_compiled
from chainrule.kernels.plans import COMPILED_FAMILIES, Draws, LogProbPlan, VariablePlan

__all__ = ["Conditionals"]


class _Columns(torch.autograd.Function):
    """Columns of a matrix; each is taken once at most, so that the gradient is another choice of columns."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, index: Tensor, places: Tensor) -> Tensor:
        """Return the columns `index`; `places` tells where each column went."""
        ctx.places = places
        return matrix.index_select(1, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradient of the matrix."""
        with_zeros = torch.nn.functional.pad(gradients[0], (0, 1))
        return with_zeros.index_select(1, ctx.places), None, None


def _places(index: Tensor, n_columns: int) -> tuple[Tensor, Tensor]:
    """Return an index, and where each of the columns stands in it; behind its end if nowhere.

    The last column may be taken several times: what stands there is constant.
    """
    places = torch.full((n_columns,), len(index), device=index.device)
    places[index] = torch.arange(len(index), device=index.device)
    return index, places


class Conditionals(nn.Module):
    """The D conditionals of a row, and where each finds its params among a conditioner's outputs.

    Outputs lie variable after variable: those of variable d are ``outputs[:, starts[d]:starts[d + 1]]``.

    Parameters
    ----------
    families : sequence of Conditional, length D
        The family of each variable; variables may share one.
    """

    output_variable: Tensor
    position: Tensor

    def __init__(self, families: Sequence[Conditional]) -> None:
        super().__init__()
        self.n_variables: int = len(families)
        self._own = tuple(families)  # no modules of this one: each would be moved and listed
        widths = torch.tensor([family.n_parameters for family in families])
        self.starts: list[int] = [0, *widths.cumsum(0).tolist()]
        self.n_outputs: int = self.starts[-1]
        self.n_uniforms: int = max(family.n_uniforms for family in families)
        self.register_buffer(
            "output_variable", torch.repeat_interleave(torch.arange(len(widths)), widths), persistent=False
        )
        self._make_groups()
        self._alone: dict[tuple[int, torch.device], Conditional] = {}
        self._places: dict[tuple[tuple[int, ...], torch.device], tuple[Tensor, Tensor]] = {}

    def _make_groups(self) -> None:
        """Sort the variables by family; each group knows its columns and gathers its params."""
        members: dict[Hashable, list[int]] = {}
        for d, family in enumerate(self._own):
            members.setdefault(family.group_key(), []).append(d)
        groups = []
        for i, variables in enumerate(members.values()):
            alone = [self._own[d] for d in variables]
            group = alone[0].group(alone)
            groups.append(group)
            index = torch.stack([self._index_of(d, group.n_parameters) for d in variables])
            self.register_buffer(f"_index_{i}", index, persistent=False)
            self.register_buffer(f"_variables_{i}", torch.tensor(variables), persistent=False)
        self.groups: nn.ModuleList = nn.ModuleList(groups)
        position = torch.argsort(torch.tensor([d for group in members.values() for d in group]))
        self.register_buffer("position", position, persistent=False)
        self._needs_padding = any(
            bool((self._buffer("_index", i) == self.n_outputs).any()) for i in range(len(groups))
        )
        widths = {family.n_parameters for family in self._own}
        self._contiguous = len(groups) == 1 and widths == {groups[0].n_parameters}

    def _index_of(self, d: int, n_parameters: int) -> Tensor:
        """Return where the params of variable d stand among the outputs, for a group of so many.

        Params that a variable lacks point one past the outputs, where a logit of -inf stands.
        """
        index = torch.full((n_parameters,), self.n_outputs)
        index[self._own[d].slots(n_parameters)] = torch.arange(self.starts[d], self.starts[d + 1])
        return index

    def _groups(self) -> list[Conditional]:
        return [group for group in self.groups if isinstance(group, Conditional)]

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Return log p(x_d | params of d) in nats, (n, D), for codes x (n, D) and outputs (n, n_outputs)."""
        plan = self.log_prob_plan if is_compiled(outputs) else None
        if plan is None:
            return self._log_prob_by_formula(x, outputs)
        variables, rest, position = self._compiled_variables
        if not rest:
            return compiled_log_prob(x, outputs, plan)
        parts = [compiled_log_prob(x[:, variables], outputs, plan), *self._parts_by_formula(x, outputs, rest)]
        return torch.cat(parts, dim=1)[:, position]

    def _log_prob_by_formula(self, x: Tensor, outputs: Tensor) -> Tensor:
        if self._contiguous:
            return self._groups()[0].log_prob(x, outputs.unflatten(-1, (self.n_variables, -1)))
        everything = tuple(range(len(self.groups)))
        return torch.cat([*self._parts_by_formula(x, outputs, everything)], dim=1)[:, self.position]

    def _parts_by_formula(self, x: Tensor, outputs: Tensor, groups: tuple[int, ...]) -> Iterator[Tensor]:
        """Yield log p of the variables of some groups, one group after the other."""
        for i, params in zip(groups, self._gathered(outputs, groups), strict=True):
            yield self._groups()[i].log_prob(x[:, self._buffer("_variables", i)], params)

    @cached_property
    def log_prob_plan(self) -> LogProbPlan | None:
        """What compiled code must know of the variables that it can evaluate; None where there are none.

        Bits alone are one operation of PyTorch, too.
        """
        variables = self._compiled_variables[0]
        plans = [plan for d in variables if (plan := self._own[d].log_prob_plan()) is not None]
        if not plans or (self._contiguous and plans[0] == VariablePlan("bernoulli")):
            return None
        return LogProbPlan.of(
            plans, [(self.starts[d], self.starts[d + 1]) for d in variables], self.n_outputs
        )

    @cached_property
    def _compiled_variables(self) -> tuple[list[int], tuple[int, ...], list[int]]:
        """The variables that compiled code can evaluate, the groups of the others, and where each ends up."""
        groups = [self._buffer("_variables", i).tolist() for i in range(len(self.groups))]
        rest = tuple(
            i for i, group in enumerate(groups) if any(self._own[d].log_prob_plan() is None for d in group)
        )
        others = {d for i in rest for d in groups[i]}
        variables = [d for d in range(self.n_variables) if d not in others]
        all_in_turn = [*variables, *(d for i in rest for d in groups[i])]
        return variables, rest, np.argsort(all_in_turn).tolist()

    def _gathered(self, outputs: Tensor, groups: tuple[int, ...]) -> Iterator[Tensor]:
        """Yield the params (n, G, P) of the variables of some groups, one group after the other."""
        if not groups:
            return
        padded = (
            torch.nn.functional.pad(outputs, (0, 1), value=-torch.inf) if self._needs_padding else outputs
        )
        indices = [self._buffer("_index", i) for i in groups]
        if not outputs.requires_grad:
            yield from (padded[:, index] for index in indices)
            return
        key = groups, outputs.device
        if key not in self._places:
            self._places[key] = _places(torch.cat([index.flatten() for index in indices]), padded.shape[1])
        columns = _Columns.apply(padded, *self._places[key])
        for index, some in zip(indices, columns.split([index.numel() for index in indices], 1), strict=True):
            yield some.unflatten(1, index.shape)

    def _buffer(self, name: str, i: int) -> Tensor:
        return self.get_buffer(f"{name}_{i}")

    def of_variable(self, d: int) -> Conditional:
        """Return the family of variable d alone, for params (n, 1, P_d)."""
        family, device = self._own[d], self.output_variable.device
        key = (id(family), device)
        if key not in self._alone:
            # A copy: where the family's constants are is not for one model to say.
            self._alone[key] = family if device.type == "cpu" else copy.deepcopy(family).to(device)
        return self._alone[key]

    def sample_variable(self, d: int, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return draws of variable d, (n,), from its params (n, P_d) and uniforms (n, U)."""
        return self.of_variable(d).sample(params[:, None], uniforms[:, None]).squeeze(1)

    @cached_property
    def is_drawn_compiled(self) -> bool:
        """Whether compiled samplers know all the families."""
        return all(family.compiled_family is not None for family in self._own)

    @cached_property
    def draw_table(self) -> dict[str, np.ndarray]:
        """What a compiled sampler must know of each variable; see `RowPlan`."""
        constants = [family.compiled_constants() for family in self._own]
        return {
            "family": np.array([COMPILED_FAMILIES[family.compiled_family or ""] for family in self._own]),
            "start": np.array(self.starts[:-1]),
            "width": np.diff(self.starts),
            "n_levels": np.array([n_levels for n_levels, _ in constants]),
            "min_scale": np.array([min_scale for _, min_scale in constants]),
        }

    def draws(self, uniforms: Tensor) -> Draws:
        """Return the random numbers of a compiled sampler from uniforms (n, D, U) on the CPU."""
        first, quantiles = self.uniforms_and_quantiles(uniforms)
        unused = uniforms.new_zeros(1, 1)
        return Draws(first.numpy(), (unused if quantiles is None else quantiles).numpy())

    def uniforms_and_quantiles(self, uniforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the numbers of a sampler from uniforms (n, D, U): see `Draws`; None where unused."""
        first = uniforms[..., 0].clone(memory_format=torch.contiguous_format)
        quantiles = None if self.n_uniforms == 1 else torch.zeros_like(first)
        for i, group in enumerate(self._groups()):
            variables = slice(None) if self._contiguous else self._buffer("_variables", i)
            first[:, variables], second = group.compiled_draws(uniforms[:, variables])
            if quantiles is not None and second is not None:
                quantiles[:, variables] = second
        return first, quantiles

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return outputs (n_outputs,) under which each variable follows its own marginal in the codes x."""
        outputs = x.new_zeros(self.n_outputs + 1)
        for i, group in enumerate(self._groups()):
            outputs[self._buffer("_index", i)] = group.marginal_params(x[:, self._buffer("_variables", i)])
        return outputs[:-1]
