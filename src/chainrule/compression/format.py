"""The file of compressed rows: a header, and chunks of rows, each with checksums.

All numbers are little-endian. ::

    header  magic (8), version u2, columns u4, rows u8, chunks u4, order u4, rows of a block u4,
            digest of the schema (8), of the arrays (16), of the self-test (16), length of notes u4, notes,
            checksum of all that (8)
    chunk   rows u4, length of notes u4, words u4, digest of the symbols (8), notes, words of 4 bytes each,
            checksum of all that and of the number of the chunk (8)

Notes are MessagePack, empty where there is nothing to say; those of chunks are deflated.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import IO, Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from chainrule.compression.lines import LARGEST_SYMBOL
from chainrule.compression.missing import MissingColumn
from chainrule.compression.patches import Patch
from chainrule.errors import StorageError

__all__ = [
    "FORMAT_VERSION",
    "MAX_CHUNK_ROWS",
    "Chunk",
    "ChunkNotes",
    "Header",
    "HeaderNotes",
    "check_chunks",
    "chunks_of",
    "read_header",
    "write_chunk",
    "write_header",
]

FORMAT_VERSION = 1
MAX_CHUNK_ROWS = 2**16
"""So many rows share a range coder at most."""

_MAGIC = b"\x89CHRZ\r\n\x1a"
_HEADER = struct.Struct("<8sHIQIII8s16s16sI")
_FRAME = struct.Struct("<III8s")
_CHECKSUM = 8
_MAX_BLOCK = 2**12
# Notes that take more memory are none of a chunk.
_MAX_NOTES = 2**28
_DAMAGED = "the compressed rows are truncated or were altered"

Whole = Annotated[int, Meta(ge=-LARGEST_SYMBOL, le=LARGEST_SYMBOL)]
Notes = TypeVar("Notes")


class HeaderNotes(Struct, array_like=True, forbid_unknown_fields=True):
    """The steps of real numbers' grids: column, numerator, denominator."""

    steps: list[tuple[int, Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]] = []


class ChunkNotes(Struct, array_like=True, forbid_unknown_fields=True):
    """What is to be known of a chunk's rows before they are decoded, and what symbols do not say."""

    limits: list[tuple[Whole, Whole]] = []
    """Least and greatest symbol of each column that has a range."""
    missing: list[MissingColumn] = []
    patches: list[Patch] = []


@dataclass(frozen=True)
class Header:
    """What a file says of all its rows; sizes of digests are those of the format."""

    n_columns: int
    n_rows: int
    n_chunks: int
    order: int
    block_rows: int
    schema: bytes
    arrays: bytes
    probe: bytes
    notes: HeaderNotes


@dataclass(frozen=True)
class Chunk:
    """Rows that share a range coder."""

    n_rows: int
    digest: bytes
    notes: ChunkNotes
    words: bytes


def write_header(file: IO[bytes], header: Header) -> None:
    """Write a header where the file stands; its length depends on the notes alone."""
    notes = msgspec.msgpack.encode(header.notes) if header.notes.steps else b""
    numbers = [getattr(header, each.name) for each in fields(header)[:-1]]
    content = _HEADER.pack(_MAGIC, FORMAT_VERSION, *numbers, len(notes)) + notes
    file.write(content + _checksum(content))


def read_header(file: IO[bytes]) -> Header:
    """Return the header of a file that is read from its beginning.

    Raises
    ------
    StorageError
        If it is none, or one of another version, or was altered.
    """
    fixed = file.read(_HEADER.size)
    if fixed[: len(_MAGIC)] != _MAGIC:
        raise StorageError("this is no file of compressed rows: chainrule compress writes them")
    if len(fixed) < _HEADER.size:
        raise StorageError(_DAMAGED)
    _, version, *numbers, notes_length = _HEADER.unpack(fixed)
    if version != FORMAT_VERSION:
        raise StorageError(
            f"the compressed rows have format version {version}, this chainrule reads {FORMAT_VERSION}; "
            "use the chainrule that wrote them"
        )
    notes = _read(file, notes_length)
    if _read(file, _CHECKSUM) != _checksum(fixed + notes):
        raise StorageError(_DAMAGED)
    named = dict(zip((each.name for each in fields(Header)), numbers, strict=False))
    header = Header(**named, notes=_decoded(notes, HeaderNotes))
    if not 1 <= header.block_rows <= _MAX_BLOCK or header.n_rows > header.n_chunks * MAX_CHUNK_ROWS:
        raise StorageError(f"{_DAMAGED}: {header.n_rows:,} rows do not fit {header.n_chunks:,} chunks")
    return header


def write_chunk(file: IO[bytes], number: int, chunk: Chunk) -> None:
    """Write the chunk of that number, from 0."""
    notes = b"" if chunk.notes == ChunkNotes() else zlib.compress(msgspec.msgpack.encode(chunk.notes), 9)
    frame = _FRAME.pack(chunk.n_rows, len(notes), len(chunk.words) // 4, chunk.digest)
    content = frame + notes + chunk.words
    file.write(content + _checksum(content, number))


def chunks_of(file: IO[bytes], header: Header, max_rows: int) -> Iterator[Chunk]:
    """Yield the chunks that follow the header, once `check_chunks` has found them whole."""
    for number in range(header.n_chunks):
        rows, digest, notes, words = _next_chunk(file, number, max_rows)
        yield Chunk(rows, digest, _decoded(_inflated(notes), ChunkNotes), words)


def check_chunks(file: IO[bytes], header: Header, max_rows: int) -> None:
    """Hold all that follows the header against its sizes and checksums; the file stands where it stood.

    Parameters
    ----------
    file : binary file
    header : Header
    max_rows : int
        How many rows a chunk of so many columns may have.

    Raises
    ------
    StorageError
        If anything was altered; no more memory is taken than the file has bytes.
    """
    start = file.tell()
    n_rows = sum(_next_chunk(file, number, max_rows)[0] for number in range(header.n_chunks))
    if n_rows != header.n_rows or _n_left(file):
        raise StorageError(f"{_DAMAGED}: {header.n_rows:,} rows are announced and {n_rows:,} are there")
    file.seek(start)


def _next_chunk(file: IO[bytes], number: int, max_rows: int) -> tuple[int, bytes, bytes, bytes]:
    """Return how many rows the next chunk has, their digest, notes and words."""
    frame = _read(file, _FRAME.size)
    rows, notes_length, n_words, digest = _FRAME.unpack(frame)
    if not 1 <= rows <= max_rows:
        raise StorageError(f"{_DAMAGED}: a chunk claims {rows:,} rows, of at most {max_rows:,}")
    notes, words = _read(file, notes_length), _read(file, 4 * n_words)
    if _read(file, _CHECKSUM) != _checksum(frame + notes + words, number):
        raise StorageError(_DAMAGED)
    return rows, digest, notes, words


def _checksum(content: bytes, number: int = 0) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM, salt=number.to_bytes(8, "little")).digest()


def _n_left(file: IO[bytes]) -> int:
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here


def _read(file: IO[bytes], n_bytes: int) -> bytes:
    if n_bytes > _n_left(file):
        raise StorageError(_DAMAGED)
    return file.read(n_bytes)


def _inflated(notes: bytes) -> bytes:
    """Return notes as they were before they were deflated, if they take no more memory than notes may."""
    if not notes:
        return notes
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(notes, _MAX_NOTES)
    except zlib.error as error:
        raise StorageError(_DAMAGED) from error
    if not inflater.eof or inflater.unused_data:
        raise StorageError(_DAMAGED)
    return content


def _decoded(notes: bytes, kind: type[Notes]) -> Notes:
    if not notes:
        return kind()
    try:
        return msgspec.msgpack.decode(notes, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StorageError(f"{_DAMAGED}: {error}") from error
