"""The conclusion of a comparison in plain sentences that follow from its numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chainrule.metrics.statistics import Summary, paired_difference
from chainrule.report.numbers import count, decimals_for, listed, measured_text, number
from chainrule.training.history import still_gains

if TYPE_CHECKING:
    from chainrule.report.comparison import Comparison, ModelResult

__all__ = ["conclusion"]


def conclusion(comparison: Comparison) -> list[str]:
    """Return the conclusions that the numbers allow, one or two sentences each, the main one first."""
    ranked = comparison.ranked()
    if not ranked:
        return ["No model was compared."]
    sentences = [_ranking(comparison, ranked), *_neural(ranked), *_bounds(ranked)]
    if comparison.entropy is not None:
        sentences.append(_entropy(ranked[0], comparison.entropy))
    return [*sentences, *_training(comparison)]


def _ranking(comparison: Comparison, ranked: list[ModelResult]) -> str:
    first = ranked[0]
    level = measured_text(first.summary)
    if len(ranked) == 1:
        return f"{first.model} gives the {count(comparison.n_test)} test rows {level} nats per row."
    if comparison.best() is first:
        gap = paired_difference(first.log_likelihoods, ranked[1].log_likelihoods)
        return (
            f"{first.model} is the best of the {len(ranked)} models: {level} nats per test row, "
            f"{measured_text(gap)} nats above {ranked[1].model}, the runner-up, "
            f"over the same {count(comparison.n_test)} rows{_times(gap) if comparison.discrete else ''}."
        )
    close = [
        other
        for other in ranked[1:]
        if not paired_difference(first.log_likelihoods, other.log_likelihoods).significant
    ]
    gap = paired_difference(first.log_likelihoods, ranked[1].log_likelihoods)
    return (
        f"{first.model} has the highest mean, {level} nats per test row, but these "
        f"{count(comparison.n_test)} rows cannot tell it from {listed(other.model for other in close)}: "
        f"it leads {ranked[1].model} by {measured_text(gap)} nats. No model is marked as best."
    )


def _neural(ranked: list[ModelResult]) -> list[str]:
    """Say whether the networks were worth their training."""
    neural = [result for result in ranked if result.history is not None]
    baselines = [result for result in ranked if result.history is None]
    if not neural or not baselines:
        return []
    top = baselines[0]
    gaps = {r.model: paired_difference(r.log_likelihoods, top.log_likelihoods) for r in neural}
    above = [name for name, gap in gaps.items() if gap.mean > 0 and gap.significant]
    below = [name for name, gap in gaps.items() if gap.mean < 0 and gap.significant]
    level = [name for name in gaps if name not in above and name not in below]
    parts = []
    if above:
        parts.append(f"{listed(above)} {_verb(above, 'beats', 'beat')} the best baseline, {top.model}")
    if level:
        parts.append(f"{listed(level)} cannot be told from the best baseline, {top.model}")
    if below:
        parts.append(f"{listed(below)} {_verb(below, 'stays', 'stay')} behind the best baseline, {top.model}")
    amounts = ", ".join(f"{name} {measured_text(gap)}" for name, gap in gaps.items())
    return [f"{'; '.join(parts)} (nats per row above it: {amounts})."]


def _bounds(ranked: list[ModelResult]) -> list[str]:
    bounded = [result.model for result in ranked if result.is_lower_bound]
    if not bounded:
        return []
    return [
        f"For {listed(bounded)} the table holds a lower bound: the true log-likelihood may be higher, and a "
        f"lead over {_verb(bounded, 'it', 'them')} smaller."
    ]


def _entropy(first: ModelResult, entropy: float) -> str:
    gap = Summary(-first.test_log_likelihood - entropy, first.standard_error, len(first.log_likelihoods))
    level = (
        f"The true distribution has an entropy of {number(entropy, decimals_for(gap.standard_error))} nats"
    )
    if not gap.significant:
        return f"{level}; {first.model} is within two standard errors of it, as close as these rows can show."
    if gap.mean < 0:
        beyond = Summary(-gap.mean, gap.standard_error, gap.n_rows)
        return (
            f"{level}; {first.model} seems to lie {measured_text(beyond)} nats beyond it, which no model "
            "can: test rows that also stand in the training rows, or a wrong entropy, would explain it."
        )
    return f"{level}, the limit for every model; {first.model} is {measured_text(gap)} nats away from it."


def _training(comparison: Comparison) -> list[str]:
    """Warn of fits that ended while they were still gaining, and of interrupted ones."""
    fits = [(result.model, result.history) for result in comparison.results if result.history is not None]
    unfinished = [name for name, history in fits if still_gains(history.valid)]
    sentences = []
    if unfinished:
        sentences.append(
            f"{listed(unfinished)} {_verb(unfinished, 'was', 'were')} still improving when training ended; "
            "more epochs may help."
        )
    stopped = [name for name, history in fits if history.interrupted]
    if stopped:
        sentences.append(
            f"The {_verb(stopped, 'fit', 'fits')} of {listed(stopped)} ended by an interruption."
        )
    return sentences


def _times(gap: Summary) -> str:
    """Put a difference in nats as a ratio, where the ratio is a number that people can picture."""
    if not 0.05 <= gap.mean <= math.log(1000):
        return ""
    ratio = math.exp(gap.mean)
    digits = 2 if ratio < 2 else 1 if ratio < 10 else 0
    return f" (a test row is on average, as a geometric mean, {ratio:.{digits}f} times as probable)"


def _verb(names: list[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many
