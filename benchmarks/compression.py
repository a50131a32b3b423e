"""Compression at the rate of a model: bytes against the model's NLL and against xz and parquet, and speed.

Binarized MNIST: a PixelCNN fitted to the training images, and the 10,000 test images. Adult: a network for
each column, fitted to all rows of the file, which are what is compressed; the column `fnlwgt`, declared
ordinal, is known by the histograms of its bins. One thread compresses and decompresses, and rows are
compared.
"""

from __future__ import annotations

import io
import lzma
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import Row, Skipped
from chainrule import OrderlessNADE, PixelCNN, load
from chainrule.compression import Compressor, decompress
from chainrule.datasets import load_dataset, load_rows
from chainrule.errors import DataError
from chainrule.estimators import DensityEstimator
from chainrule.storage import is_saved_model

__all__ = ["Compressed", "adult", "compression", "mnist_images"]

_FIT_SECONDS, _IMAGE_FIT_SECONDS = 600, 4200


@dataclass(frozen=True)
class Compressed:
    """Rows that were compressed and came back equal.

    `over_nll` is the share of bits beyond the NLL, `others` the bytes of other formats, `model_bytes` what
    the saved model takes.
    """

    data: str
    n_rows: int
    n_columns: int
    n_bytes: int
    bits_per_row: float
    over_nll: float
    others: dict[str, int]
    model_bytes: int
    rows_per_second: float
    rows_back_per_second: float

    heading = (
        f"{'data':<16} {'rows':>7} {'bytes':>9} {'bits/row':>9} {'over NLL':>9} {'of the best other':>24} "
        f"{'with model':>10} {'rows/s':>7} {'back':>7}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        best = min(self.others, key=lambda name: self.others[name])
        other = f"{100 * self.n_bytes / self.others[best]:.1f} % of {best}"
        return (
            f"{self.data:<16} {self.n_rows:>7,} {self.n_bytes:>9,} {self.bits_per_row:>9.3f} "
            f"{100 * self.over_nll:>7.3f} % {other:>24} {self.n_bytes + self.model_bytes:>10,} "
            f"{self.rows_per_second:>7,.0f} {self.rows_back_per_second:>7,.0f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def compression(checkpoint: Path | None = None) -> Iterator[Row]:
    """Yield both tables; models are kept in `checkpoint`, and taken from there."""
    yield from _measured("binarized-mnist", mnist_images, checkpoint)
    yield from _measured("adult", adult, checkpoint)


def mnist_images() -> tuple[DensityEstimator, dict[str, Any], Any, dict[str, int]]:
    """Return a model, what it is fitted to, the rows to compress, and what they take in other formats."""
    images = load_dataset("binarized-mnist")
    model = PixelCNN(
        96, n_layers=4, image_shape=images.image_shape, max_time=_IMAGE_FIT_SECONDS, random_state=0
    )
    packed = np.packbits(images.test.astype(bool), axis=1).tobytes()
    others = {"bits, xz -9": len(lzma.compress(packed, preset=9))}
    return model, {"X": images.train, "X_val": images.valid}, images.test, others


def adult() -> tuple[DensityEstimator, dict[str, Any], Any, dict[str, int]]:
    """Return a model, what it is fitted to, the rows to compress, and what they take in other formats."""
    folder = os.environ.get("CHAINRULE_DATA")
    if not folder:
        raise DataError("CHAINRULE_DATA names no folder")
    rows = load_rows(Path(folder, "tables", "adult", "adult.data"))
    parquet = io.BytesIO()
    rows.write_parquet(parquet, compression="zstd", compression_level=19)
    others = {
        "csv, xz -9": len(lzma.compress(rows.write_csv().encode(), preset=9)),
        "parquet, zstd -19": len(parquet.getvalue()),
    }
    model = OrderlessNADE(kinds={"fnlwgt": "ordinal"}, max_time=_FIT_SECONDS, random_state=0)
    return model, {"X": rows}, rows, others


def _measured(
    name: str,
    make: Callable[[], tuple[DensityEstimator, dict[str, Any], Any, dict[str, int]]],
    kept: Path | None,
) -> Iterator[Row]:
    try:
        model, arguments, rows, others = make()
    except (DataError, OSError) as error:
        yield Skipped(name, str(error))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(kept or scratch) / name
        if is_saved_model(folder):
            model = load(folder)
        else:
            model.fit(**arguments).save(folder)
        yield _row(name, model, rows, others, sum(path.stat().st_size for path in folder.iterdir()))


def _row(
    name: str, model: DensityEstimator, rows: Any, others: dict[str, int], model_bytes: int
) -> Compressed:
    file, nll = io.BytesIO(), _nll_bits(model, rows)
    start = time.perf_counter()
    compressor = Compressor(model, file)
    compressor.add(rows)
    compressor.finish()
    compressed = time.perf_counter()
    back = decompress(model, file.getvalue())
    seconds_back = time.perf_counter() - compressed
    assert back.equals(rows) if hasattr(rows, "equals") else (back == rows).all()
    n_bits = 8 * len(file.getvalue())
    return Compressed(
        name,
        len(rows),
        rows.shape[1],
        n_bits // 8,
        n_bits / len(rows),
        n_bits / nll - 1,
        others,
        model_bytes,
        len(rows) / (compressed - start),
        len(rows) / seconds_back,
    )


def _nll_bits(model: DensityEstimator, rows: Any) -> float:
    return float(-model.score_samples(rows).sum() / np.log(2))
