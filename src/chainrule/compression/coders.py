"""What takes symbols and their frequencies: a coder that writes, one that reads, and a test of both.

All three offer `code`, so that one function serves them, and the decoder meets the frequencies that the
encoder met. The coder is one of asymmetric numeral systems (Duda 2013), which loses less than range coding
where nearly all symbols are nearly certain. It is a stack: what is written last is read first.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol, TypeVar

import constriction
import numpy as np
from numpy.typing import NDArray

from chainrule.compression.frequencies import weights_of
from chainrule.errors import StorageError

__all__ = ["ANY", "Decoder", "Encoder", "Prober", "SymbolCoder"]

Floats = NDArray[np.float64]
Symbols = NDArray[np.int64]
Piece = TypeVar("Piece")

ANY = -(2**63)
"""In place of a symbol that does not matter: the most probable one is written, which costs least."""

# Of whole numbers that sum to 2**24 - K, the coder makes frequencies without any rounding: its factor is 1.
_FREQUENCIES = constriction.stream.model.Categorical(perfect=False)


class SymbolCoder(Protocol):
    """One direction of coding."""

    def sequence(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Return pieces of the rows, given as they are read, in the sequence in which they are coded."""
        ...

    def code(self, masses: Floats, wanted: Symbols) -> Symbols:
        """Return the symbols (n,) that are coded next, by their masses (n, K).

        Parameters
        ----------
        masses : ndarray of shape (n, K)
            K is at least 2.
        wanted : ndarray of shape (n,)
            The symbols 0..K-1, or a negative number for any; a decoder passes over them.
        """
        ...

    def end_piece(self) -> None:
        """Say that a piece is whole."""
        ...


class Encoder:
    """Writes symbols: piece after piece from the last to the first, each from its end to its beginning."""

    def __init__(self) -> None:
        self._coder = constriction.stream.stack.AnsCoder()
        self._steps: list[tuple[Symbols, Floats]] = []

    def sequence(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Return them from the last to the first."""
        return pieces[::-1]

    def code(self, masses: Floats, wanted: Symbols) -> Symbols:
        """Take in the symbols that are wanted."""
        weights = weights_of(masses)
        symbols = np.where(wanted < 0, weights.argmax(axis=1), wanted)
        self._steps.append((symbols, weights))
        return symbols

    def end_piece(self) -> None:
        """Write what was taken in."""
        for symbols, weights in reversed(self._steps):
            self._coder.encode_reverse(symbols.astype(np.int32), _FREQUENCIES, weights)
        self._steps.clear()

    def words(self) -> bytes:
        """Return what was written, in words of 32 bits, the least significant byte first."""
        return bytes(self._coder.get_compressed().astype("<u4").tobytes())


class Decoder:
    """Reads symbols from what an `Encoder` has written.

    Raises
    ------
    StorageError
        If no encoder could have written that.
    """

    def __init__(self, words: bytes) -> None:
        try:
            self._coder = constriction.stream.stack.AnsCoder(np.frombuffer(words, "<u4").astype(np.uint32))
        except ValueError as error:
            raise StorageError("the compressed rows were altered: no coder writes such words") from error

    def sequence(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Return them as they are."""
        return pieces

    def code(self, masses: Floats, wanted: Symbols) -> Symbols:
        """Read the next symbols."""
        weights = weights_of(masses)
        return np.asarray(self._coder.decode(_FREQUENCIES, weights), dtype=np.int64)

    def end_piece(self) -> None:
        """Do nothing."""


class Prober:
    """Writes nothing and keeps a digest of all frequencies that it meets."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=16)

    def sequence(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Return them as they are."""
        return pieces

    def code(self, masses: Floats, wanted: Symbols) -> Symbols:
        """Return what is wanted."""
        self._digest.update(weights_of(masses).astype("<f8").tobytes())
        return np.maximum(wanted, 0)

    def end_piece(self) -> None:
        """Do nothing."""

    def digest(self) -> bytes:
        """Return the digest."""
        return self._digest.digest()
