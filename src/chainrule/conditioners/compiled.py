"""What conditioners with compiled samplers offer beside their two faces."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from chainrule.conditioners.base import Conditioner
from chainrule.kernels.gpu import runs_triton
from chainrule.kernels.sampling_cpu import SAMPLER_ACTIVATIONS, Draws, RowPlan
from chainrule.kernels.sampling_gpu import GPUMADE, GPUNADE

__all__ = ["CompiledConditioner"]


class CompiledConditioner(Conditioner):
    """A conditioner whose walk over the variables is compiled, too: on the CPU, and on a GPU with Triton."""

    def plan(self, member: int) -> Any:
        """Return what the compiled sampler must know of a member, made anew where a weight has changed."""
        return self._kept("plan", member, self._new_plan)

    @torch.no_grad()
    def _kept(self, what: str | bytes, member: int, make: Callable[[int], Any]) -> Any:
        """Return what was made of a member's weights before, if they are still the same."""
        version = [(p.data_ptr(), p._version) for p in self.parameters()]
        views = _views.get(self)
        if views is None or views.version != version:
            views = _views[self] = _Views(version)
        if (what, member) not in views.made:
            if len(views.made) >= _MOST_VIEWS:
                views.made.clear()
            views.made[what, member] = make(member)
        return views.made[what, member]

    @abstractmethod
    def _new_plan(self, member: int) -> Any:
        """Return what the compiled sampler must know of a member."""

    def is_sampled_compiled(self) -> bool:
        """Return whether `sample_compiled`, or a walk on the GPU, serves this network where it is now."""
        device = self.ranks.device
        return self.activation in SAMPLER_ACTIVATIONS and (device.type == "cpu" or runs_triton(device))

    @abstractmethod
    def gpu_network(self, member: int = 0, context: Tensor | None = None) -> GPUMADE | GPUNADE:
        """Return what the sampler on the GPU must know of a member, in tensors where the weights are."""

    @abstractmethod
    def sample_compiled(
        self, row: RowPlan, draws: Draws, member: int = 0, context: Tensor | None = None
    ) -> np.ndarray:
        """Return rows (n, D) of a member, in one compiled walk with the results of a step-by-step one."""

    def output_start(self, bias: Tensor, context: Tensor | None) -> Tensor:
        """Return the outputs before any variable is known: a bias, and the context's; (n or 1, n_outputs)."""
        start = bias[None, :]
        return (start if self.output_context is None else start + self.output_context(context)).contiguous()

    def context_outputs(self, context: Tensor | None) -> np.ndarray:
        """Return what the context adds to the outputs, (n, n_outputs), or one row of zeros without one."""
        if self.output_context is None:
            return np.zeros((1, self.n_outputs), next(self.parameters()).detach().numpy().dtype)
        added: np.ndarray = self.output_context(context).detach().numpy()
        return added


# Each is about as large as the weights; an ensemble has one for each member.
_MOST_VIEWS = 64


@dataclass(frozen=True)
class _Views:
    """What samplers made of some members, and the state of the weights they made it from."""

    version: list[tuple[int, int]]
    made: dict[tuple[str | bytes, int], Any] = field(default_factory=dict)


# Beside the modules, so that copies and pickles of them stay small.
_views: WeakKeyDictionary[CompiledConditioner, _Views] = WeakKeyDictionary()
