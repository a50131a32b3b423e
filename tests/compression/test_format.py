"""Files of compressed rows that were altered, or belong elsewhere: refused, and never other rows."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from tests.compression.compressed_tables import fitted, table, with_holes

from chainrule import MADE, OrderlessNADE
from chainrule.compression import archives, compress, decompress
from chainrule.compression.format import ChunkNotes, chunks_of, read_header, write_chunk, write_header
from chainrule.compression.missing import MissingColumn
from chainrule.compression.patches import Patch
from chainrule.errors import StorageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LARGEST = 2**61


@pytest.fixture(scope="module")
def small():
    """Return a model of every kind of column, rows with holes and an unseen level, and their file."""
    rows = with_holes(table(0, 100), 0)
    model = fitted("columns", rows)
    rows = rows.head(5)
    rows[0, "city"] = "Bodø"
    return model, rows, compress(model, rows)


@pytest.fixture(scope="module")
def bits():
    X = np.random.default_rng(0).integers(0, 2, (100, 4))
    model = MADE((4,), max_epochs=1, random_state=0).fit(X)
    return model, X, compress(model, X)


def rewritten(data: bytes, header: dict = {}, **chunk) -> bytes:  # noqa: B006
    """Return a file with other fields in its header or in its only chunk, and checksums that fit them."""
    file = io.BytesIO(data)
    old = read_header(file)
    (rows,) = chunks_of(file, old, 2**16)
    out = io.BytesIO()
    write_header(out, old.__class__(**{**vars(old), **header}))
    write_chunk(out, 0, rows.__class__(**{**vars(rows), **chunk}))
    return out.getvalue()


def test_every_byte_counts(small):
    model, _, data = small
    bits = np.random.default_rng(0).integers(0, 8, len(data))
    for at, bit in enumerate(bits.tolist()):
        altered = bytearray(data)
        altered[at] ^= 1 << bit
        with pytest.raises(StorageError):
            decompress(model, bytes(altered))


def test_nothing_may_be_left_out_or_added(small):
    model, rows, data = small
    for length in range(len(data)):
        with pytest.raises(StorageError):
            decompress(model, data[:length])
    with pytest.raises(StorageError):
        decompress(model, data + b"\0")
    assert decompress(model, data).equals(rows)


def test_chunks_belong_where_they_are(bits, monkeypatch):
    model, X, _ = bits
    monkeypatch.setattr(archives, "_CHUNK_CELLS", 4 * 50)
    data = compress(model, X)
    assert (decompress(model, data) == X).all()
    file = io.BytesIO(data)
    chunks = list(chunks_of(file, (header := read_header(file)), 50))
    swapped = io.BytesIO()
    write_header(swapped, header)
    start, half = swapped.tell(), (len(data) - swapped.tell()) // 2
    assert len(chunks[0].words) == len(chunks[1].words)
    with pytest.raises(StorageError):
        decompress(model, data[:start] + data[start + half :] + data[start : start + half])


@pytest.mark.parametrize("n_rows", [0, 99, 101, 2**32, 2**62, 2**64 - 1])
def test_claims_of_rows_are_held_against_the_file(bits, n_rows):
    model, _, data = bits
    with pytest.raises(StorageError):
        decompress(model, rewritten(data, {"n_rows": n_rows}))
    with pytest.raises(StorageError):
        decompress(model, rewritten(data, {"n_rows": n_rows, "n_chunks": 2**32 - 1}))


def test_sizes_are_held_against_the_file_before_memory_is_taken(bits):
    model, _, data = bits
    file = io.BytesIO(data)
    read_header(file)
    for sizes in ((100, 2**32 - 1, 0), (100, 0, 2**32 - 1), (2**32 - 1, 0, 0), (0, 0, 0)):
        frame = struct.pack("<III", *sizes)
        with pytest.raises(StorageError):
            decompress(model, data[: file.tell()] + frame + data[file.tell() + 12 :])


@pytest.mark.parametrize(
    "field", [{"block_rows": 0}, {"block_rows": 2**31}, {"order": 1}, {"n_columns": 5}, {"probe": bytes(16)}]
)
def test_headers_that_cannot_be_are_refused(bits, field):
    model, _, data = bits
    with pytest.raises(StorageError):
        decompress(model, rewritten(data, field))


@pytest.mark.parametrize(
    "notes",
    [
        ChunkNotes(limits=[(0, 1)]),
        ChunkNotes(missing=[MissingColumn(4, -1, 1, 0)]),
        ChunkNotes(missing=[MissingColumn(0, 1, 1, 0)]),
        ChunkNotes(missing=[MissingColumn(0, -1, 101, 0)]),
        ChunkNotes(missing=[MissingColumn(0, -1, 1, 0), MissingColumn(0, -1, 1, 0)]),
        ChunkNotes(patches=[Patch(4, [0], [1])]),
        ChunkNotes(patches=[Patch(0, [100], [1])]),
        ChunkNotes(patches=[Patch(0, [60, 60], [1, 1])]),
        ChunkNotes(patches=[Patch(0, [0], [1, 1])]),
        ChunkNotes(patches=[Patch(0, [0], ["text"])]),
        ChunkNotes(patches=[Patch(0, [0], [2**63])]),
        ChunkNotes(patches=[Patch(0, [0], [None])]),
    ],
)
def test_notes_that_belong_to_no_row_are_refused(bits, notes):
    model, _, data = bits
    with pytest.raises(StorageError):
        decompress(model, rewritten(data, notes=notes))


def test_other_symbols_are_refused(bits, small):
    model, _, data = bits
    with pytest.raises(StorageError, match="other probabilities"):
        decompress(model, rewritten(data, digest=bytes(8)))
    with pytest.raises(StorageError):
        decompress(model, rewritten(data, words=bytes(8)))
    model, _, data = small
    with pytest.raises(StorageError):
        decompress(model, rewritten(data, words=b"\xff" * 40))


def test_other_models_are_refused(bits, small):
    model, X, data = bits
    again = MADE((4,), max_epochs=1, random_state=1).fit(X)
    with pytest.raises(StorageError, match="another model"):
        decompress(again, data)
    wider = OrderlessNADE((4,), max_epochs=1, random_state=0).fit(np.hstack([X, X]))
    with pytest.raises(StorageError, match="4 columns that are not those"):
        decompress(wider, data)
    with pytest.raises(StorageError, match="columns that are not those"):
        decompress(small[0], data)


def test_a_machine_that_computes_otherwise_is_refused(bits, monkeypatch):
    model, _, data = bits
    of_chance = model.model_.conditioner.activate
    monkeypatch.setattr(type(model.model_.conditioner), "activate", lambda self, z: of_chance(z) * (1 + 1e-6))
    with pytest.raises(StorageError, match="this machine computes other probabilities"):
        decompress(model, data)


def test_what_is_no_such_file_is_refused(bits):
    for data in (b"", b"PK\3\4", b"\x89CHRZ\r\n\x1a", bytes(200)):
        with pytest.raises(StorageError):
            decompress(bits[0], data)


def test_newer_formats_are_refused_by_their_number(bits):
    model, _, data = bits
    with pytest.raises(StorageError, match="format version 2"):
        decompress(model, data[:8] + b"\2" + data[9:])
