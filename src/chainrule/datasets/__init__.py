"""Data sets: named ones, files, synthetic ones."""

from __future__ import annotations

from chainrule.datasets.core import Dataset, DatasetInfo, count_missing
from chainrule.datasets.loading import dataset_names, load_dataset, load_rows, take_columns
from chainrule.datasets.splits import hashed_parts
from chainrule.datasets.streaming import scan_table, stream_rows
from chainrule.datasets.tables import MISSING_WORDS

__all__ = [
    "MISSING_WORDS",
    "Dataset",
    "DatasetInfo",
    "count_missing",
    "dataset_names",
    "load_dataset",
    "load_rows",
    "hashed_parts",
    "scan_table",
    "stream_rows",
    "take_columns",
]
