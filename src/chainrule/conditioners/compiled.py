"""What conditioners with compiled samplers offer beside their parallel and sequential forms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from chainrule.conditioners.base import Conditioner
from chainrule.kernels.backends import runs_compiled
from chainrule.kernels.plans import (
    SAMPLER_ACTIVATIONS,
    GPUMADEPlan,
    GPUNADEPlan,
    MADEPlan,
    NADEPlan,
)

__all__ = ["CompiledConditioner"]

Kept = TypeVar("Kept")


class CompiledConditioner(Conditioner):
    """A conditioner whose sequential pass is compiled, too: on the CPU, and on a GPU with Triton.

    It says what a compiled sampler must know in a plan, and knows nothing of the sampler.
    """

    def has_compiled_sampler(self) -> bool:
        """Return whether a compiled sampler serves this network where it is now."""
        return self.activation in SAMPLER_ACTIVATIONS and runs_compiled(self.ranks.device)

    @abstractmethod
    def cpu_plan(self, order: int | Tensor = 0, context: Tensor | None = None) -> MADEPlan | NADEPlan:
        """Return what the sampler on the CPU must know.

        Parameters
        ----------
        order : int or Tensor (D,)
            A member; of networks of any order, also an order of the caller's.
        context : Tensor (n, C), optional
        """

    @abstractmethod
    def gpu_plan(self, member: int = 0, context: Tensor | None = None) -> GPUMADEPlan | GPUNADEPlan:
        """Return what the sampler on the GPU must know of a member, in tensors where the weights are."""

    @torch.no_grad()
    def kept(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return what was made of the weights before, if they are still the same."""
        version = [(p.data_ptr(), p._version) for p in self.parameters()]
        views = _views.get(self)
        if views is None or views.version != version:
            views = _views[self] = _Views(version)
        if key not in views.made:
            if len(views.made) >= _MAX_VIEWS:
                views.made.clear()
            views.made[key] = make()
        made: Kept = views.made[key]
        return made

    def output_start(self, bias: Tensor, context: Tensor | None) -> Tensor:
        """Return the outputs before any variable is known: a bias, and the context's; (n or 1, n_outputs)."""
        start = bias[None, :]
        return (start if self.output_context is None else start + self.output_context(context)).contiguous()


# Each is about as large as the weights; an ensemble has one for each member.
_MAX_VIEWS = 64


@dataclass(frozen=True)
class _Views:
    """What plans were made, and the state of the weights that they were made from."""

    version: list[tuple[int, int]]
    made: dict[Hashable, Any] = field(default_factory=dict)


# Beside the modules, so that copies and pickles of them stay small.
_views: WeakKeyDictionary[CompiledConditioner, _Views] = WeakKeyDictionary()
