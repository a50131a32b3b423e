"""Models as functions of record batches: rows come and go some at a time, in bounded memory."""

from chainrule.batches.asking import Ask, ask_batches
from chainrule.batches.sinks import RowSink, open_sink, to_frame
from chainrule.batches.storing import LargeTable, StoredTable, default_memory, store
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
    "Ask",
    "ask_batches",
    "BATCH_ROWS",
    "Draw",
    "Impute",
    "LargeTable",
    "RowSink",
    "Score",
    "StoredTable",
    "batch_sizes",
    "default_memory",
    "impute_batches",
    "open_sink",
    "partition_seed",
    "sample_batches",
    "score_batches",
    "store",
    "to_frame",
]
