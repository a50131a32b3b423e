"""Work that is shared out: batches of rows, whole data sets and fits, on a cluster of Ray."""

from chainrule.distributed.data_sets import impute, sample, score
from chainrule.distributed.engine import Engine, RayEngine, connected, in_order

__all__ = [
    "Engine",
    "RayEngine",
    "connected",
    "impute",
    "in_order",
    "sample",
    "score",
]
