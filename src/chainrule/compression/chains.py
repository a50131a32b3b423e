"""Chains that coder and decoder follow: a network, one of its orders, and one way of computing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.compression.coders import Prober, SymbolCoder
from chainrule.compression.columns import Column, columns_of
from chainrule.compression.rows import codes_of, rows_between
from chainrule.conditioners.any_order import AnyOrderPass
from chainrule.errors import DataError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.ensemble import Ensemble
from chainrule.model import AutoregressiveModel

__all__ = ["CodingChain", "best_candidate", "candidates"]

Symbols = NDArray[np.int64]
Limits = Sequence[tuple[int, int]]

_PROBE_ROWS = 64
# Rows by which the best order of several is chosen.
_SAMPLE = 1024


def candidates(estimator: DensityEstimator) -> list[tuple[AutoregressiveModel, int]]:
    """Return the models and members that could code rows: of an ensemble, those of all its members.

    Raises
    ------
    DataError
        If the estimator has no chain of conditionals, or one that sees side information.
    """
    members = estimator.members_ if isinstance(estimator, Ensemble) else [estimator]
    found = []
    for member in members:
        if not isinstance(member, AutoregressiveEstimator):
            raise DataError(
                f"{type(member).__name__} has no chain of conditionals that rows could be coded by; NADE, "
                "MADE, OrderlessNADE, ConvNADE and PixelCNN have"
            )
        if member.context_schema_ is not None:
            raise DataError("this model is p(x | context): rows are coded by models without context only")
        found += [(member.model_, number) for number in range(member.model_.n_members)]
    return found


def best_candidate(estimator: DensityEstimator, X: Any) -> int:
    """Return the number of the candidate under which the first rows are most probable."""
    found = candidates(estimator)
    if len(found) == 1:
        return 0
    codes = codes_of(rows_between(X, 0, _SAMPLE), estimator)
    known = np.isfinite(codes) | np.isnan(codes)
    seen = estimator.schema_.coarse(np.where(known, codes, 0.0).astype(np.float32))
    scores = []
    with torch.no_grad():
        for model, member in found:
            rows = torch.from_numpy(np.ascontiguousarray(seen)).to(next(model.parameters()).device)
            scores.append(float(model.log_prob_of_member(rows, member).sum()))
    return int(np.argmax(scores))


class CodingChain:
    """A network under one order, on the CPU, and how the columns are coded by it.

    Coder and decoder call the same functions with the same shapes in the same sequence: for one block of rows
    after the other, one variable after the other, `next_params` and `update` of the sequential pass. What
    else could make two runs differ is ruled out or tested for:

    - threads share out sums in other ways: there is one;
    - processors may take denormal numbers for zero: they are told not to;
    - kernels may depend on where numbers lie in memory: the network is a copy that PyTorch has laid out;
    - other instruction sets and other versions of PyTorch and NumPy round otherwise: `probe` finds that out.

    Parameters
    ----------
    estimator : density estimator
    number : int
        Which of its `candidates`.
    steps : mapping of int to Fraction
        The grids of real numbers; see `steps_of`.
    """

    def __init__(self, estimator: DensityEstimator, number: int, steps: Mapping[int, Fraction]) -> None:
        model, self._member = candidates(estimator)[number]
        self.steps = steps
        self._conditioner = copy.deepcopy(model.conditioner).cpu().eval()
        self._order: list[int] = self._conditioner.order(self._member).tolist()
        self.columns: tuple[Column, ...] = columns_of(model.conditionals, estimator.schema_, steps)

    @cached_property
    def probe(self) -> bytes:
        """A digest of the frequencies of a fixed block of rows, which tells machines apart that differ."""
        n_columns = len(self.columns)
        numbers = np.arange(_PROBE_ROWS * n_columns, dtype=np.uint64).reshape(_PROBE_ROWS, n_columns)
        hashes = (numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)
        each = [column.probe(hashes[:, d].copy()) for d, column in enumerate(self.columns)]
        symbols = np.stack([symbols for symbols, _ in each], axis=1)
        prober = Prober()
        self.code(prober, symbols, None, [limits for _, limits in each])
        return prober.digest()

    def code(
        self, coder: SymbolCoder, wanted: Symbols, present: NDArray[np.bool_] | None, limits: Limits
    ) -> Symbols:
        """Return the symbols (n, D) of a block of rows, coded variable after variable; 0 where missing.

        Parameters
        ----------
        coder : SymbolCoder
        wanted : ndarray of int64, shape (n, D)
            What is to be written; a decoder passes over it.
        present : ndarray of bool, shape (n, D), or None
            Which cells are there; None: all.
        limits : sequence of D pairs of int
            The least and greatest symbol of each column that `has_range`.
        """
        with _one_way_of_computing():
            return self._code(coder, wanted, present, limits)

    def _code(
        self, coder: SymbolCoder, wanted: Symbols, present: NDArray[np.bool_] | None, limits: Limits
    ) -> Symbols:
        symbols = np.zeros_like(wanted)
        state = self._conditioner.init_state(len(wanted), self._member)
        for d in self._order:
            params, column = state.next_params(d), self.columns[d]
            if present is None or present[:, d].all():
                symbols[:, d] = column.code(coder, params, wanted[:, d], limits[d])
                state.update(d, _tensor(column.seen(symbols[:, d])))
                continue
            rows = np.flatnonzero(present[:, d])
            if not len(rows):
                continue
            assert isinstance(state, AnyOrderPass)  # others have no missing cells
            symbols[rows, d] = column.code(coder, params[rows], wanted[rows, d], limits[d])
            state.update(d, _tensor(column.seen(symbols[:, d])), _tensor(present[:, d]))
        return symbols


def _tensor(array: NDArray[Any]) -> Tensor:
    """Return an array as PyTorch lays it out."""
    return torch.from_numpy(array).clone(memory_format=torch.contiguous_format)


@contextmanager
def _one_way_of_computing() -> Iterator[None]:
    """Let nothing depend on how many threads there are, nor on how the processor takes denormal numbers."""
    n_threads, flushes = torch.get_num_threads(), _flushes_denormals()
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(n_threads)
        torch.set_flush_denormal(flushes)


def _flushes_denormals() -> bool:
    return bool((torch.full((1,), 2.0**-1022, dtype=torch.float64) / 2 == 0).item())
