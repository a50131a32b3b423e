"""The study `categorical-2d`; the README beside this file says what was found."""

from __future__ import annotations

from chainrule.experiments.studies import Study

__all__ = ["STUDY"]

STUDY = Study(
    title="Two categorical variables",
    description="How should the values of a categorical variable enter a MADE, and what does the chain gain?",
    summary=(
        "raw, normalised and one-hot inputs of a MADE on two categorical variables of known probabilities"
    ),
    module="chainrule_studies.categorical_2d.run",
    minutes=6,
    quick_minutes=1,
)
