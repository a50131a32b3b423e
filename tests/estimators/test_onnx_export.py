"""The ONNX graph gives the log-likelihoods of `score_samples`, and the JSON file the codes of its input."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import MADE, NADE, Independent, OrderlessNADE, export_onnx
from chainrule.errors import MissingPackageError, ParameterError, QueryError
from chainrule.estimators.onnx_export import columns_file, recorded
from strategies import build, random_rows, specs

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SMALL = {"max_epochs": 3, "random_state": 0}
FITS = {
    "nade": NADE(hidden_size=8, n_orderings=2, **SMALL),
    "made": MADE(hidden_sizes=(16, 16), residual=True, n_masks=3, **SMALL),
    "fixed made": MADE(hidden_sizes=(16,), ordering="natural", **SMALL),
    "columns": OrderlessNADE(network="columns", hidden_sizes=(8, 8), **SMALL),
    "shared": OrderlessNADE(
        network="shared", hidden_sizes=(16,), n_orderings=2, max_epochs=3, random_state=0
    ),
}


class LogProb(torch.nn.Module):
    """The model alone, whose codes are what it sees."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, codes):
        return self.model.log_prob(codes)


def nats_of(content, codes):
    """Return what ONNX's own runtime says of codes."""
    session = onnxruntime.InferenceSession(content)
    (nats,) = session.run(["log_likelihood"], {"codes": codes})
    assert nats.dtype == np.float64
    return nats


def code_of(column, values):
    """Return codes as docs/interfaces.md says."""
    if column["code"] == "the number of the level, from 0":
        return np.array([column["levels"].index(value) for value in values])
    if column["code"] == "value - first":
        return np.clip(values, column["first"], column["last"]) - column["first"]
    codes = (np.asarray(values, float) - column["location"]) / column["scale"]
    for value, code in column["point_masses"]:
        codes[values == value] = code
    return codes


@pytest.fixture(scope="module")
def table():
    """Rows of every kind of column that can be exported, one with bins and one with point masses."""
    rng = np.random.default_rng(0)
    n = 2000
    state = rng.choice(["NY", "NJ", "CT"], n)
    return pd.DataFrame(
        {
            "state": state,
            "smokes": rng.integers(0, 2, n),
            "hours": np.clip(np.rint(rng.normal(40, 12, n)), 1, 99).astype(int),
            "income": np.rint(np.exp(rng.normal(10, 1, n))).astype(int),
            "gain": np.where(rng.random(n) < 0.7, 0.0, rng.normal(5000, 900, n)),
            "height": rng.normal(170, 9, n) + 8 * (state == "NY"),
        }
    )


@pytest.fixture(scope="module", params=FITS)
def model(request, table):
    return FITS[request.param].fit(table)


def test_a_graph_gives_the_log_likelihoods_of_rows_coded_by_hand(model, table, tmp_path):
    path = tmp_path / "model.onnx"
    export_onnx(model, path)
    described = json.loads(columns_file(path).read_text())
    columns = described["columns"]
    assert [column["name"] for column in columns] == list(table.columns)
    codes = np.stack([code_of(each, table[each["name"]].to_numpy()) for each in columns], axis=1)
    codes = codes.astype(np.float32)
    np.testing.assert_allclose(codes, model.schema_.encode(table), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(nats_of(path.read_bytes(), codes), model.score_samples(table), **CLOSE)


def test_a_graph_takes_any_number_of_rows(model, table, tmp_path):
    export_onnx(model, tmp_path / "model.onnx")
    content, codes = (tmp_path / "model.onnx").read_bytes(), model.schema_.encode(table)
    for n in (1, 3, 40):
        np.testing.assert_allclose(nats_of(content, codes[:n]), model.score_samples(table[:n]), **CLOSE)


def test_models_of_any_order_answer_under_as_many_orders_as_asked_for(table, tmp_path):
    for name in ("columns", "shared"):
        model = FITS[name].fit(table)
        export_onnx(model, tmp_path / "model.onnx", n_orders=3)
        nats = nats_of((tmp_path / "model.onnx").read_bytes(), model.schema_.encode(table))
        np.testing.assert_allclose(nats, model.score_samples(table, n_orders=3), **CLOSE)
        assert json.loads(columns_file(tmp_path / "model.onnx").read_text())["n_averaged"] == 3


def test_an_export_changes_nothing_in_the_model(model, table, tmp_path):
    before = model.score_samples(table[:50])
    export_onnx(model, tmp_path / "model.onnx")
    assert np.array_equal(model.score_samples(table[:50]), before)


EXPORTED = ("nade", "made", "columns", "orderless")


@settings(max_examples=8)
@given(
    specs(context=False, activations=("relu", "tanh", "silu", "gelu"), networks=EXPORTED),
    st.integers(0, 2**20),
)
def test_random_networks_and_families(spec, seed):
    model = build(spec, dtype=torch.float32)
    x = random_rows(spec, 20, seed, torch.float32)
    content = recorded(LogProb(model), spec.n_variables)
    with torch.no_grad():
        expected = model.log_prob(x).numpy()
    np.testing.assert_allclose(nats_of(content, x.numpy()), expected, rtol=1e-5, atol=2e-5)


def test_numbers_far_out_have_the_tails_of_a_logistic(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    model = MADE(hidden_sizes=(8,), mixture="logistic", max_epochs=1, random_state=0).fit(rows)
    far = pd.DataFrame({"a": [40.0, -90.0, 0.0], "b": [0.0, 60.0, -300.0]})
    export_onnx(model, tmp_path / "model.onnx")
    nats = nats_of((tmp_path / "model.onnx").read_bytes(), model.schema_.encode(far))
    assert (nats < -20).all()
    np.testing.assert_allclose(nats, model.score_samples(far), **CLOSE)


@pytest.mark.parametrize("mixture", ["gaussian", "spline"])
def test_columns_that_go_through_normal_scores(mixture, tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(np.exp(rng.normal(0, 0.5, (14_000, 2))), columns=["a", "b"])
    model = MADE(hidden_sizes=(8,), mixture=mixture, max_epochs=1, random_state=0).fit(rows)
    assert all(variable.support.knots for variable in model.schema_.variables)
    export_onnx(model, tmp_path / "model.onnx")
    nats = nats_of((tmp_path / "model.onnx").read_bytes(), model.schema_.encode(rows))
    expected = model.score_samples(rows)
    close = np.isclose(nats, expected, **CLOSE)
    # Where a spline is steep, single precision knows no better: see the rows that are left out.
    assert close.mean() >= {"gaussian": 1, "spline": 0.999}[mixture]
    np.testing.assert_allclose(nats, expected, rtol=1e-3)


def test_what_cannot_be_exported_is_refused_by_name(table, tmp_path):
    path = tmp_path / "model.onnx"
    numbers = table[["smokes", "height"]]
    small = {"hidden_sizes": (4,), **SMALL}
    with pytest.raises(ParameterError, match="Independent cannot be exported"):
        export_onnx(Independent().fit(numbers), path)
    with pytest.raises(ParameterError, match="a model with context"):
        export_onnx(MADE(**small).fit(numbers, context=table[["hours"]]), path)
    with pytest.raises(ParameterError, match="a model with rules"):
        rules = OrderlessNADE(rules=["smokes <= hours"], **small)
        export_onnx(rules.fit(table[["smokes", "hours"]]), path)
    with pytest.raises(ParameterError, match="cannot be exported: .*lgamma"):
        export_onnx(MADE(kinds={"hours": "count"}, **small).fit(table[["hours", "smokes"]]), path)
    with pytest.raises(QueryError, match="n_orders is for models of any order"):
        export_onnx(MADE(**small).fit(numbers), path, n_orders=2)
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_how_to_install_it(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    model = MADE(hidden_sizes=(4,), max_epochs=1).fit(table[["smokes", "height"]])
    with pytest.raises(MissingPackageError, match=r"pip install 'chainrule\[onnx\]'"):
        export_onnx(model, tmp_path / "model.onnx")
