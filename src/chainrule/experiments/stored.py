"""Rows of a comparison that are more than memory holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from chainrule.batches import StoredTable
from chainrule.datasets import Dataset
from chainrule.errors import DataError

__all__ = ["StoredDataset"]


@dataclass(frozen=True)
class StoredDataset(Dataset):
    """Random samples of a table's rows, and the codes of all training rows in files.

    Parameters
    ----------
    stored : StoredTable
        That has kept rows.
    """

    stored: StoredTable = field(kw_only=True)

    @classmethod
    def of(cls, stored: StoredTable, path: Path, kinds: Any = None) -> Self:
        """Return the rows of a table that was stored.

        Parameters
        ----------
        stored : StoredTable
        path : Path
            Where the table lies.
        kinds : str or dict, optional
            Kinds that are declared.

        Raises
        ------
        DataError
            If no rows are there to validate or to test.
        """
        rows = stored.rows
        if rows is None or not (len(rows.valid) and len(rows.test)):
            raise DataError(f"{path.name} has too few rows to validate or to test models")
        n_train, n_valid, n_test = stored.n_rows
        seed = stored.random_state
        return cls(
            name=path.name if path.is_dir() else path.stem,
            train=rows.train,
            valid=rows.valid,
            test=rows.test,
            kinds=kinds,
            description=f"Rows of {path.name}",
            split=(
                f"Rows split 80/10/10 by a hash of their number in the file, with seed {seed}: {n_train:,} "
                f"training, {n_valid:,} validation and {n_test:,} test rows."
            ),
            stored=stored,
        )

    @cached_property
    def has_missing(self) -> bool:
        """Whether any value is missing, of columns that are not empty in the training rows."""
        return self.stored.has_missing

    def sampled(self) -> dict[str, dict[str, int]]:
        """Return how many rows of each part there are in the table, and how many of them are in memory."""
        return {
            part: {"n_rows": n_rows, "n_sampled": len(getattr(self, part))}
            for part, n_rows in zip(("train", "valid", "test"), self.stored.n_rows, strict=True)
        }

    def remark(self) -> str:
        """Return in words what was made of which rows."""
        (all_train, train), (_, valid), (_, test) = (part.values() for part in self.sampled().values())
        return (
            f"The rows are more than was to be held in memory. Networks learnt from all {all_train:,} "
            f"training rows; baselines, and what is told of training rows, from {train:,} of them. Networks "
            f"stopped by {valid:,} validation rows, and all models were tested on {test:,} test rows: where "
            "these are not all there are, they were drawn at random."
        )
