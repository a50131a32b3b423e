"""The study `mixture-or-chain`; the README beside this file says what was found."""

from __future__ import annotations

from chainrule.experiments.studies import Study

__all__ = ["STUDY"]

STUDY = Study(
    title="Mixture or chain",
    description=(
        "Do deep autoregressive models draw richer images than mixture models, and give held-out ones more "
        "probability?"
    ),
    summary="NADE and MADE against mixtures on images: nats, precision and recall of samples, copies",
    module="chainrule_studies.mixture_or_chain.run",
    minutes=140,
    quick_minutes=1,
    options=frozenset({"data"}),
)
