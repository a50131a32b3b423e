"""Networks from x to the params of all conditionals."""

from chainrule.conditioners.any_order import AnyOrderConditioner
from chainrule.conditioners.base import ACTIVATIONS, Conditioner
from chainrule.conditioners.columns import ColumnNetworks
from chainrule.conditioners.compiled import CompiledConditioner
from chainrule.conditioners.conv_nade import ConvNADEConditioner
from chainrule.conditioners.encoding import InputEncoding
from chainrule.conditioners.made import MADEConditioner
from chainrule.conditioners.nade import NADEConditioner
from chainrule.conditioners.observed_set import ObservedSetConditioner
from chainrule.conditioners.orderless import OrderlessConditioner
from chainrule.conditioners.pixel_cnn import PixelCNNConditioner

__all__ = [
    "ACTIVATIONS",
    "AnyOrderConditioner",
    "ColumnNetworks",
    "CompiledConditioner",
    "Conditioner",
    "ConvNADEConditioner",
    "InputEncoding",
    "MADEConditioner",
    "NADEConditioner",
    "ObservedSetConditioner",
    "OrderlessConditioner",
    "PixelCNNConditioner",
]
