"""Drawing rows: the reference, faster samplers with the same results, and the choice of one."""

from chainrule.samplers.choice import draw_rows
from chainrule.samplers.restrictions import Restriction

__all__ = ["Restriction", "draw_rows"]
