"""Degrees of hidden units, and the masks that follow from ranks and degrees.

A hidden unit of degree m may see the variables at the m leading positions (ranks 0..m-1). The variable of
rank r may be predicted from units of degree at most r. Every mask of a MADE (Germain et al. 2015, eqs. 10
to 13) is one of the three comparisons below. All functions are pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "dependencies",
    "direct_mask",
    "even_degrees",
    "hidden_mask",
    "input_mask",
    "layer_degrees",
    "lost_dependencies",
    "output_mask",
    "uniform_degrees",
]


def even_degrees(n_units: int, n_variables: int, lowest: int = 1) -> Tensor:
    """Return degrees spread evenly over `lowest`..D-1 in ascending order, shape (n_units,).

    A single unit gets the middle degree, so that it still connects early inputs with late outputs.

    >>> even_degrees(6, n_variables=4)
    tensor([1, 1, 2, 2, 3, 3])
    """
    highest = n_variables - 1
    lowest = min(lowest, highest)
    n_degrees = highest - lowest + 1
    if n_units == 1:
        return torch.tensor([lowest + n_degrees // 2]).clamp(max=highest)
    if n_units >= n_degrees:
        return lowest + torch.arange(n_units) * n_degrees // n_units
    # Fewer units than degrees: both ends are taken, the others lie between them.
    return lowest + torch.arange(n_units) * (n_degrees - 1) // (n_units - 1)


def uniform_degrees(n_units: int, n_variables: int, generator: torch.Generator, lowest: int = 1) -> Tensor:
    """Return degrees drawn uniformly from `lowest`..D-1, shape (n_units,), in no particular order."""
    highest = n_variables - 1
    lowest = min(lowest, highest)
    return torch.randint(lowest, highest + 1, (n_units,), generator=generator)


def layer_degrees(degrees: Sequence[Tensor]) -> list[Tensor]:
    """Return the degrees of consecutive layers, changed where a unit would be dead.

    A unit below every degree of the layer under it would see nothing, one above every degree of the layer
    over it would be seen by nothing. Both are moved to the nearest useful degree.
    """
    alive = [degree.clone() for degree in degrees]
    for below, above in zip(alive[:-1], alive[1:], strict=True):
        above.clamp_(min=int(below.min()))
    for below, above in zip(alive[-2::-1], alive[:0:-1], strict=True):
        below.clamp_(max=int(above.max()))
    return alive


def input_mask(rank_of_feature: Tensor, degrees: Tensor) -> Tensor:
    """Return which feature reaches which first-layer unit, bool (..., H, F): degree > rank.

    >>> input_mask(torch.tensor([0, 1]), torch.tensor([0, 1])).int()
    tensor([[0, 0],
            [1, 0]], dtype=torch.int32)
    """
    return degrees[:, None] > rank_of_feature[..., None, :]


def hidden_mask(below: Tensor, above: Tensor) -> Tensor:
    """Return which unit reaches which unit of the next layer, bool (H_above, H_below): above >= below."""
    return above[:, None] >= below[None, :]


def output_mask(degrees: Tensor, rank_of_output: Tensor) -> Tensor:
    """Return which last-layer unit reaches which output, bool (..., n_outputs, H): rank >= degree."""
    return rank_of_output[..., :, None] >= degrees


def direct_mask(rank_of_feature: Tensor, rank_of_output: Tensor) -> Tensor:
    """Return which feature may reach which output directly, bool (..., n_outputs, F): rank > rank."""
    return rank_of_output[..., :, None] > rank_of_feature[..., None, :]


def dependencies(rank: Tensor, degrees: Sequence[Tensor], direct: bool) -> Tensor:
    """Return which variable reaches the conditional of which, bool (D, D), row = predicted variable."""
    if direct:
        return direct_mask(rank, rank)
    reached = input_mask(rank, degrees[0])
    for below, above in zip(degrees[:-1], degrees[1:], strict=True):
        reached = (hidden_mask(below, above).float() @ reached.float()) > 0
    return (output_mask(degrees[-1], rank).float() @ reached.float()) > 0


def lost_dependencies(rank: Tensor, degrees: Sequence[Tensor], direct: bool) -> int:
    """Return the number of the D (D - 1) / 2 dependencies of the order that no path of the network carries.

    A unit sees the variables of the leading positions up to some number, its reach; no D x D matrix is made.
    """
    if direct:
        return 0
    reach = degrees[0]
    for below, above in zip(degrees[:-1], degrees[1:], strict=True):
        reach = _furthest(below, reach, above)
    positions = torch.arange(len(rank), device=rank.device)
    return int((positions - _furthest(degrees[-1], reach, positions)).sum())


def _furthest(degrees: Tensor, reach: Tensor, highest: Tensor) -> Tensor:
    """Return the greatest reach among the units of degree at most `highest`, 0 where there is none."""
    by_degree = torch.argsort(degrees)
    so_far = torch.cat([reach.new_zeros(1), reach[by_degree].cummax(0).values])
    return so_far[torch.searchsorted(degrees[by_degree], highest, right=True)]
