"""Summaries, paired differences and the stable keys of a comparison."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from chainrule.metrics.statistics import bits_per_dimension, paired_difference, summarize
from chainrule.report.comparison import Comparison, ModelResult


def result(model: str, log_likelihoods: np.ndarray, **changes: object) -> ModelResult:
    metadata = dict(fit_seconds=1.0, sample_seconds=0.1, epochs=None, n_parameters=3, samples=None) | changes
    return ModelResult(model=model, estimator=None, log_likelihoods=log_likelihoods, **metadata)


def comparison(*results: ModelResult, discrete: bool = True) -> Comparison:
    return Comparison(
        dataset="toy",
        description="",
        split="given by the source",
        n_train=10,
        n_valid=5,
        n_test=len(results[0].log_likelihoods),
        n_variables=4,
        kinds="4 variables: 4 binary",
        discrete=discrete,
        image_shape=None,
        entropy=None,
        random_state=0,
        results=list(results),
        train_rows=None,
        test_rows=None,
        seconds=1.0,
    )


def test_summary_is_the_mean_and_its_standard_error() -> None:
    rows = np.random.default_rng(0).normal(-5.0, 2.0, size=400)
    summary = summarize(rows)
    assert summary.mean == pytest.approx(rows.mean())
    assert summary.standard_error == pytest.approx(rows.std(ddof=1) / 20)
    assert summary.n_rows == 400


def test_summary_sums_in_float64() -> None:
    rows = np.full(100_001, -100.1, dtype=np.float32)
    assert summarize(rows).mean == pytest.approx(float(np.float32(-100.1)), abs=1e-9)


def test_standard_error_needs_two_finite_rows() -> None:
    assert math.isnan(summarize([-3.0]).standard_error)
    lost = summarize([-3.0, -math.inf])
    assert lost.mean == -math.inf and math.isnan(lost.standard_error)


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], 3.0])
def test_summary_refuses_what_is_not_one_number_per_row(bad: object) -> None:
    with pytest.raises(ValueError, match="one log-likelihood per row"):
        summarize(bad)


def test_bits_per_dimension_of_fair_coins_is_one() -> None:
    assert bits_per_dimension(-7 * math.log(2), 7) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="n_variables"):
        bits_per_dimension(-1.0, 0)


def test_pairing_tells_models_apart_that_separate_errors_cannot() -> None:
    rng = np.random.default_rng(0)
    worse = rng.normal(-100.0, 20.0, size=200)
    better = worse + rng.normal(0.5, 0.5, size=200)
    difference = paired_difference(better, worse)
    assert difference.significant and difference.mean == pytest.approx(0.5, abs=0.15)
    assert 2 * summarize(worse).standard_error > difference.mean
    with pytest.raises(ValueError, match="same rows"):
        paired_difference(better, worse[:-1])


def test_best_is_marked_only_beyond_two_standard_errors() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(-10.0, 1.0, size=100)
    clear = comparison(result("A", rows), result("B", rows - rng.normal(1.0, 0.1, size=100)))
    assert clear.best() is clear.results[0]
    close = comparison(result("A", rows), result("B", rows + rng.normal(0.0, 1.0, size=100)))
    assert close.best() is None
    assert comparison(result("A", rows)).best() is None


def test_best_must_lead_every_other_model() -> None:
    # C is second from the top in the mean and clearly behind; B is third, but too noisy to be told from A.
    rows = np.full(100, -10.0)
    noisy = rows - 0.2 + 5.0 * np.where(np.arange(100) % 2, 1.0, -1.0)
    three = comparison(result("A", rows), result("B", noisy), result("C", rows - 0.1))
    assert [r.model for r in three.ranked()] == ["A", "C", "B"]
    assert three.best() is None


def test_dictionary_has_the_stable_keys_and_is_json() -> None:
    rows = np.array([-2.0, -3.0])
    compared = comparison(result("A", rows, epochs=7), result("B", np.array([-math.inf, -3.0])))
    metadata = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert {"dataset", "n_train", "n_valid", "n_test", "n_variables", "results"} <= set(metadata)
    first, second = metadata["results"]
    assert set(first) >= {
        "model",
        "test_log_likelihood",
        "standard_error",
        "bits_per_dim",
        "n_parameters",
        "fit_seconds",
        "sample_seconds",
        "epochs",
    }
    assert first["test_log_likelihood"] == -2.5 and first["epochs"] == 7
    assert first["bits_per_dim"] == pytest.approx(2.5 / (4 * math.log(2)))
    assert first["difference"] == 0.0
    assert second["test_log_likelihood"] is None and second["epochs"] is None


def test_continuous_data_have_no_bits_per_dimension() -> None:
    compared = comparison(result("A", np.array([-2.0, -3.0])), discrete=False)
    assert compared.to_dict()["results"][0]["bits_per_dim"] is None
