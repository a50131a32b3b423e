"""Our estimators answer where PyOD's detectors do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chainrule import NADE, Independent, Mixture, PyODDetector
from chainrule.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(190, 3)), rng.normal(size=(10, 3)) * 8])


@pytest.fixture(scope="module")
def detector(rows):
    return PyODDetector(Independent(), contamination=0.1).fit(rows)


def test_scores_are_surprisals_of_a_copy_of_the_estimator(rows):
    model = NADE(8, max_epochs=2, random_state=0)
    detector = PyODDetector(model).fit(rows)
    np.testing.assert_array_equal(detector.decision_scores_, -model.fit(rows).score_samples(rows))
    assert detector.estimators_[0] is not model
    assert isinstance(PyODDetector().set_params(contamination=0.2), PyODDetector)


def test_of_its_own_accord_it_asks_networks_in_several_orders_and_mixtures_of_few_rows(rows):
    detector, again = (PyODDetector(random_state=0).fit(rows[:60]) for _ in range(2))
    networks, mixtures = detector.estimators_[:4], detector.estimators_[4:]
    assert [type(network) for network in networks] == [NADE] * 4
    assert [type(mixture) for mixture in mixtures] == [Mixture] * 8
    assert {mixture.max_rows for mixture in mixtures} == {256}
    assert len({tuple(network.column_order()) for network in networks}) > 1
    by_networks, by_mixtures = (
        np.mean([-each.score_samples(rows) for each in some], axis=0) for some in (networks, mixtures)
    )
    np.testing.assert_allclose(detector.decision_function(rows), (by_networks + by_mixtures) / 2)
    np.testing.assert_array_equal(detector.decision_scores_, again.decision_scores_)


def test_networks_of_more_than_300_rows_take_ten_epochs(rows):
    many = np.random.default_rng(1).normal(size=(301, 2))
    networks = PyODDetector(random_state=0).fit(many).estimators_[:4]
    assert all(network.history_.epochs <= 10 for network in networks)
    networks = PyODDetector(random_state=0).fit(rows[:60]).estimators_[:4]
    assert all(network.history_.epochs > 10 for network in networks)
    with pytest.raises(DataError):
        PyODDetector().fit(None)


@pytest.mark.filterwarnings("ignore:1 cells hold a level that the training rows lack")
@pytest.mark.parametrize("estimator", [Independent(), NADE(8, max_epochs=2, random_state=0)])
def test_numbers_never_seen_beside_zeros_and_ones_are_strange(rows, estimator):
    bits = (rows[:, :1] > 0).astype(float)
    detector = PyODDetector(estimator).fit(np.column_stack([rows, bits]))
    common, strange = detector.decision_function([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 2.0]])
    assert common + 2 < strange < np.inf  # -log of a share of 1 / 201 is 5.3, of a half 0.7
    with pytest.raises(DataError, match="unseen level; known levels are 0 and 1"):
        PyODDetector(estimator).fit(bits.repeat(2, axis=1)).decision_function([[2.0, 0.0]])


def test_truth_values_and_declared_kinds_stay(rows):
    table = pd.DataFrame({"x": rows[:, 0], "is": rows[:, 1] > 0, "z": (rows[:, 2] > 0).astype(int)})
    kinds = PyODDetector(Independent()).fit(table).estimators_[0].schema_.kinds
    assert kinds == ("continuous", "binary", "categorical")
    declared = PyODDetector(Independent(kinds={"z": "binary"})).fit(table).estimators_[0].schema_.kinds
    assert declared == ("continuous", "binary", "binary")


def test_the_share_of_rows_that_was_asked_for_are_anomalies(detector, rows):
    assert detector.labels_.sum() == 20
    np.testing.assert_array_equal(detector.predict(rows), detector.labels_)
    np.testing.assert_array_equal(detector.fit_predict(rows), detector.labels_)
    assert detector.labels_[190:].mean() > detector.labels_[:190].mean()


def test_shares_of_the_way_to_the_strangest_row(detector, rows):
    share = detector.predict_proba(rows)
    np.testing.assert_allclose(share.sum(axis=1), 1)
    assert share[:, 1].min() == 0
    assert share[:, 1].max() == 1
    np.testing.assert_array_equal(np.argsort(share[:, 1]), np.argsort(detector.decision_scores_))
    np.testing.assert_array_equal(detector.predict_proba([[1e3, 0.0, 0.0]]), [[0.0, 1.0]])


@pytest.mark.parametrize("arguments", [{"contamination": 0.7}, {"estimator": "nade"}])
def test_wrong_arguments_are_named(rows, arguments):
    with pytest.raises(ParameterError, match=next(iter(arguments))):
        PyODDetector(**arguments).fit(rows)


def test_it_says_what_a_detector_of_pyod_says(detector, rows):
    pyod = pytest.importorskip("pyod.models.hbos", reason="PyOD is in the bench extra")
    other = pyod.HBOS(contamination=0.1).fit(rows)
    for name in ("decision_scores_", "labels_"):
        ours, theirs = getattr(detector, name), getattr(other, name)
        assert (ours.shape, ours.dtype.kind) == (theirs.shape, theirs.dtype.kind)
    for method in ("decision_function", "predict", "predict_proba"):
        ours, theirs = getattr(detector, method)(rows), getattr(other, method)(rows)
        assert (ours.shape, ours.dtype.kind) == (theirs.shape, theirs.dtype.kind)
