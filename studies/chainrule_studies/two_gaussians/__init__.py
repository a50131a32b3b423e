"""The study `two-gaussians`; the README beside this file says what was found."""

from __future__ import annotations

from chainrule.experiments.studies import Study

__all__ = ["STUDY"]

STUDY = Study(
    title="Two Gaussians",
    description=(
        "How close NADE and MADE come to a distribution that is known, and what their settings do to it."
    ),
    summary="NADE, MADE and a GMM on two Gaussians of known density; what the settings of a MADE do",
    module="chainrule_studies.two_gaussians.run",
    minutes=10,
    quick_minutes=1,
    options=frozenset({"n"}),
)
