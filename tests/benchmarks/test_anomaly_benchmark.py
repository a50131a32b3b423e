"""The benchmark of anomalies: its splits, its ranks and its resuming."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.anomalies import SETTINGS, Detected, Ranking, anomalies, ranking, split
from benchmarks.critical_difference import groups_alike
from PIL import Image

from chainrule.datasets.sources import DATA_VARIABLE


@pytest.fixture
def labelled():
    rng = np.random.default_rng(0)
    labels = np.zeros(200, dtype=int)
    labels[:20] = 1
    rows = rng.normal(size=(200, 3)) + 6 * labels[:, None]
    return np.column_stack([rows, np.arange(200)]), labels


def test_unsupervised_detectors_rank_the_rows_that_they_saw(labelled):
    train, tested, truth = split(*labelled, SETTINGS[0], 0)
    np.testing.assert_array_equal(train, tested)
    assert truth.sum() == 20


def test_half_of_the_normal_rows_are_learned_and_never_ranked(labelled):
    train, tested, truth = split(*labelled, SETTINGS[1], 0)
    rows, labels = labelled
    assert len(train) == 90
    assert not labels[train[:, -1].astype(int)].any()
    np.testing.assert_array_equal(truth, labels[tested[:, -1].astype(int)])
    assert not set(train[:, -1]) & set(tested[:, -1])
    assert len(train) + len(tested) == len(rows)


def test_ranks_are_of_means_over_seeds():
    aurocs = {"a": [0.9, 0.7], "b": [0.6, 0.8], "c": [0.5, 0.5]}
    found = [
        Detected(data, "s", seed, name, auroc, auroc, 1.0)
        for data in ("one", "two")
        for name, values in aurocs.items()
        for seed, auroc in enumerate(values)
    ]
    ranked = list(ranking("s", found))
    assert [(each.detector, each.rank) for each in ranked] == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert ranked[0].auroc == pytest.approx(0.8)


def test_a_run_goes_on_where_it_was(labelled, tmp_path, monkeypatch):
    pytest.importorskip("pyod", reason="PyOD is in the bench extra")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    (tmp_path / "adbench").mkdir()
    np.savez(tmp_path / "adbench" / "1_made.npz", X=labelled[0][:, :3], y=labelled[1])
    first = list(anomalies(tmp_path, detectors=["HBOS", "ECOD"], seeds=[0]))
    assert sum(isinstance(row, Detected) for row in first) == 4
    assert all(row.auroc > 0.9 for row in first if isinstance(row, Ranking))
    monkeypatch.setattr("benchmarks.anomalies.detect", None)
    assert list(anomalies(tmp_path, detectors=["HBOS", "ECOD"], seeds=[0])) == first
    with Image.open(tmp_path / "anomalies.png") as picture:
        assert picture.size[1] > 300


def test_methods_that_chance_could_exchange_stand_in_one_group():
    ranks = np.sort(np.random.default_rng(0).uniform(1, 9, 12))
    groups = groups_alike(ranks, 1.0)
    assert all(ranks[last] - ranks[first] <= 1.0 for first, last in groups)
    alike = {(i, j) for i in range(12) for j in range(i + 1, 12) if ranks[j] - ranks[i] <= 1.0}
    assert {(i, j) for i, j in alike if any(a <= i and j <= b for a, b in groups)} == alike
