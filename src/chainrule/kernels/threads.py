"""Sharing out compiled work that releases the interpreter lock."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

__all__ = ["at_most_threads", "range_step", "run_ranges"]

# Numbers that a thread takes in less time than it takes to wake another one.
_FEW_NUMBERS = 2**16

_OUTLINED = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# GNU OpenMP's threads do not survive a fork, nor does it notice.
_PROCESS = os.getpid()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


@contextmanager
def at_most_threads(n: int | None) -> Iterator[None]:
    """Let PyTorch use at most n threads for a while; None: as many as it is set to use."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if n is None else min(n, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def range_step(n: int, n_numbers: int) -> int:
    """Return how many of n equal parts a thread should take at a time: all of them where numbers are few."""
    return n if n_numbers < _FEW_NUMBERS else max(1, n // (4 * torch.get_num_threads()))


def run_ranges(work: Callable[[int, int], None], n: int, step: int) -> None:
    """Call ``work(start, stop)`` for consecutive ranges of at most `step` that cover 0..n.

    As many threads take part as PyTorch is set to use.
    """
    ranges = [(start, min(start + step, n)) for start in range(0, n, step)]
    n_threads = min(torch.get_num_threads(), len(ranges))
    if n_threads <= 1:
        for start, stop in ranges:
            work(start, stop)
        return
    errors: list[BaseException] = []

    def take_turns() -> None:
        try:
            # Taking one from a list is atomic: each range goes to one thread.
            while ranges:
                work(*ranges.pop())
        except IndexError:
            return
        except BaseException as error:
            # Nothing may escape into the library that calls this; an interrupt, too, is raised below.
            errors.append(error)

    _run_on_threads(take_turns, n_threads)
    if errors:
        raise errors[0]


def _run_on_threads(task: Callable[[], None], n_threads: int) -> None:
    """Run a task on several threads at once: on PyTorch's own where they can be had.

    After each parallel operation PyTorch's OpenMP threads keep their cores busy for some milliseconds,
    waiting for the next one; threads beside them would get only half of such a core.
    """
    parallel = _openmp_parallel()
    if parallel is not None and os.getpid() == _PROCESS:
        parallel(_OUTLINED(lambda _: task()), None, n_threads, 0)
        return
    for done in [_pool(n_threads).submit(task) for _ in range(n_threads)]:
        done.result()


@cache
def _openmp_parallel() -> Callable[..., None] | None:
    """Return GNU OpenMP's entry point for a parallel region, if PyTorch brings that library."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        parallel = ctypes.CDLL(str(path)).GOMP_parallel
        parallel.argtypes = [_OUTLINED, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return parallel
    return None


def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Return a pool of this process: threads do not survive a fork."""
    key = (os.getpid(), n_threads)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(n_threads, thread_name_prefix="chainrule")
    return _pools[key]
