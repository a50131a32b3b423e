"""Calibration on hidden cells: of models that are right by construction, and of ones that are too sure."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from chainrule import OrderlessNADE
from chainrule.conditionals import Categorical, MixtureOfGaussians, PointMasses
from chainrule.conditionals.base import softplus_inverse
from chainrule.errors import ParameterError
from chainrule.estimators.conditional_distribution import ConditionalDistribution
from chainrule.metrics.calibration import Reliability, measure_calibration
from chainrule.schema import Schema

N = 3000
KINDS = {"stars": "ordinal"}


class Known:
    """A model that knows the distributions that rows were drawn from; `sure` times as sure as it should be.

    The logits of names and stars, and the mean of the size, differ from row to row, by what "row" says.
    """

    def __init__(self, sure: float = 1.0) -> None:
        self.sure = sure
        rng = np.random.default_rng(0)
        self.logits = rng.normal(0, 1, (N, 4))
        p = np.exp(self.logits) / np.exp(self.logits).sum(axis=1, keepdims=True)
        drawn = (rng.random((N, 1, 2)) > p.cumsum(axis=1)[..., None]).sum(axis=1)
        self.mean = rng.normal(0, 3, N)
        size = self.mean + rng.normal(0, 2, N)
        owed = np.where(rng.random(N) < 0.3, 0.0, self.mean + rng.normal(0, 2, N))
        self.rows = pd.DataFrame(
            {"name": np.array(list("abcd"))[drawn[:, 0]], "stars": drawn[:, 1], "size": size, "owed": owed}
        )
        self.schema_ = Schema.infer(self.rows, KINDS)

    def conditionals(self, X):
        for d, variable in enumerate(self.schema_.variables):
            rows = np.flatnonzero(X.iloc[:, d].isna())
            yield d, rows, ConditionalDistribution(variable, *self._family(variable, rows))

    def _family(self, variable, rows):
        if variable.is_discrete:
            return Categorical(4), torch.from_numpy(self.sure * self.logits[rows])[None]
        location = torch.from_numpy((self.mean[rows] - variable.location) / variable.scale)
        scale = torch.full_like(location, 2 / variable.scale / self.sure)
        family = MixtureOfGaussians(1)
        params = torch.stack([location, softplus_inverse(scale - 1e-3)], dim=1)
        if variable.name == "owed":
            family = PointMasses.beside(family, variable.support.point_masses)
            logits = torch.tensor([0.7, 0.3]).log().expand(len(rows), 2)
            params = torch.cat([logits, params], dim=1)
        return family, params[None]


@pytest.fixture(scope="module")
def right():
    model = Known()
    # All rows are asked for, in their order, so that the model knows which is which.
    return {each.column: each for each in measure_calibration(model, model.rows, n_rows=N).columns}


@pytest.fixture(scope="module")
def too_sure():
    model = Known(sure=3.0)
    return {each.column: each for each in measure_calibration(model, model.rows, n_rows=N).columns}


def test_a_right_model_is_calibrated(right):
    for column in ("stars", "size", "owed"):
        found = right[column]
        assert stats.kstest(found.transform, "uniform").pvalue > 0.01
        assert stats.chisquare(np.histogram(found.transform, 20, (0, 1))[0]).pvalue > 0.01
        for share, covered in found.coverage.items():
            assert abs(covered.randomised - share) < 3 * covered.randomised_error
        assert found.gap < 2 * found.gap_by_chance
    reliability = right["name"].reliability
    off = (reliability.observed - reliability.predicted) / reliability.error
    assert np.abs(off).max() < 3.5 and (off**2).mean() < 2
    assert right["name"].gap < 2 * right["name"].gap_by_chance


def test_a_model_that_is_too_sure_is_found_out(too_sure):
    for column in ("stars", "size", "owed"):
        found = too_sure[column]
        assert stats.kstest(found.transform, "uniform").pvalue < 1e-4
        assert found.gap > 2 * found.gap_by_chance
        assert found.coverage[0.9].randomised < 0.9 - 5 * found.coverage[0.9].randomised_error
    assert too_sure["name"].gap > 3 * too_sure["name"].gap_by_chance
    # What it is nearly sure of comes less often than it says, what it nearly excludes more often.
    reliability = too_sure["name"].reliability
    assert reliability.observed[-1] < reliability.predicted[-1] - 3 * reliability.error[-1]
    assert reliability.observed[0] > reliability.predicted[0] + 3 * reliability.error[0]


def test_whole_numbers_are_covered_more_than_asked_for_unless_places_are_drawn(right):
    for covered in right["stars"].coverage.values():
        assert covered.plain > covered.randomised + 3 * covered.plain_error
    for covered in right["size"].coverage.values():
        assert covered.plain == pytest.approx(covered.randomised)


def test_plain_coverage_is_that_of_quantiles():
    model = Known()
    rows = model.rows.assign(name=None, size=np.nan, owed=np.nan)
    found = measure_calibration(model, rows, share=1.0, n_rows=N)
    assert [each.column for each in found.columns] == ["stars"]
    holes = pd.DataFrame({name: [None] * N for name in rows})
    ((_, _, asked),) = [each for each in model.conditionals(holes) if each[0] == 1]
    inside = (asked.quantile(0.25) <= rows["stars"]) & (rows["stars"] <= asked.quantile(0.75))
    assert found.columns[0].coverage[0.5].plain == pytest.approx(inside.mean())


def test_what_is_missing_already_is_not_counted():
    model = Known()
    rows = model.rows.copy()
    rows.loc[: N // 2 - 1, "size"] = np.nan
    found = measure_calibration(model, rows, share=1.0, n_rows=N)
    assert [each.n_cells for each in found.columns] == [N, N, N // 2, N]


def test_share_and_rows(right):
    assert sum(each.n_cells for each in right.values()) == pytest.approx(0.3 * 4 * N, rel=0.05)
    for share in (0, 1.5, math.nan):
        with pytest.raises(ParameterError, match="share"):
            measure_calibration(Known(), Known().rows, share=share)


@pytest.mark.parametrize("kind", ["integers", "floats", "truths", "text", "polars"])
def test_a_fitted_model_is_measured_on_rows_of_any_container(kind):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (200, 3))
    X[:, 1] = X[:, 0]
    rows = {
        "integers": X,
        "floats": X + rng.normal(0, 0.1, X.shape),
        "truths": X > 1,
        "text": np.array(["a", "b", "c"])[X],
        "polars": pd.DataFrame(X, columns=["x", "y", "z"]).pipe(_to_polars),
    }[kind]
    model = OrderlessNADE((8,), max_epochs=2, n_components=2, validation_fraction=0, random_state=0).fit(rows)
    found = measure_calibration(model, rows, n_rows=120)
    again = measure_calibration(model, rows, n_rows=120)
    assert found.n_rows == 120 and len(found.columns) == 3
    document = json.loads(json.dumps(found.to_dict()))
    assert document == again.to_dict()
    assert all(entry["gap"] < 1 for entry in document["columns"].values())


def _to_polars(frame):
    import polars as pl

    return pl.DataFrame(frame.to_dict("list"))


def test_a_fitted_model_is_about_calibrated_on_its_own_draws():
    rng = np.random.default_rng(0)
    first = rng.normal(0, 1, 2000)
    X = pd.DataFrame(
        {"a": first, "b": first + rng.normal(0, 0.5, 2000), "c": first + rng.normal(0, 1, 2000) > 0}
    )
    model = OrderlessNADE((24,), max_epochs=30, n_components=3, learning_rate=0.01, random_state=0).fit(X)
    found = measure_calibration(model, model.sample(4000, random_state=1), n_rows=4000)
    for column in found.columns:
        assert column.gap < 0.06
        for share, covered in column.coverage.items():
            assert covered.randomised == pytest.approx(share, abs=0.05)


def test_gaps_of_reliability_count_runs_by_what_is_expected_of_them():
    found = Reliability(
        np.array([0.1, 0.5]), np.array([0.2, 0.5]), np.array([0.05, 0.1]), np.array([100, 20])
    )
    assert found.gap == pytest.approx((10 * 0.1 + 10 * 0) / 20)
    assert found.gap_by_chance == pytest.approx(math.sqrt(2 / math.pi) * 0.075)
