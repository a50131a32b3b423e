"""Work that is shared out: batches of rows, whole data sets and fits, on a cluster of Ray."""

from chainrule.distributed.data_sets import impute, sample, score
from chainrule.distributed.engine import Engine, RayEngine, connected, in_order, tasks
from chainrule.distributed.fitting import WORKERS_FOLDER, fit_by_workers

__all__ = [
    "Engine",
    "RayEngine",
    "WORKERS_FOLDER",
    "connected",
    "fit_by_workers",
    "impute",
    "in_order",
    "sample",
    "score",
    "tasks",
]
