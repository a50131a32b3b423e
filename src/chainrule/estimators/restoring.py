"""Saved networks: shapes first, weights only where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta, Struct
from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.errors import StorageError
from chainrule.model import AutoregressiveModel
from chainrule.storage import ArraySpec, StoredArrays
from chainrule.training import History

__all__ = ["Members", "NetworkState", "check_sizes", "is_available", "load_weights"]

# Numbers of the tables of conditionals that any model may have.
_TABLE = 2**22


@dataclass(frozen=True)
class Members:
    """What members of a network differ in, beside their weights.

    Parameters
    ----------
    orders : Tensor, int64 (n_orders, D)
    degrees : tuple of Tensor, int64 (n_masks, H_l)
        Of the units of each hidden layer of a MADE.
    """

    orders: Tensor
    degrees: tuple[Tensor, ...] = ()


class NetworkState(Struct, forbid_unknown_fields=True):
    """What a saved network says of itself beside its parameters and arrays."""

    n_parameters: Annotated[int, Meta(ge=0)]
    families: tuple[str, ...]
    history: History


def check_sizes(families: Sequence[Conditional], encoding: str, n_numbers: int) -> None:
    """Refuse families with more params than numbers in a model, which has a bias for each, or huge tables."""
    widths = [family.n_parameters for family in families]
    n_features = sum(family.input_features(encoding).width for family in families)
    # The tables of a group are as wide as its widest family.
    table = len(widths) * max(widths)
    if sum(widths) > n_numbers or n_features > n_numbers or table > _TABLE + 16 * n_numbers:
        raise StorageError(
            f"columns of {n_features:,} features and {sum(widths):,} params do not belong to arrays of "
            f"{n_numbers:,} numbers"
        )


def load_weights(model: AutoregressiveModel, arrays: StoredArrays) -> None:
    """Load saved weights into a model that has none yet.

    Raises
    ------
    StorageError
        If an array is of another shape than the model's, before any is read; or holds what no model does.
    """
    expected = {
        name: ArraySpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in model.state_dict().items()
    }
    state = {name: torch.from_numpy(array) for name, array in arrays.read_all(expected).items()}
    if not torch.equal(state["conditioner.ranks"], model.conditioner.ranks):
        raise StorageError("the ranks of the model are not those of its orders")
    model.load_state_dict(state, assign=True)
    model.conditioner.clear_forbidden()


def is_available(device: str) -> bool:
    """Return whether tensors can live there; only an allocation shows what build and machine can do."""
    try:
        return not torch.empty(0, device=device).is_meta
    except (AssertionError, ImportError, RuntimeError):
        return False
