"""Exact probability distributions from neural autoregressive models.

Names are imported when first used, so that the command line starts without loading PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chainrule.registry import CLASSES

if TYPE_CHECKING:
    from chainrule.baselines import GMM, Independent, Mixture, MixtureOfBernoullis
    from chainrule.datasets import load_dataset
    from chainrule.estimators import (
        MADE,
        NADE,
        ConvNADE,
        Ensemble,
        OrderlessNADE,
        PixelCNN,
        PyODDetector,
        SDVSynthesizer,
        export_onnx,
        load,
    )

__version__ = "0.2.0"
__all__ = [
    "GMM",
    "MADE",
    "NADE",
    "ConvNADE",
    "Ensemble",
    "Independent",
    "Mixture",
    "MixtureOfBernoullis",
    "OrderlessNADE",
    "PixelCNN",
    "PyODDetector",
    "SDVSynthesizer",
    "export_onnx",
    "load",
    "load_dataset",
]

_HOME = {
    "PyODDetector": "chainrule.estimators",
    "SDVSynthesizer": "chainrule.estimators",
    "export_onnx": "chainrule.estimators",
    "load": "chainrule.estimators",
    "load_dataset": "chainrule.datasets",
}


def __getattr__(name: str) -> Any:
    home = CLASSES.get(name) or _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
