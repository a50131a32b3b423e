"""The study binarized-mnist: its quick version carries the claims; what is done is not done again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chainrule.datasets import load_dataset
from chainrule.experiments.study import StudyRun, run_study
from chainrule_studies.binarized_mnist import run as binarized_mnist
from chainrule_studies.binarized_mnist.run import N_MEMBERS, mixture_of, models, scan

FILE = Path(os.environ.get("CHAINRULE_DATA", ""), "binarized_mnist", "binarized_mnist_train.amat")


def rows(name):
    """Return binarized MNIST where it lies ready, digits in its place elsewhere.

    Digits are few, and ten epochs of them 120 steps, after which networks with masks are 3.9 nats ahead of
    the margins. With each row four times they are 6.2 to 6.5 ahead, by 0.20 more or less from seed to seed.
    """
    if FILE.is_file():
        return load_dataset(name)
    digits = load_dataset("digits")
    return replace(digits, name=name, train=np.tile(digits.train, (4, 1)))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mnist"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binarized_mnist, "load_dataset", rows)
        result = run_study("binarized-mnist", folder, quick=True)
    return folder, result.results


def arrays(folder, name):
    return np.load(folder / "steps" / f"{name}.npz")


def test_averaging_probabilities_is_never_worse_than_the_mean_of_the_members(done):
    _, results = done
    for ensemble in results["ensembles"].values():
        for step in ensemble["mixtures"]:
            for part in ("valid", "test"):
                mean = np.mean([member[part][0] for member in ensemble["members"][: step["members"]]])
                assert step[f"{part}_nll"][0] <= mean + 1e-9
        gain, error = ensemble["gain"]
        assert gain > 2 * error, "three orders should do better than one"
    for model in results["models"].values():
        assert model["test_nll"][0] <= model["mean_of_members_test_nll"] + 1e-9


@pytest.mark.arithmetic
def test_every_network_is_ahead_of_the_baselines(done):
    folder, results = done
    mixture = arrays(folder, "baseline-mixture")["test"][0]
    independent = arrays(folder, "baseline-independent")["test"][0]
    assert mixture.mean() > independent.mean()
    for name in models(quick=True):
        nats = mixture_of(arrays(folder, name)["test"])
        assert nats.mean() > independent.mean() + 5
        if FILE.is_file():
            assert nats.mean() > mixture.mean(), name


@pytest.mark.parametrize("name", ["natural", "random", "masks-32", "nade", "member-1"])
def test_samples_have_the_pixels_of_the_data_in_their_order(done, name):
    folder, _ = done
    kept = arrays(folder, name)
    real = rows("binarized-mnist").train.mean(axis=0)
    drawn = kept["samples"][-1].mean(axis=0)
    assert kept["samples"].shape[1:] == (100, len(real))
    assert np.corrcoef(real, drawn)[0, 1] > 0.85
    assert abs(drawn.mean() - real.mean()) < 0.04


def test_curves_cover_every_minibatch_and_every_epoch(done):
    folder, _ = done
    for name in models(quick=True):
        kept = arrays(folder, name)
        epochs = len(kept["train"])
        assert len(kept["valid_curve"]) == epochs and len(kept["batches"]) % epochs == 0
        assert kept["sample_epochs"].tolist() == sorted({5, epochs})
        assert kept["batches"][-20:].mean() < kept["batches"][:5].mean()


def test_what_is_done_is_not_done_again(done, monkeypatch):
    folder, results = done

    def refuse(*_):
        raise AssertionError("fitted again")

    monkeypatch.setattr(binarized_mnist, "_fit_and_score", refuse)
    monkeypatch.setattr(binarized_mnist, "load_dataset", rows)
    again = run_study("binarized-mnist", folder, quick=True).results
    assert {**again, "seconds": 0} == {**results, "seconds": 0}
    report = (folder / "report.html").read_text()
    assert "Ensembles over orders" in report and "Samples of NADE" in report


def test_members_fitted_beforehand_join_the_ensemble(tmp_path):
    run = StudyRun(tmp_path)
    (tmp_path / "steps").mkdir()
    usual = N_MEMBERS["made"]
    assert binarized_mnist._n_members(run, "made") == usual
    (tmp_path / "steps" / f"member-{usual}.npz").touch()
    assert binarized_mnist._n_members(run, "made") == usual + 1


def test_the_eight_scans_are_orders_of_which_no_two_are_alike():
    orders = [scan(number, (3, 4)) for number in range(N_MEMBERS["nade"])]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 8
    assert orders[0] == list(range(12))
