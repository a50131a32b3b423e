"""Drawing images: one pixel at a time with what is kept of those before it, against whole passes."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.models import binary_rows, pixel_cnn
from benchmarks.timing import Goal, Timing, seconds_of

__all__ = ["pixels"]

_SIDE, _N_FILTERS, _N_LAYERS = 28, 48, 6


def pixels(runs: int) -> Iterator[Timing]:
    """Yield the timings of 100 images and of a single one, by cells of 2 x 2 pixels and pixel by pixel."""
    for cell_size in (2, 1):
        yield _against_whole_passes(100, cell_size, Goal(50, 200), runs)
        yield _against_whole_passes(1, cell_size, None, runs)


def _against_whole_passes(n: int, cell_size: int, goal: Goal | None, runs: int) -> Timing:
    """Return the timing of n images, against D times one pass over as many rows: each pixel takes one."""
    model = pixel_cnn(_SIDE, _N_FILTERS, _N_LAYERS, cell_size)
    x = binary_rows(n, _SIDE * _SIDE)
    generator = torch.Generator().manual_seed(0)
    draw = torch.no_grad()(lambda: model.sample(n, generator))
    one_pass = torch.no_grad()(lambda: model.conditioner(x))
    draw()
    one_pass()
    turns = [(seconds_of(draw), _SIDE * _SIDE * seconds_of(one_pass)) for _ in range(runs)]
    return Timing(
        f"PixelCNN {_SIDE} x {_SIDE}, cells of {cell_size}, {_N_LAYERS} blocks of {_N_FILTERS}: "
        f"{n} image{'s' if n > 1 else ''}",
        [ours for ours, _ in turns],
        [other for _, other in turns],
        f"{_SIDE * _SIDE} times one pass over {n} row{'s' if n > 1 else ''}",
        goal,
    )
