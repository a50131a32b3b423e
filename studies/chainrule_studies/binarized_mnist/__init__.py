"""The study `binarized-mnist`; the README beside this file says what was found."""

from __future__ import annotations

from chainrule.experiments.studies import Study

__all__ = ["STUDY"]

STUDY = Study(
    title="Orders, masks and ensembles on binarized MNIST",
    description="What the order of the pixels, connectivity masks and averaging over orders do for MADE.",
    summary="orders, connectivity masks and ensembles of MADE on binarized MNIST, and NADE",
    module="chainrule_studies.binarized_mnist.run",
    minutes=240,
    quick_minutes=1,
)
