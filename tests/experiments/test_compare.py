"""A comparison from rows to a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule import Independent, MixtureOfBernoullis, load
from chainrule.datasets import Dataset
from chainrule.errors import DataError, FitInterrupted
from chainrule.experiments.compare import compare, default_models
from chainrule.registry import MODELS
from chainrule.schema import Schema

BASELINES = ["independent", "mixture-of-bernoullis"]


def binary_dataset(n: int = 400, n_variables: int = 6, **changes: Any) -> Dataset:
    rng = np.random.default_rng(0)
    chance = np.where(rng.random((n, 1)) < 0.5, 0.9, 0.1)
    X = (rng.random((n, n_variables)) < chance).astype(np.uint8)
    parts = {"train": X[: n // 2], "valid": X[n // 2 : 3 * n // 4], "test": X[3 * n // 4 :]}
    return Dataset(**({"name": "coins", "split": "by hand", **parts} | changes))


def test_run_folder_holds_models_results_and_report(tmp_path: Path) -> None:
    dataset = binary_dataset()
    compared = compare(dataset, models=BASELINES, out=tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"models", "results.json", "report.html"}
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == compared.to_dict()
    for name, result in zip(BASELINES, compared.results, strict=True):
        again = load(tmp_path / "run" / "models" / name)
        np.testing.assert_array_equal(again.score_samples(dataset.test), result.log_likelihoods)
    report = (tmp_path / "run" / "report.html").read_text()
    assert "mixture of Bernoullis" in report and "coins" in report
    assert "<a " not in report


def test_the_report_of_a_table_leads_to_the_page_of_its_model_of_any_order(tmp_path: Path) -> None:
    compare(binary_dataset(), models=["independent", "orderless-nade"], max_epochs=1, out=tmp_path)
    assert '<a href="explore.html">' in (tmp_path / "report.html").read_text()
    assert "<h1>coins</h1>" in (tmp_path / "explore.html").read_text(encoding="utf-8")
    image = binary_dataset(n_variables=4, image_shape=(2, 2))
    compare(image, models=["orderless-nade"], max_epochs=1, out=tmp_path / "image")
    assert not (tmp_path / "image" / "explore.html").exists()


def test_results_are_those_of_the_models_alone() -> None:
    dataset = binary_dataset()
    compared = compare(dataset, models=BASELINES, random_state=3)
    alone = Independent().fit(dataset.train, X_val=dataset.valid)
    first, second = compared.results
    np.testing.assert_array_equal(first.log_likelihoods, alone.score_samples(dataset.test))
    mixture = MixtureOfBernoullis(random_state=3).fit(dataset.train, X_val=dataset.valid)
    assert second.test_log_likelihood == mixture.score(dataset.test)
    assert second.n_parameters == mixture.n_parameters_
    assert [r.model for r in compared.results] == ["independent", "mixture of Bernoullis"]
    assert compared.best() is second
    assert second.note == f"{mixture.n_components_} components"


def test_log_likelihoods_are_split_over_the_columns() -> None:
    compared = compare(binary_dataset(), models=BASELINES)
    for result in compared.results:
        assert result.column_log_likelihoods is not None
        assert result.column_log_likelihoods.sum() == pytest.approx(result.test_log_likelihood)
    split = compared.to_dict()["results"][0]["column_log_likelihoods"]
    assert list(split) == [f"x{number}" for number in range(1, 7)]
    assert list(split.values()) == compared.results[0].column_log_likelihoods.tolist()  # type: ignore[union-attr]
    images = compare(binary_dataset(image_shape=(2, 3)), models=["independent"])
    wide = compare(binary_dataset(n_variables=41), models=["independent"])
    assert images.results[0].column_log_likelihoods is wide.results[0].column_log_likelihoods is None


def test_facts_of_the_data() -> None:
    compared = compare(binary_dataset(entropy=2.5, image_shape=(2, 3)), models=["independent"])
    assert (compared.n_train, compared.n_valid, compared.n_test, compared.n_variables) == (200, 100, 100, 6)
    assert compared.kinds == "6 variables: 6 binary" and compared.discrete
    assert compared.entropy == 2.5 and compared.image_shape == (2, 3) and compared.split == "by hand"
    assert len(compared.train_rows) == 200 and len(compared.test_rows) == 100
    result = compared.results[0]
    assert result.samples.shape == (1000, 6) and result.samples.dtype == np.uint8
    assert result.sample_seconds > 0 and result.fit_seconds > 0 and result.epochs is None


def test_samples_of_long_rows_stay_in_bounded_memory() -> None:
    X = np.random.default_rng(0).integers(0, 2, size=(8, 60_000), dtype=np.uint8)
    dataset = Dataset("long", train=X[:4], valid=X[4:6], test=X[6:])
    assert len(compare(dataset, models=["independent"]).results[0].samples) == 333


def test_model_that_cannot_model_the_columns_is_left_out_with_a_note(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"x": rng.normal(size=90), "colour": rng.choice(["red", "blue", "green"], 90)})
    dataset = Dataset("table", train=table[:60], valid=table[60:75], test=table[75:])
    compared = compare(dataset, models=["independent", "gmm", "mixture"], out=tmp_path)
    assert [result.model for result in compared.results] == ["independent", "mixture"]
    assert (
        len(compared.notes) == 1 and "GMM is left out" in compared.notes[0] and "colour" in compared.notes[0]
    )
    assert not compared.discrete and isinstance(compared.results[0].samples, pl.DataFrame)
    assert not (tmp_path / "models" / "gmm").exists()
    with pytest.raises(DataError, match="none of the models"):
        compare(dataset, models=["gmm"])


def test_dequantised_mixture_is_called_a_bound() -> None:
    X = np.random.default_rng(0).integers(0, 9, size=(200, 3))
    compared = compare(Dataset("counts", X[:100], X[100:150], X[150:]), models=["independent", "gmm"])
    assert [r.note.startswith("lower bound: uniform dequantisation") for r in compared.results] == [
        False,
        True,
    ]


def test_declared_kinds_reach_the_models() -> None:
    X = np.random.default_rng(0).integers(0, 4, size=(200, 2))
    dataset = Dataset("levels", X[:100], X[100:150], X[150:], kinds="categorical")
    compared = compare(dataset, models=["independent"])
    assert compared.kinds == "2 variables: 2 categorical"
    assert compared.results[0].estimator.schema_.kinds == ("categorical", "categorical")


@pytest.mark.parametrize(
    ("X", "mixture"),
    [
        (np.eye(3), "mixture-of-bernoullis"),
        (np.random.default_rng(0).normal(size=(9, 2)), "gmm"),
        (np.arange(12).reshape(6, 2), "gmm"),
        (pl.DataFrame({"a": ["x", "y", "z"], "b": [0.1, 0.2, 0.4]}), "mixture"),
        (pl.DataFrame({"a": [True, False, True], "b": [0.1, 0.2, 0.4]}), "mixture"),
    ],
)
def test_default_models_suit_the_kinds(X: Any, mixture: str) -> None:
    assert default_models(Schema.infer(X)) == ["independent", mixture, "nade", "made", "orderless-nade"]


def test_unknown_and_missing_names_are_refused() -> None:
    with pytest.raises(DataError, match="no model 'mad'; choose from independent"):
        compare(binary_dataset(), models=["mad"])
    with pytest.raises(DataError, match="no model to compare"):
        compare(binary_dataset(), models=[])


def test_repeated_names_are_fitted_once() -> None:
    assert len(compare(binary_dataset(), models=["independent", "independent"]).results) == 1


def test_neural_models_get_their_epochs_and_history(tmp_path: Path) -> None:
    compared = compare(binary_dataset(), models=["nade", "made"], max_epochs=2, out=tmp_path)
    for name, result in zip(("nade", "made"), compared.results, strict=True):
        assert result.model == MODELS[name].title
        assert result.epochs == 2 and len(result.history.train) == 2
        assert load(tmp_path / "models" / name).score(compared.test_rows) == result.test_log_likelihood


def test_all_that_searches_shares_the_time(tmp_path: Path) -> None:
    names = ["independent", "mixture-of-bernoullis", "nade"]
    compare(binary_dataset(), models=names, max_epochs=1, max_time=1000.0, out=tmp_path)
    mixture, network = (load(tmp_path / "models" / name).get_params()["max_time"] for name in names[1:])
    assert 0.3 * 1000 < mixture < 0.35 * 1000
    assert 0.65 * 1000 < network < 0.7 * 1000  # what the mixture has left, too


def test_interrupted_fit_is_saved_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Independent, *args: Any, **kwargs: Any) -> None:
        fit(self, *args, **kwargs)
        raise FitInterrupted("interrupted")

    fit = Independent._fit_codes
    monkeypatch.setattr(Independent, "_fit_codes", interrupted)
    with pytest.raises(FitInterrupted, match=r"independent so far are saved in .*independent"):
        compare(binary_dataset(), models=["independent"], out=tmp_path)
    assert np.isfinite(load(tmp_path / "models" / "independent").score(binary_dataset().test))


@pytest.mark.parametrize(
    ("n_rows", "n_variables", "n_orders", "of_any_order", "of_one_order"),
    [
        (2400, 6, None, 8, 1),
        (2400, 6, 3, 3, 1),
        (400, 6, None, 8, 8),
        (400, 6, 3, 3, 8),
        (400, 41, None, 1, 1),
    ],
)
def test_orders_are_averaged_where_columns_are_few_and_rows_are_few(
    n_rows: int, n_variables: int, n_orders: int | None, of_any_order: int, of_one_order: int
) -> None:
    dataset = binary_dataset(n_rows, n_variables)
    compared = compare(dataset, models=["orderless-nade", "made"], max_epochs=1, n_orders=n_orders)
    counts = [of_any_order, of_one_order]
    notes = [f"mean of {count} orders" if count > 1 else "" for count in counts]
    if n_rows < 1000:
        notes[0] = "; ".join(["mean of 3 fits to training and validation rows", *filter(None, [notes[0]])])
    assert [result.note for result in compared.results] == notes


def test_what_is_left_out_by_default_is_told() -> None:
    dataset = binary_dataset()
    holes = np.where(np.random.default_rng(1).random(dataset.train.shape) < 0.1, np.nan, dataset.train)
    compared = compare(binary_dataset(train=holes), max_epochs=1)
    assert compared.notes == [f"{name} is left out: it takes no missing values" for name in ("NADE", "MADE")]


def test_a_mean_of_several_fits_is_a_network_to_the_report(tmp_path: Path) -> None:
    compared = compare(binary_dataset(), models=["independent", "orderless-nade"], max_epochs=2, out=tmp_path)
    _, several = compared.results
    assert several.note.startswith("mean of 3 fits")
    assert several.epochs == 2
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "best baseline, orderless NADE" not in report
    assert "Learning curves" in report


def test_masks_are_shown_where_a_made_was_compared(tmp_path: Path) -> None:
    for models, is_shown in (["made"], True), (BASELINES, False):
        compare(binary_dataset(), models=models, max_epochs=1, out=tmp_path / models[0])
        report = (tmp_path / models[0] / "report.html").read_text(encoding="utf-8")
        assert ("How a MADE is kept in order" in report) == is_shown
