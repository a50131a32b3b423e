"""Sharing out compiled work that releases the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["run_ranges"]

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Return a pool of this process: threads do not survive a fork."""
    key = (os.getpid(), n_threads)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(n_threads, thread_name_prefix="chainrule")
    return _pools[key]


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
    for done in [_pool(n_threads).submit(work, *bounds) for bounds in ranges]:
        done.result()
