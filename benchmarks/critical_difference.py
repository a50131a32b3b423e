"""Mean ranks of methods over data sets, and which of them chance could exchange (Demsar 2006)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import studentized_range

__all__ = ["critical_difference", "draw_ranks", "groups_alike"]

_ALPHA = 0.05


def critical_difference(n_methods: int, n_sets: int) -> float:
    """Return by how much mean ranks must differ to be told apart at 5 % (Nemenyi; Demsar 2006, eq. 4).

    >>> round(critical_difference(5, 30), 3)
    1.114
    """
    if n_methods < 2:
        return 0.0
    q = studentized_range.ppf(1 - _ALPHA, n_methods, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(n_methods * (n_methods + 1) / (6 * n_sets)))


def groups_alike(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return runs of ranks, which rise, that lie within a difference: numbers of the first and the last.

    Runs within another one are left out, and so are single ranks.

    >>> groups_alike([1.0, 1.5, 2.2, 4.0], 1.0)
    [(0, 1), (1, 2)]
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = int(np.searchsorted(np.asarray(ranks), rank + difference, side="right")) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def draw_ranks(panels: Mapping[str, Mapping[str, float]], n_sets: int, path: Path) -> None:
    """Draw a diagram of critical differences for each setting, one below the other.

    Parameters
    ----------
    panels : mapping
        For each setting the mean rank of each method, 1 being the best.
    n_sets : int
        Over how many data sets the means are.
    path : Path
        Of a picture, such as a png.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.4 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, (setting, of_method) in zip(axes, panels.items(), strict=True):
        _draw_panel(axis, setting, of_method, critical_difference(len(of_method), n_sets))
    figure.savefig(path, dpi=150)


def _draw_panel(axis: Any, setting: str, of_method: Mapping[str, float], difference: float) -> None:
    """Draw ranks as points on a line, names above it, and bars below it through what is alike."""
    names = sorted(of_method, key=lambda name: of_method[name])
    ranks = [of_method[name] for name in names]
    groups = groups_alike(ranks, difference)
    for number, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        height = 0.6 + 0.55 * (number % 3)  # neighbours would write over each other
        axis.plot([rank, rank], [0, height], color="0.6", linewidth=0.8, zorder=1)
        label = axis.text(rank, height + 0.08, f"{name} {rank:.2f}", ha="center", va="bottom", fontsize=8)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axis.scatter(ranks, [0] * len(ranks), color="tab:blue", s=22, zorder=2)
    for number, (first, last) in enumerate(groups):
        depth = -0.35 - 0.25 * number
        axis.plot([ranks[first] - 0.04, ranks[last] + 0.04], [depth, depth], color="black", linewidth=3)
    axis.set_title(f"{setting}; critical difference {difference:.2f}", fontsize=9, loc="left")
    axis.set_xlim(0.5, len(names) + 0.5)
    axis.set_ylim(-0.6 - 0.25 * len(groups), 2.3)
    axis.set_xlabel("mean rank by AUROC", fontsize=8)
    axis.yaxis.set_visible(False)
    axis.spines[["left", "right", "top"]].set_visible(False)
