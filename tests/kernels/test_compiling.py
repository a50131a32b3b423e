"""Compiled kernels are kept, and the first compilation is told of once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import chainrule

PROGRAM = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="LOG %(name)s %(message)s")
logging.getLogger("chainrule").setLevel(logging.INFO)
import torch
from chainrule.conditionals.discrete import Categorical
from chainrule.conditionals.row import Conditionals
from chainrule.kernels.compiling import kept_kernels
logits, codes = torch.zeros(3, 4), torch.zeros(3, 2)
for _ in range(2):
    Conditionals([Categorical(2), Categorical(2)]).log_prob(codes, logits)
print(*kept_kernels())
"""


def test_a_compilation_is_told_of_once_and_the_next_process_finds_it_done(tmp_path):
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(chainrule.__file__).parents[1]),
    }

    def run():
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        *logged, kept = done.stdout.splitlines()
        folder, count = kept.rsplit(" ", 1)
        assert Path(folder).is_relative_to(tmp_path)
        return logged, int(count)

    first, n_first = run()
    second, n_second = run()
    assert len(first) == 1
    assert first[0].startswith("LOG chainrule.kernels.compiling kernels are compiled")
    assert str(tmp_path) in first[0]
    assert second == []
    assert n_first == n_second > 0
