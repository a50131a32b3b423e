"""The study categorical-2d: what its quick version claims."""

from __future__ import annotations

import pytest

from chainrule.experiments.study import run_study


def test_one_hot_inputs_beat_the_others(data_folder, tmp_path):
    results = run_study("categorical-2d", tmp_path, quick=True).results
    assert results["floor_bits"] == pytest.approx(15.1769, abs=5e-5)
    models = {model["model"]: model for model in results["models"]}
    for model in models.values():
        # The divergence is exact, and the estimate from test rows agrees with it.
        assert model["exact_excess_bits"] > 0
        error = 4 * model["excess_standard_error"]
        assert model["excess_bits"] == pytest.approx(model["exact_excess_bits"], abs=error)
    assert results["one_hot_within_tolerance"] and models["one-hot"]["excess_bits"] < 0.2
    assert len(results["one_hot_beats"]) == 3
    naive = models["naive, p(x1) p(x2)"]["exact_excess_bits"]
    assert models["one-hot"]["exact_excess_bits"] < 0.75 * naive
