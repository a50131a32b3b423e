"""The figures about likelihoods: learning curves, differences, rows one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.report.line_plots import Line, line_picture, point_picture
from chainrule.report.numbers import decimals_for, number
from chainrule.report.style import INK, MUTED, RULE, Picture, figure, ticks, vector_picture

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison, ModelResult
    from chainrule.training import History

__all__ = ["differences", "learning_curves", "paired_scatter", "row_histograms"]

_MAX_POINTS = 3000


def learning_curves(results: Sequence[ModelResult], colours: Mapping[str, str]) -> list[Picture]:
    """Return one picture per model that was trained in epochs, all with the same vertical axis."""
    trained = {r.model: r.history for r in results if r.history is not None and r.history.train}
    if not trained:
        return []
    low, high, clipped = _loss_limits(list(trained.values()))
    return [
        _learning_curve(model, history, colours[model], (low, high), clipped)
        for model, history in trained.items()
    ]


def _learning_curve(
    model: str, history: History, colour: str, limits: tuple[float, float], clipped: bool
) -> Picture:
    epochs = range(1, len(history.train) + 1)
    lines = [Line("train", epochs, history.train, MUTED, dashed=True)]
    words = f"{len(epochs)} epochs"
    if history.valid:
        lines.append(Line("validation", range(1, len(history.valid) + 1), history.valid, colour))
    best = history.best_epoch
    if 1 <= best <= len(history.valid):
        lowest = history.valid[best - 1]
        lines.append(Line("_best", [best], [lowest], colour, markers=True))
        words += f", best at epoch {best} with {number(lowest, 2)} nats on the validation rows"
    remarks = [f"{words[0].upper()}{words[1:]}."]
    remarks += ["The first epochs lie above the frame."] * clipped
    remarks += ["The fit was interrupted."] * history.interrupted
    return line_picture(
        model,
        lines,
        xlabel="epoch",
        ylabel="negative log-likelihood (nats)",
        alt=f"Learning curves of {model}, train and validation loss per epoch: {words}.",
        limits=limits,
        key=colour,
        caption=" ".join(remarks),
    )


def differences(comparison: Comparison, colours: Mapping[str, str]) -> Picture | None:
    """Return the paired differences to the leading model, with bars of two standard errors."""
    ranked = comparison.ranked()
    gaps = [comparison.difference(result) for result in ranked]
    if len(ranked) < 2 or not all(math.isfinite(gap.mean) for gap in gaps):
        return None
    leader = ranked[0].model
    words = "; ".join(
        f"{result.model} {number(gap.mean, decimals_for(gap.standard_error))}"
        for result, gap in zip(ranked[1:], gaps[1:], strict=True)
    )
    return point_picture(
        "Difference to the leading model",
        [result.model for result in ranked],
        gaps,
        xlabel=f"nats per row, relative to {leader}",
        alt=f"Paired difference of each model to {leader}, in nats per test row: {words}.",
        colours=[colours[result.model] for result in ranked],
        caption="Mean difference over the same test rows; the bars span two standard errors either way.",
    )


def row_histograms(ranked: Sequence[ModelResult], colours: Mapping[str, str]) -> Picture | None:
    """Return the distribution of log-likelihoods over test rows, one strip per model."""
    finite = {result.model: _finite(result.log_likelihoods) for result in ranked}
    pooled = np.concatenate(list(finite.values()))
    if len(pooled) < 2:
        return None
    low = min(np.quantile(values, 0.005) for values in finite.values() if len(values))
    high = pooled.max()
    span = max(high - low, 1e-6)
    edges = np.linspace(low - 0.02 * span, high + 0.02 * span, int(np.clip(2 * len(pooled) ** 0.4, 16, 70)))
    canvas, axes = figure(4.0, max(3.3, 0.8 + 0.62 * len(ranked)))
    for row, result in enumerate(ranked):
        values, colour = finite[result.model], colours[result.model]
        counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
        top = row - 0.82 * counts / max(counts.max(), 1)
        axes.stairs(top, edges, baseline=row, fill=True, color=colour, alpha=0.35)
        axes.stairs(top, edges, baseline=row, color=colour, linewidth=1.2)
        axes.axhline(row, color=RULE, linewidth=0.7, zorder=0)
        if len(values):
            mean = float(np.clip(values.mean(), edges[0], edges[-1]))
            axes.plot([mean, mean], [row, row - 0.9], color=INK, linewidth=1.3)
    names = [result.model for result in ranked]
    axes.set_yticks([row - 0.3 for row in range(len(ranked))], names, fontsize=9.5)
    axes.set_ylim(len(ranked) - 0.95, -1.0)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(ticks(5))
    axes.set_xlabel("log-likelihood of one test row (nats)")
    means = ", ".join(f"{name} {number(values.mean(), 2)}" for name, values in finite.items() if len(values))
    caption = (
        "How the test rows spread; the dark line is the mean. Rows in the lowest 0.5 % stand at the edge."
    )
    lost = {result.model: len(result.log_likelihoods) - len(finite[result.model]) for result in ranked}
    if any(lost.values()):
        missing = ", ".join(f"{count} of {name}" for name, count in lost.items() if count)
        caption += f" Rows of probability zero are not drawn: {missing}."
    return vector_picture(
        canvas,
        f"Histograms of the log-likelihoods of single test rows for each model. Means: {means}.",
        title="Log-likelihood of each test row",
        caption=caption,
    )


def paired_scatter(first: ModelResult, second: ModelResult, colours: Mapping[str, str]) -> Picture | None:
    """Return the test rows as points: nats under `second` across, nats under `first` up."""
    both = np.isfinite(first.log_likelihoods) & np.isfinite(second.log_likelihoods)
    across, up = second.log_likelihoods[both], first.log_likelihoods[both]
    if len(up) < 2:
        return None
    share = float(np.mean(up > across))
    low = min(np.quantile(across, 0.002), np.quantile(up, 0.002))
    high = max(across.max(), up.max())
    margin = 0.03 * max(high - low, 1e-6)
    limits = (low - margin, high + margin)
    shown = slice(None, None, max(1, len(up) // _MAX_POINTS))
    canvas, axes = figure(3.6, 3.5)
    axes.axline((low, low), slope=1, color=MUTED, linewidth=0.9)
    axes.scatter(
        across[shown], up[shown], s=9, alpha=0.45, linewidths=0, color=colours[first.model], rasterized=True
    )
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel(f"{second.model} (nats)")
    axes.set_ylabel(f"{first.model} (nats)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticks(5))
    axes.grid()
    words = f"{first.model} gives {share:.0%} of the test rows a higher probability than {second.model}"
    return vector_picture(
        canvas,
        f"Scatter of the test rows' log-likelihoods. {words}.",
        title=f"{first.model} against {second.model}, row by row",
        caption=f"{words} (points above the line).",
    )


def _loss_limits(courses: Sequence[History]) -> tuple[float, float, bool]:
    """Return limits that show where the curves settle, and whether the first epochs are cut off."""
    curves = [np.asarray(curve) for course in courses for curve in (course.train, course.valid) if curve]
    everything = _finite(np.concatenate(curves))
    if not len(everything):
        return 0.0, 1.0, False
    low, high = float(everything.min()), float(everything.max())
    settled = _finite(np.concatenate([curve[len(curve) // 12 + (len(curve) > 4) :] for curve in curves]))
    calm = float(settled.max()) if len(settled) else high
    clipped = high - low > 2.5 * (calm - low) > 0
    high = low + 1.25 * (calm - low) if clipped else high
    margin = 0.06 * max(high - low, 1e-3)
    return low - margin, high + margin, clipped


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
