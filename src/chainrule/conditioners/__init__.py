"""Networks from x to the params of all conditionals."""

from chainrule.conditioners.base import ACTIVATIONS, Conditioner
from chainrule.conditioners.encoding import ENCODINGS, InputEncoding
from chainrule.conditioners.made import MADEConditioner
from chainrule.conditioners.nade import NADEConditioner

__all__ = ["ACTIVATIONS", "ENCODINGS", "Conditioner", "InputEncoding", "MADEConditioner", "NADEConditioner"]
