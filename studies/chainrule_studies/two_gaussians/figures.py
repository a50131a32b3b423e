"""The figures of the study `two-gaussians`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.synthetic import TwinGaussians
from chainrule.report.line_plots import COLOURS, Line, line_picture
from chainrule.report.numbers import number
from chainrule.report.style import INK, MAP, MUTED, Picture, figure, ticks, vector_picture
from chainrule_studies.two_gaussians.known_truth import ConditionalGrid

__all__ = ["MODEL_COLOURS", "conditional_pictures", "curve_pictures", "density_pictures", "scatter_pictures"]

MODEL_COLOURS = {"NADE": COLOURS[0], "MADE": COLOURS[1], "GMM": COLOURS[2]}
# A grey for points in a raster, which cannot follow the page: it suits light and dark.
_GREY = "#7d7d7d"
_EDGE = 4.5
_GRID = 141
_DEPTH = 14  # nats below the highest density that the maps tell apart

Floats = NDArray[np.float64]


def curve_pictures(fits: Mapping[str, Mapping[str, Any]], entropy: float) -> list[Picture]:
    """Return train and validation loss per epoch of each fit, on one scale."""
    settled = [curve[len(curve) // 10 :] for fit in fits.values() for curve in _curves(fit)]
    low, high = min(map(min, settled)), max(map(max, settled))
    limits = (min(low, entropy) - 0.1 * (high - low), high + 0.2 * (high - low))
    pictures = []
    for name, fit in fits.items():
        train, valid = _curves(fit)
        epochs = list(range(1, len(valid) + 1))
        best = fit["best_epoch"]
        lines = [
            Line("train", epochs, train, MUTED, dashed=True),
            Line("validation", epochs, valid, MODEL_COLOURS[name]),
            Line("kept", [best], [valid[best - 1]], MODEL_COLOURS[name], markers=True),
        ]
        pictures.append(
            line_picture(
                name,
                lines,
                xlabel="epoch",
                ylabel="negative log-likelihood (nats)",
                alt=f"Loss of {name} per epoch, best {valid[best - 1]:.3f} nats in epoch {best}.",
                reference=("entropy", entropy),
                limits=limits,
                caption=f"{len(epochs)} epochs, best at epoch {best} with {number(valid[best - 1], 3)} nats "
                "on the validation rows.",
            )  # fmt: skip
        )
    return pictures


def scatter_pictures(real: Floats, samples: Mapping[str, Floats]) -> list[Picture]:
    """Return real rows and samples side by side, then each model's samples over the real rows."""
    pictures = [_scatter("Real rows", [(real, _GREY)])]
    pictures += [_scatter(name, [(drawn, MODEL_COLOURS[name])]) for name, drawn in samples.items()]
    for name, drawn in samples.items():
        pictures.append(_scatter(f"{name} over real rows", [(real, _GREY), (drawn, MODEL_COLOURS[name])]))
    return pictures


def density_pictures(truth: TwinGaussians, models: Mapping[str, Any]) -> list[Picture]:
    """Return the log-density of the truth and of each model over the plane, on one scale of colours."""
    line = np.linspace(-_EDGE, _EDGE, _GRID)
    points = np.stack(np.meshgrid(line, line), axis=-1)
    maps = {"Truth": truth.log_density(points)}
    for name, model in models.items():
        maps[name] = model.score_samples(points.reshape(-1, 2)).reshape(points.shape[:2])
    highest = float(maps["Truth"].max())
    pictures = []
    for name, values in maps.items():
        canvas, axes = figure(3.3, 2.7)
        image = axes.pcolormesh(
            line, line, values, cmap=MAP, vmin=highest - _DEPTH, vmax=highest, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        _plane(axes)
        bar = canvas.colorbar(image, ax=axes, extend="both", fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        alt = f"Map of the log-density of {name}, highest {values.max():.2f} nats."
        pictures.append(vector_picture(canvas, alt, dpi=120, title=name))
    return pictures


def conditional_pictures(
    grid: ConditionalGrid,
    given: Sequence[float],
    learned: Mapping[str, Floats],
    errors: Mapping[str, Floats],
) -> list[Picture]:
    """Return one picture per value of x1: the true density of x2 and each model's."""
    highest = 1.35 * float(grid.true.max())
    pictures = []
    for place, x in enumerate(given):
        canvas, axes = figure(3.4, 2.4)
        axes.fill_between(grid.points, grid.true[place], color=_GREY, alpha=0.3, linewidth=0)
        axes.plot(grid.points, grid.true[place], color=INK, linewidth=1, label="truth")
        for name, density in learned.items():
            axes.plot(grid.points, density[place], color=MODEL_COLOURS[name], linewidth=1.5, label=name)
        axes.set(xlim=(-_EDGE, _EDGE), ylim=(0, highest), xlabel="x2", ylabel="density")
        axes.xaxis.set_major_locator(ticks(5))
        axes.yaxis.set_major_locator(ticks(4))
        if place == 0:
            axes.legend(loc="upper right")
        words = ", ".join(f"{name} {number(float(errors[name][place]), 3)}" for name in learned)
        pictures.append(
            vector_picture(
                canvas,
                f"Density of x2 given x1 = {x}: truth and models. Errors: {words}.",
                title=f"x1 = {number(x, 1)}",
                caption=f"Total variation distance to the truth: {words}.",
            )
        )
    return pictures


def _curves(fit: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    return fit["train_curve"], fit["valid_curve"]


def _scatter(title: str, sets: Sequence[tuple[Floats, str]]) -> Picture:
    canvas, axes = figure(3.2, 3.0)
    points = np.concatenate([points for points, _ in sets])
    shades = np.repeat([colour for _, colour in sets], [len(points) for points, _ in sets])
    # Mixed, so that neither set hides the other.
    order = np.random.default_rng(0).permutation(len(points))
    axes.scatter(*points[order].T, s=7, c=shades[order], alpha=0.6, linewidths=0, rasterized=True)
    _plane(axes)
    return vector_picture(canvas, f"Scatter in the plane: {title}.", dpi=120, title=title)


def _plane(axes: Any) -> None:
    axes.set(xlim=(-_EDGE, _EDGE), ylim=(-_EDGE, _EDGE), xlabel="x1", ylabel="x2", aspect="equal")
    axes.xaxis.set_major_locator(ticks(5))
    axes.yaxis.set_major_locator(ticks(5))
