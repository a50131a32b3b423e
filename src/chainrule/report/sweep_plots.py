"""The figures of a sweep: effects of the parameters, the search, learning curves of all trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from chainrule.report.line_plots import COLOURS
from chainrule.report.style import MUTED, PAPER, RULE, Picture, figure, ticks, vector_picture

__all__ = ["EffectPoints", "course_picture", "effect_picture", "importance_picture", "search_picture"]

_MEAN, _BEST = COLOURS[0], COLOURS[1]
_NLL = "validation NLL (nats)"


@dataclass(frozen=True)
class EffectPoints:
    """What there is to see of one parameter.

    Attributes
    ----------
    name : str
    trials : sequence of tuple of float
        Place and NLL of each trial, in nats per validation row.
    means : sequence of tuple of float
        Place, NLL and standard error of each value or bin.
    values : sequence of str
        Names of the places 0, 1, ...; empty for a parameter that was searched over a range.
    log : bool
        Whether the range is searched on a logarithmic scale.
    """

    name: str
    trials: Sequence[tuple[float, float]]
    means: Sequence[tuple[float, float, float]]
    values: Sequence[str] = ()
    log: bool = False


def effect_picture(points: EffectPoints) -> Picture:
    """Return the validation NLL against one parameter: each trial, and means with two standard errors."""
    canvas, axes = figure(4.0, 2.9)
    place, nll, error = (np.array(column, dtype=np.float64) for column in zip(*points.means, strict=True))
    across, up = (np.array(column, dtype=np.float64) for column in zip(*points.trials, strict=True))
    aside = 0.12 if points.values else 0.0  # where bars do not hide them
    look = {"color": MUTED, "markersize": 5, "alpha": 0.55, "markeredgewidth": 0}
    axes.plot(across - aside, up, "o", label="single trials", **look)
    axes.errorbar(
        place,
        nll,
        yerr=2 * np.nan_to_num(error),
        fmt="o-",
        color=_MEAN,
        markersize=6,
        capsize=4,
        label="mean",
    )
    if points.values:
        axes.set_xticks(range(len(points.values)), list(points.values))
        axes.set_xlim(-0.5, len(points.values) - 0.5)
        if sum(len(value) for value in points.values) > 36:
            axes.tick_params(axis="x", labelrotation=40)
    elif points.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    clipped = _limit(axes, np.concatenate([up, nll]))
    axes.yaxis.set_major_locator(ticks(5))
    axes.grid(axis="y")
    axes.set_xlabel(points.name)
    axes.set_ylabel(_NLL)
    axes.legend(loc="best")
    names = points.values or [f"around {position:.3g}" for position in place]
    words = "; ".join(f"{name}: {value:.3f}" for name, value in zip(_present(names, place), nll, strict=True))
    return vector_picture(
        canvas,
        f"Mean validation NLL for the values of {points.name}, in nats per row. {words}.",
        title=points.name,
        caption="Bins of equal numbers of trials." * (not points.values)
        + " Trials above the frame are not drawn." * clipped,
    )


def search_picture(numbers: Sequence[int], nlls: Sequence[float], pruned: Mapping[int, float]) -> Picture:
    """Return the trials in the order in which they began, and the best NLL so far.

    Parameters
    ----------
    numbers, nlls : sequence
        Of the complete trials.
    pruned : mapping of int to float
        The lowest NLL of each pruned trial, by its number.
    """
    canvas, axes = figure(4.6, 2.9)
    axes.plot(numbers, nlls, "o", color=_MEAN, markersize=5, label="complete")
    if pruned:
        axes.plot(
            list(pruned), list(pruned.values()), "x", color=MUTED, markersize=5, label="pruned, at its best"
        )
    axes.step(
        [*numbers, max([*numbers, *pruned])],
        [*np.minimum.accumulate(nlls), min(nlls)],
        where="post",
        color=_BEST,
        linewidth=1.3,
        label="best so far",
    )
    clipped = _limit(axes, np.array([*nlls, *pruned.values()]))
    axes.xaxis.set_major_locator(ticks(6, integer=True))
    axes.yaxis.set_major_locator(ticks(5))
    axes.grid(axis="y")
    axes.set_xlabel("trial")
    axes.set_ylabel(_NLL)
    axes.legend(loc="best")
    return vector_picture(
        canvas,
        f"Validation NLL of {len(numbers)} complete and {len(pruned)} pruned trials in the order in which "
        f"they began; the lowest is {min(nlls):.3f} nats.",
        title="The trials one after the other",
        caption="Trials above the frame are not drawn." * clipped,
    )


def course_picture(courses: Mapping[int, Mapping[int, float]], best: int, pruned: Sequence[int]) -> Picture:
    """Return the validation NLL by epoch of each trial; `courses` maps trial to epoch to nats per row."""
    canvas, axes = figure(4.6, 2.9)
    ended = set(pruned)
    for number, course in sorted(courses.items(), key=lambda item: item[0] == best):
        epochs, nlls = list(course), list(course.values())
        if number == best:
            axes.plot(epochs, nlls, color=_BEST, linewidth=2, label=f"trial {best}, the best")
        else:
            axes.plot(epochs, nlls, color=MUTED, linewidth=0.8, alpha=0.6)
        if number in ended:
            axes.plot(epochs[-1], nlls[-1], "x", color=MUTED, markersize=5)
    everything = np.array([nll for course in courses.values() for nll in course.values()])
    clipped = _limit(axes, everything)
    axes.xaxis.set_major_locator(ticks(6, integer=True))
    axes.yaxis.set_major_locator(ticks(5))
    axes.grid(axis="y")
    axes.set_xlabel("epoch")
    axes.set_ylabel(_NLL)
    if best in courses:
        axes.legend(loc="upper right")
    return vector_picture(
        canvas,
        f"Validation NLL by epoch of {len(courses)} trials, {len(ended)} of them pruned.",
        title="Learning curves",
        caption="Of the first seed of each trial."
        + " A cross: pruned there." * bool(ended)
        + " What lies above the frame is not drawn." * clipped,
    )


def importance_picture(shares: Mapping[str, float]) -> Picture:
    """Return the share of each parameter in the variance of the validation NLL, the largest first."""
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    canvas, axes = figure(4.6, max(1.6, 0.8 + 0.36 * len(ordered)))
    for row, (_, share) in enumerate(ordered):
        axes.barh(row, share, height=0.6, color=_MEAN, edgecolor=PAPER)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=RULE)
    axes.xaxis.set_major_locator(ticks(5))
    axes.set_xlabel("share")
    words = ", ".join(f"{name} {share:.2f}" for name, share in ordered)
    return vector_picture(
        canvas,
        f"Importance of the parameters: {words}.",
        title="Which parameters matter",
        caption="Share of each parameter in the variance of the validation NLL, by functional ANOVA. "
        "A guide, not a test.",
    )


def _present(names: Sequence[str], places: np.ndarray) -> list[str]:
    """Return the names of the places that have a mean; a value may have no complete trial."""
    return [names[int(p)] for p in places] if len(names) != len(places) else list(names)


def _limit(axes: Axes, nlls: np.ndarray) -> bool:
    """Set the upper axis to where trials are told apart, and return whether some lie above it."""
    finite = nlls[np.isfinite(nlls)]
    if not len(finite):
        return False
    low, high = float(finite.min()), float(finite.max())
    calm = float(np.quantile(finite, 0.75))
    clipped = len(finite) > 3 and high - low > 4 * (calm - low) > 0
    if clipped:
        span = calm - low
        axes.set_ylim(low - 0.2 * span, low + 2 * span)
    return clipped or len(finite) < len(nlls)
