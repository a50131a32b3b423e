"""Compressed rows: written chunk by chunk, and read back."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from hashlib import blake2b
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from chainrule.compression.chains import CodingChain, best_candidate, candidates
from chainrule.compression.coders import ANY, Decoder, Encoder, SymbolCoder
from chainrule.compression.columns import Column
from chainrule.compression.format import (
    MAX_CHUNK_ROWS,
    Chunk,
    ChunkNotes,
    Header,
    HeaderNotes,
    check_chunks,
    chunks_of,
    read_header,
    write_chunk,
    write_header,
)
from chainrule.compression.grids import declared_steps, steps_of
from chainrule.compression.missing import code_missing, describe_missing
from chainrule.compression.rows import SymbolRows, rows_between, symbols_of, table_of, values_of
from chainrule.errors import DataError, StorageError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.fingerprint import arrays_digest
from chainrule.schema import Schema
from chainrule.schema.tables import Table

__all__ = ["Compressor", "compress", "decompress", "decompress_batches"]

Symbols = NDArray[np.int64]
Truth = NDArray[np.bool_]
Values = list[NDArray[Any]]

# Cells of a chunk, and masses of a block of rows, that are in memory at a time.
_CHUNK_CELLS, _BLOCK_MASSES = 2**23, 2**23
_MOST_ROWS, _FEWEST_ROWS = 1024, 8


class Compressor:
    """Writes rows into a file, batch by batch.

    Parameters
    ----------
    model : density estimator
        Fitted; one with a chain of conditionals.
    file : binary file
        One that can be written to and sought in.
    resolution : mapping of column to number, optional
        To whole multiples of which the real numbers of a column are rounded. Those on a decimal grid, as far
        as the training rows show, are kept as they are without one.
    measures : bool, default=False
        Whether to score the rows, too, and add up `nll_bits`.

    Raises
    ------
    DataError
        If the model has no chain, or a column of real numbers neither a grid nor a resolution.

    Attributes
    ----------
    n_rows : int
        How many have been written.
    nll_bits : float
        How many bits they take as the model itself says: its log-likelihood under all of its orders, in
        which a real number counts with the width of a step of its grid. Infinite where rows break a rule of
        the model, NaN where a number is too far from the training rows for a density.
    """

    model: DensityEstimator
    n_rows: int
    nll_bits: float

    def __init__(
        self,
        model: DensityEstimator,
        file: IO[bytes],
        resolution: Mapping[Any, Any] | None = None,
        *,
        measures: bool = False,
    ) -> None:
        check_is_fitted(model, "schema_")
        candidates(model)  # or refuse
        self.model, self.n_rows, self.nll_bits = model, 0, 0.0
        self._file, self._measures = file, measures
        self._schema = model.schema_
        self._declared = declared_steps(self._schema, resolution or {})
        self._chain: CodingChain | None = None
        self._n_chunks = 0

    def add(self, X: Any) -> None:
        """Write rows.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)

        Raises
        ------
        DataError
            If rows cannot be used, or could not be given back as they are.
        """
        most = _max_chunk_rows(self._schema)
        for start in range(0, len(X), most):
            self._add_chunk(rows_between(X, start, start + most))

    def finish(self) -> None:
        """Write the header once more, with what is now known of all rows; DataError if there are none."""
        if self._chain is None:
            raise DataError("there are no rows to compress")
        end = self._file.tell()
        self._file.seek(self._start)
        write_header(self._file, replace(self._header, n_rows=self.n_rows, n_chunks=self._n_chunks))
        self._file.seek(end)

    def _add_chunk(self, X: Any) -> None:
        table = table_of(X, self.model)
        if self._chain is None:
            self._begin(X, table)
        assert self._chain is not None
        rows = symbols_of(X, table, self.model, self._chain.columns, self._declared)
        if self._measures:
            self.nll_bits += _nll_bits(self.model, rows, self._chain.steps)
        write_chunk(self._file, self._n_chunks, _encoded(self._chain, rows, self._header.block_rows))
        self._n_chunks += 1
        self.n_rows += len(rows.symbols)

    def _begin(self, X: Any, table: Table) -> None:
        """Choose order and grids by the first rows, and write a header that holds their place."""
        schema, steps = self._schema, steps_of(self._schema, self._declared, table)
        order = best_candidate(self.model, X)
        self._chain = CodingChain(self.model, order, steps)
        self._header = Header(
            n_columns=schema.n_variables,
            n_rows=0,
            n_chunks=0,
            order=order,
            block_rows=_block_rows(self._chain.columns),
            schema=_schema_digest(schema),
            arrays=arrays_digest(self.model, 16),
            probe=self._chain.probe,
            notes=HeaderNotes([(d, step.numerator, step.denominator) for d, step in steps.items()]),
        )
        self._start = self._file.tell()
        write_header(self._file, self._header)


def compress(model: DensityEstimator, X: Any, *, resolution: Mapping[Any, Any] | None = None) -> bytes:
    """Return rows as a model compresses them; `decompress` gives back rows that are equal to them.

    The probability that the model gives a row decides how many bits it takes: -log2 p, and next to nothing
    more. Rows that are unlike the training rows take more bits, and are as safe.

    Parameters
    ----------
    model : density estimator
        Fitted: NADE, MADE, OrderlessNADE, ConvNADE or PixelCNN, or an ensemble of these, of which one member
        is used: that under which the first rows are most probable. Without context.
    X : array or DataFrame, shape (n, D)
    resolution : mapping of column to number, optional
        To whole multiples of which the real numbers of a column are rounded, such as ``{"weight": 0.01}``.
        Numbers on a decimal grid, as far as the training rows show, are kept as they are without one.

    Raises
    ------
    DataError
        If the model has no chain, rows cannot be used, or real numbers need a resolution.

    Examples
    --------
    >>> from chainrule import MADE
    >>> X = np.random.default_rng(0).integers(0, 2, (1000, 1)).repeat(8, axis=1)
    >>> model = MADE((16,), max_epochs=20, random_state=0).fit(X)
    >>> data = compress(model, X)
    >>> bool((decompress(model, data) == X).all()), len(data) < 1000 * 8 / 8 / 2
    (True, True)
    """
    file = io.BytesIO()
    compressor = Compressor(model, file, resolution)
    compressor.add(X)
    compressor.finish()
    return file.getvalue()


def decompress(model: DensityEstimator, data: bytes) -> Any:
    """Return the rows that `compress` was given, in the container of the model's training rows.

    Parameters
    ----------
    model : density estimator
        The one that compressed them.
    data : bytes

    Raises
    ------
    StorageError
        If the data were altered, belong to another model, or this machine computes other probabilities than
        the one that compressed them.
    """
    parts = list(_decoded_parts(model, io.BytesIO(data)))
    return model.schema_.build([np.concatenate(columns) for columns in zip(*parts, strict=True)])


def decompress_batches(model: DensityEstimator, file: IO[bytes]) -> Iterator[Any]:
    """Yield the rows of a file chunk by chunk; see `decompress`.

    Parameters
    ----------
    model : density estimator
    file : binary file
        Which can be sought in.
    """
    for values in _decoded_parts(model, file):
        yield model.schema_.build(values)


def _decoded_parts(model: DensityEstimator, file: IO[bytes]) -> Iterator[Values]:
    check_is_fitted(model, "schema_")
    header, most = read_header(file), _max_chunk_rows(model.schema_)
    steps = _checked_steps(model, header)
    check_chunks(file, header, most)
    chain = CodingChain(model, header.order, steps)
    if chain.probe != header.probe:
        raise StorageError(_OTHER_NUMBERS)
    for chunk in chunks_of(file, header, most):
        symbols, missing = _decoded(chain, chunk, header.block_rows)
        yield values_of(chain.columns, symbols, missing, chunk.notes.patches)


# ---------------------------------------------------------------- one chunk


def _encoded(chain: CodingChain, rows: SymbolRows, block_rows: int) -> Chunk:
    """Return the chunk of some rows."""
    limits = [
        _limits(rows.symbols[~rows.missing[:, d] & (rows.symbols[:, d] != ANY), d])
        for d, column in enumerate(chain.columns)
        if column.has_range
    ]
    described = describe_missing(rows.missing)
    encoder = Encoder()
    notes = ChunkNotes(limits, described, rows.patches)
    symbols, missing = _coded(chain, encoder, notes, rows.symbols, rows.missing, block_rows)
    return Chunk(len(symbols), _rows_digest(symbols, missing), notes, encoder.words())


def _decoded(chain: CodingChain, chunk: Chunk, block_rows: int) -> tuple[Symbols, Truth]:
    """Return the symbols of a chunk's rows, and which cells are missing."""
    wanted = np.zeros((chunk.n_rows, len(chain.columns)), dtype=np.int64)
    absent = np.zeros(wanted.shape, dtype=bool)
    try:
        symbols, missing = _coded(chain, Decoder(chunk.words), chunk.notes, wanted, absent, block_rows)
    except FloatingPointError as error:
        raise StorageError(_OTHER_NUMBERS) from error
    if _rows_digest(symbols, missing) != chunk.digest:
        raise StorageError(_OTHER_NUMBERS)
    return symbols, missing


def _coded(
    chain: CodingChain,
    coder: SymbolCoder,
    notes: ChunkNotes,
    wanted: Symbols,
    missing: Truth,
    block_rows: int,
) -> tuple[Symbols, Truth]:
    """Code which cells are missing, and all others, block by block; either direction comes through here."""
    limits = _limits_by_column(chain, notes)
    symbols = np.empty_like(wanted)
    blocks = [slice(start, start + block_rows) for start in range(0, len(wanted), block_rows)]
    for rows in coder.sequence([None, *blocks]):
        if rows is None:
            missing = code_missing(coder, notes.missing, missing)
        else:
            present = ~missing[rows] if notes.missing else None
            symbols[rows] = chain.code(coder, wanted[rows], present, limits)
        coder.end_piece()
    return symbols, missing


def _limits(symbols: Symbols) -> tuple[int, int]:
    return (int(symbols.min()), int(symbols.max())) if len(symbols) else (0, 0)


def _limits_by_column(chain: CodingChain, notes: ChunkNotes) -> list[tuple[int, int]]:
    """Return the limits of every column, of which those with a range count."""
    told = iter(notes.limits)
    limits = [next(told, (1, 0)) if column.has_range else (0, 0) for column in chain.columns]
    if any(low > high for low, high in limits) or next(told, None) is not None:
        raise StorageError("the compressed rows were altered: their ranges are not those of the columns")
    return limits


def _rows_digest(symbols: Symbols, missing: Truth) -> bytes:
    digest = blake2b(np.packbits(missing).tobytes() if missing.any() else b"", digest_size=8)
    digest.update(symbols.astype("<i8").tobytes())
    return digest.digest()


# ---------------------------------------------------------------- what belongs together

_OTHER_NUMBERS = (
    "this machine computes other probabilities than the one that compressed the rows: decompress them with "
    "a processor of the same type and the same versions of PyTorch and NumPy"
)


def _checked_steps(model: DensityEstimator, header: Header) -> dict[int, Fraction]:
    """Return the steps of real columns; StorageError if rows were compressed by another model."""
    schema, found = model.schema_, candidates(model)
    if header.n_columns != schema.n_variables or header.schema != _schema_digest(schema):
        raise StorageError(
            f"the rows have {header.n_columns} columns that are not those of this model: decompress them "
            "with the model that compressed them"
        )
    if header.arrays != arrays_digest(model, 16) or header.order >= len(found):
        raise StorageError("the rows were compressed by another model with the same columns: name that one")
    steps = {d: Fraction(numerator, denominator) for d, numerator, denominator in header.notes.steps}
    if set(steps) != {d for d, variable in enumerate(schema.variables) if not variable.is_discrete}:
        raise StorageError("the compressed rows were altered: their steps are not those of the columns")
    return steps


def _schema_digest(schema: Schema) -> bytes:
    text = json.dumps(schema.to_dict(), sort_keys=True, ensure_ascii=True)
    return blake2b(text.encode(), digest_size=8).digest()


def _max_chunk_rows(schema: Schema) -> int:
    """Return how many rows a chunk of so many columns has at most."""
    return max(1, min(MAX_CHUNK_ROWS, _CHUNK_CELLS // schema.n_variables))


def _block_rows(columns: Sequence[Column]) -> int:
    """Return how many rows a network evaluates at a time."""
    n_masses = sum(column.n_masses for column in columns)
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _BLOCK_MASSES // n_masses))


def _nll_bits(model: DensityEstimator, rows: SymbolRows, steps: Mapping[int, Fraction]) -> float:
    """Return how many bits the model says that rows take, NaN where it has no number for one of them."""
    try:
        nats = -model.log_likelihoods(rows.codes, None).sum()
    except DataError:
        return math.nan
    for d, step in steps.items():
        masses = getattr(model.schema_.supports[d], "point_masses", ())
        has_density = ~rows.missing[:, d] & ~np.isin(rows.codes[:, d], np.array(masses, dtype=np.float32))
        nats -= has_density.sum() * np.log(float(step))
    return float(nats / np.log(2))
