"""Density estimators with the interface of scikit-learn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chainrule.registry import CLASSES

if TYPE_CHECKING:
    from chainrule.estimators.base import DensityEstimator
    from chainrule.estimators.conv_nade import ConvNADE
    from chainrule.estimators.ensemble import Ensemble
    from chainrule.estimators.loading import load
    from chainrule.estimators.made import MADE
    from chainrule.estimators.nade import NADE
    from chainrule.estimators.onnx_export import export_onnx
    from chainrule.estimators.orderless import OrderlessNADE
    from chainrule.estimators.pixel_cnn import PixelCNN
    from chainrule.estimators.pyod_detector import PyODDetector
    from chainrule.estimators.sdv_synthesizer import SDVSynthesizer

__all__ = [
    "MADE",
    "NADE",
    "ConvNADE",
    "DensityEstimator",
    "Ensemble",
    "OrderlessNADE",
    "PixelCNN",
    "PyODDetector",
    "SDVSynthesizer",
    "export_onnx",
    "load",
]

# Each module is imported when one of its names is first used: the baselines need no PyTorch.
_HOME = CLASSES | {
    "DensityEstimator": "chainrule.estimators.base",
    "PyODDetector": "chainrule.estimators.pyod_detector",
    "SDVSynthesizer": "chainrule.estimators.sdv_synthesizer",
    "export_onnx": "chainrule.estimators.onnx_export",
    "load": "chainrule.estimators.loading",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'chainrule.estimators' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
