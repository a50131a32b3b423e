"""A search that was broken off goes on with the draws that it would have made."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.datasets import Dataset

pytest.importorskip("optuna", reason="Optuna is not installed")

from chainrule.sweep import Choices, sweep

SEARCH = {
    "grid": {"n_components": [1, 2, 3, 5], "max_iter": [1, 2, 3, 4, 5]},
    "n_trials": 13,
    "sampler": "tpe",
}


@pytest.fixture
def dataset():
    rows = (np.random.default_rng(0).random((90, 4)) < 0.4).astype(np.uint8)
    return Dataset("bits", rows[:50], rows[50:70], rows[70:])


@pytest.mark.parametrize("at", [4, 24])
def test_a_search_broken_off_between_two_draws_makes_the_same_ones(at, dataset, tmp_path, monkeypatch):
    whole = sweep(dataset, "mixture", **SEARCH)
    suggest, drawn = Choices.suggest, []

    def interrupted(choices, trial, name):
        drawn.append(name)
        if len(drawn) == at:
            raise KeyboardInterrupt
        return suggest(choices, trial, name)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Choices, "suggest", interrupted)
        sweep(dataset, "mixture", **SEARCH, out=tmp_path)
    resumed = sweep(dataset, "mixture", **SEARCH, out=tmp_path)
    assert [t.parameters for t in resumed.trials] == [t.parameters for t in whole.trials]
    assert [t.valid_log_likelihood for t in resumed.trials] == [t.valid_log_likelihood for t in whole.trials]
