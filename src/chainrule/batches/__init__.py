"""Models as functions of record batches: rows come and go some at a time, in bounded memory."""

from chainrule.batches.sinks import RowSink, open_sink, to_frame
from chainrule.batches.work import (
    BATCH_ROWS,
    Draw,
    Impute,
    Score,
    batch_sizes,
    impute_batches,
    partition_seed,
    sample_batches,
    score_batches,
)

__all__ = [
    "BATCH_ROWS",
    "Draw",
    "Impute",
    "RowSink",
    "Score",
    "batch_sizes",
    "impute_batches",
    "open_sink",
    "partition_seed",
    "sample_batches",
    "score_batches",
    "to_frame",
]
