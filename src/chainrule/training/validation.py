"""The NLL of rows, and the estimate of it by which a fit is steered."""

from __future__ import annotations

import math

import torch

from chainrule.model import AutoregressiveModel
from chainrule.training.parallel import Group, share_of
from chainrule.training.rows import Rows

__all__ = ["evaluation_batch", "mean_nll", "validation_nll"]

# Numbers of float32 that one batch of an evaluation may spread over its widest layer: 16 MiB, a cache.
_EVALUATION_NUMBERS = 2**22
# How many rows with a random order or observed mask an estimate of the validation NLL takes at least.
_VALIDATION_MASKS = 1_000


def evaluation_batch(model: AutoregressiveModel) -> int:
    """Return the number of rows to evaluate at a time so that memory stays bounded, in whole blocks."""
    size = max(1, min(4096, _EVALUATION_NUMBERS // model.conditioner.activations_per_row()))
    return size - size % 32 if size > 32 else size


@torch.no_grad()
def mean_nll(model: AutoregressiveModel, rows: Rows, group: Group | None = None) -> float:
    """Return the mean negative log-likelihood of the rows in nats, evaluated in batches.

    The processes of a group share out the rows.
    """
    model.eval()
    group = group or Group()
    batches = rows.take(group.share(len(rows))).batches(evaluation_batch(model))
    total = sum(float(model.log_prob(batch.codes, batch.context).sum()) for batch in batches)
    return -group.sum(total) / len(rows)


@torch.no_grad()
def validation_nll(model: AutoregressiveModel, rows: Rows, group: Group | None = None) -> float:
    """Return the NLL in nats by which a fit is steered: `mean_nll`, or an estimate of it.

    The estimate is from random orders or observed masks, the same ones at each call; few rows are seen
    several times, so that its noise stays small. The processes of a group share out the rows of each batch.
    """
    if not model.conditioner.validates_by_monte_carlo:
        return mean_nll(model, rows, group)
    model.eval()
    model.conditioner.generator = torch.Generator(rows.codes.device).manual_seed(0)
    n_masks, total = len(rows) * math.ceil(_VALIDATION_MASKS / len(rows)), 0.0
    for index in (torch.arange(n_masks, device=rows.codes.device) % len(rows)).split(evaluation_batch(model)):
        batch, drawn = rows.take(index), None
        if group is not None and group.size > 1:
            batch, drawn = share_of(group, model, batch)
        if len(batch):
            log_probs = model.training_log_prob(batch.codes, context=batch.context, drawn=drawn)
            total += float(log_probs.sum(dtype=torch.float64))
    model.conditioner.generator = None
    return -(total if group is None else group.sum(total)) / n_masks
