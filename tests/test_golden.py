"""Models that earlier versions saved load, and say what they said."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from chainrule import load
from chainrule.errors import StorageError
from chainrule.registry import CLASSES
from chainrule.schema import COLUMN_TYPES
from chainrule.storage import FORMAT_VERSION, OLDEST_VERSION

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(path.parent for path in GOLDEN.glob("v*/*/model.json") if path.parent.name != "made-any")


def saved_models():
    """Return what `golden/make.py` saves."""
    spec = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.models()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_saved_model_says_what_it_said(folder):
    model = load(folder)
    _, rows, context = saved_models()[folder.name]
    given = {} if context is None else {"context": context[:20]}
    expected = json.loads((folder / "expected.json").read_text())["score_samples"]
    np.testing.assert_allclose(model.score_samples(rows[:20], **given), expected, rtol=1e-5, atol=1e-5)
    assert len(model.sample(3, random_state=0, **{k: v[:3] for k, v in given.items()})) == 3


def test_a_made_of_any_order_says_that_there_is_none_any_more():
    with pytest.raises(StorageError, match="MADE of any order, which there is no more: OrderlessNADE"):
        load(GOLDEN / "v2" / "made-any")


@pytest.mark.parametrize("version", range(OLDEST_VERSION, FORMAT_VERSION + 1))
def test_each_version_has_models_of_every_class_and_column_type(version):
    saved = [json.loads((folder / "model.json").read_text()) for folder in FOLDERS
             if folder.parent.name == f"v{version}"]  # fmt: skip
    assert {metadata["class"] for metadata in saved} >= (set(CLASSES) if version == FORMAT_VERSION else set())
    kinds = {run["kind"] for metadata in saved for run in metadata["schema"]["variables"]}
    assert kinds >= (set(COLUMN_TYPES) if version == FORMAT_VERSION else set()) and saved
