"""Fixtures and settings shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch

# The models here are tiny: a second thread would only wait for the first. `campaign` asks for more.
torch.set_num_threads(int(os.environ.get("CHAINRULE_TEST_THREADS", "1")))

# A program of its own; imported here, it would bring in Triton before `test_triton` can have it interpreted.
collect_ignore = ["kernels/compile_kernels.py"]

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder with the real data sets, or skip the test."""
    folder = os.environ.get("CHAINRULE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CHAINRULE_DATA does not name a folder with the data sets")
    return Path(folder)
