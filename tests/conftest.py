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


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one process run all tests that share a fixture of their file, so that it is made once."""
    for item in items:
        if shares_a_fixture(item) and not any(item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


def shares_a_fixture(item: pytest.Item) -> bool:
    fixtures = getattr(item, "_fixtureinfo", None)
    definitions = fixtures.name2fixturedefs.values() if fixtures else ()
    return any(definition.scope == "module" for found in definitions for definition in found[-1:])
