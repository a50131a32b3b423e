"""The NLL of rows, and the estimate of it by which a fit is steered."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.model import AutoregressiveModel
from chainrule.training.parallel import Group, share_of
from chainrule.training.rows import Rows

__all__ = ["evaluation_batch", "mean_nll", "validation_nll", "validation_nlls"]

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
    """Return the NLL in nats by which a fit is steered: `mean_nll`, or an estimate of it."""
    return float(validation_nlls(model, rows, group).sum())


@torch.no_grad()
def validation_nlls(model: AutoregressiveModel, rows: Rows, group: Group | None = None) -> Tensor:
    """Return the parts of `validation_nll`: float64, (D,) by variable where it is an estimate, else (1,).

    The estimate is from random orders or observed masks, the same ones at each call; few rows are seen
    several times, so that its noise stays small. The processes of a group share out the rows of each batch.
    """
    if not model.conditioner.validates_by_monte_carlo:
        return torch.tensor([mean_nll(model, rows, group)], dtype=torch.float64)
    model.eval()
    model.conditioner.generator = torch.Generator(rows.codes.device).manual_seed(0)
    n_masks = len(rows) * math.ceil(_VALIDATION_MASKS / len(rows))
    totals = torch.zeros(rows.n_variables, dtype=torch.float64, device=rows.device)
    for index in (torch.arange(n_masks, device=rows.codes.device) % len(rows)).split(evaluation_batch(model)):
        batch, drawn = rows.take(index), None
        if group is not None and group.size > 1:
            batch, drawn = share_of(group, model, batch)
        if len(batch):
            terms = model.training_log_conditionals(batch.codes, context=batch.context, drawn=drawn)
            totals += terms.sum(0, dtype=torch.float64)
    model.conditioner.generator = None
    if group is not None:
        group.add(totals)
    return -totals / n_masks
