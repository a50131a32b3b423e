"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder with the real data sets, or skip the test."""
    folder = os.environ.get("CHAINRULE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CHAINRULE_DATA does not name a folder with the data sets")
    return Path(folder)
