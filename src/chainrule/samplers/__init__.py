"""Drawing rows: the reference, faster samplers with the same results, and the choice of one."""

from chainrule.samplers.choice import draw_rows

__all__ = ["draw_rows"]
