"""The study `published`; the README beside this file says what was found."""

from __future__ import annotations

from chainrule.experiments.studies import Study

__all__ = ["STUDY"]

STUDY = Study(
    title="Published likelihoods",
    description="Every set whose likelihood the papers on NADE, MADE and circuits publish, by one recipe.",
    summary="one recipe against the best published likelihoods of 26 sets",
    module="chainrule_studies.published.run",
    minutes=300,
    quick_minutes=0.9,
    options=frozenset({"only", "budget"}),
)
