"""Data sets: named ones, files, synthetic ones."""

from __future__ import annotations

from chainrule.datasets.core import Dataset, DatasetInfo
from chainrule.datasets.loading import dataset_names, load_dataset, load_rows
from chainrule.datasets.streaming import stream_rows

__all__ = ["Dataset", "DatasetInfo", "dataset_names", "load_dataset", "load_rows", "stream_rows"]
