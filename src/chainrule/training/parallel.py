"""Fits by several processes, which share out the rows of each batch and add up its gradient.

All of them take the same steps as one process would that had the whole batch: they visit the batches in one
order, draw random orders for all rows of a batch and use those of their own rows, and decide everything by
numbers that they have agreed on. Dropout alone draws for each process by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.distributed
from torch import Tensor

from chainrule.errors import GroupError
from chainrule.model import AutoregressiveModel
from chainrule.training.rows import Rows

if TYPE_CHECKING:
    from chainrule.training.loop import Trainer

__all__ = ["Group", "add_gradients", "current_group", "process_group", "share_of"]

# The others wait while the first process reads rows or saves; one that dies is noticed at once.
_TIMEOUT = timedelta(hours=2)

Made = TypeVar("Made")


@dataclass(frozen=True)
class Group:
    """The processes that fit one model together; by default this one alone.

    Parameters
    ----------
    rank : int
        The number of this process, from 0. The first one writes files and says what there is to say.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and says what there is to say."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Return which of n rows are this process's.

        >>> [Group(rank, 3).share(8) for rank in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def add(self, tensor: Tensor) -> None:
        """Replace a tensor by the sum of those of all processes, which is the same in each bit by bit."""
        if self.size > 1:
            with _naming_the_dead():
                torch.distributed.all_reduce(tensor)

    def sum(self, number: float) -> float:
        """Return the sum of a number of each process."""
        if self.size == 1:
            return number
        total = torch.tensor([number], dtype=torch.float64)
        self.add(total)
        return float(total)

    def first(self, made: Made) -> Made:
        """Return what the first process has made."""
        return self.by_first(lambda: made)

    def by_first(self, make: Callable[[], Made]) -> Made:
        """Let the first process make something, and return it in all of them."""
        made: list[Any] = [make() if self.is_first else None]
        if self.size > 1:
            with _naming_the_dead():
                torch.distributed.broadcast_object_list(made)
        return made[0]


@contextmanager
def _naming_the_dead() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise GroupError(
            "another process of this fit has ended or cannot be reached; start all of them again to go on"
        ) from error


def current_group() -> Group:
    """Return the processes that fit together with this one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Group(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return Group()


@contextmanager
def process_group() -> Iterator[Group]:
    """Join the processes that ``torchrun`` has started, or whatever else sets its environment variables.

    Without them, or in a process group already, there is nothing to join.
    """
    group = current_group()
    if group.size > 1 or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield group
        return
    torch.distributed.init_process_group("gloo", timeout=_TIMEOUT)
    try:
        yield current_group()
    finally:
        torch.distributed.destroy_process_group()


def share_of(group: Group, model: AutoregressiveModel, batch: Rows) -> tuple[Rows, Tensor | None]:
    """Return this process's rows of a batch, and the random orders that one process would draw for them."""
    drawn = model.training_draws(batch.codes)
    rows = group.share(len(batch))
    return batch.take(rows), None if drawn is None else drawn[rows]


def add_gradients(trainer: Trainer, batch: Rows, member: int) -> Tensor:
    """Give the weights of each process the gradient of a whole batch's mean NLL; return that NLL."""
    group, conditioner = trainer.group, trainer.model.conditioner
    mine, drawn = share_of(group, trainer.model, batch)
    nll = batch.codes.new_zeros(())
    if len(mine):
        conditioner.generator = _dropout_generator(trainer)
        log_probs = trainer.model.training_log_prob(mine.codes, member, mine.context, drawn)
        loss = -log_probs.sum() / len(batch)
        loss.backward()
        nll = loss.detach()
        conditioner.generator = trainer.dropout_generator
    return _summed(group, trainer.weights, nll)


def _dropout_generator(trainer: Trainer) -> torch.Generator:
    """Return where this process draws dropout from at this step; it needs no state in a checkpoint."""
    seeds = [trainer.dropout_generator.initial_seed(), trainer.step, trainer.group.rank]
    seed = int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(trainer.device).manual_seed(seed)


def _summed(group: Group, weights: Sequence[Tensor], nll: Tensor) -> Tensor:
    """Replace gradients by their sums over all processes, in one message with the NLL, whose sum is returned.

    Weights that have no gradient anywhere have none afterwards.
    """
    gradients = [weight.grad for weight in weights]
    counted = nll.new_tensor([gradient is not None for gradient in gradients])
    flat = [
        torch.zeros_like(weight).view(-1) if gradient is None else gradient.reshape(-1)
        for weight, gradient in zip(weights, gradients, strict=True)
    ]
    message = torch.cat([nll.view(1), counted, *flat])
    group.add(message)
    nll, counted, rest = message.split([1, len(weights), sum(map(len, flat))])
    parts = rest.split([len(part) for part in flat])
    for weight, part, count in zip(weights, parts, counted.tolist(), strict=True):
        weight.grad = part.view_as(weight) if count else None
    return nll[0]
