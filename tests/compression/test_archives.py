"""What is decompressed equals what was compressed: any kind of column, container and network."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compression.compressed_tables import MODELS, fitted, table, with_holes

from chainrule import MADE, NADE, ConvNADE, OrderlessNADE, PixelCNN, load
from chainrule.baselines import Independent
from chainrule.compression import Compressor, compress, decompress, decompress_batches
from chainrule.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def models():
    """Return a function from a name to a model of `table(0)`, which is fitted once."""
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = fitted(name, table(0))
        return kept[name]

    return of


@pytest.fixture(scope="module")
def bits():
    """Return rows of bits, and a model that knows them well."""
    rng = np.random.default_rng(0)
    X = (rng.random((2000, 1)) < 0.5) ^ (rng.random((2000, 20)) < 0.1)
    return X, MADE((16,), max_epochs=10, random_state=0).fit(X)


# ---------------------------------------------------------------- equal to what went in


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_every_kind_come_back(models, name):
    model = models(name)
    for rows in (table(0), table(1), table(2).head(1)):
        back = decompress(model, compress(model, rows))
        assert back.equals(rows) and back.schema == rows.schema


@pytest.mark.parametrize("network", [ConvNADE, PixelCNN])
def test_images_come_back(network):
    X = (np.random.default_rng(0).random((40, 16)) < 0.3).astype(np.uint8)
    model = network(image_shape=(4, 4), max_epochs=1, random_state=0).fit(X)
    assert (decompress(model, compress(model, X)) == X).all()


@pytest.mark.parametrize("name", ["columns", "shared"])
def test_missing_cells_come_back(name):
    model = fitted(name, with_holes(table(0), 0))
    for rows in (with_holes(table(0), 0), with_holes(table(1), 1), table(2)):
        assert decompress(model, compress(model, rows)).equals(rows)


@settings(max_examples=25)
@given(st.data())
def test_arrays_of_any_numbers_come_back(data):
    n, d = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    decimals = data.draw(st.integers(0, 6))
    dtype = data.draw(st.sampled_from(["float64", "float32", "int64", "uint8", "int16", "object"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** data.draw(st.integers(-2, 4))

    def rows(size):
        numbers = rng.normal(size=(size, d)) * scale
        if dtype in ("int64", "uint8", "int16"):
            return np.rint(np.abs(numbers) % 250).astype(dtype)
        return np.round(numbers, decimals).astype(dtype)

    model = _ARRAY_MODEL().fit(rows(60))
    X = rows(n)
    back = decompress(model, compress(model, X))
    assert back.dtype == X.dtype and back.tolist() == X.tolist()


def _ARRAY_MODEL():
    return NADE(4, max_epochs=1, random_state=0)


def test_numbers_off_their_grid_come_back_with_their_signs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).round(2)
    model = MADE((8,), max_epochs=1, random_state=0).fit(X)
    X[:5, 0] = [1 / 3, -0.0, 1e19, -1e9, 5e-324]
    back = decompress(model, compress(model, X))
    assert (back == X).all() and (np.signbit(back) == np.signbit(X)).all()


def test_any_number_of_negative_zeros_comes_back():
    X = (np.random.default_rng(0).normal(size=(300, 2)) * 0.1).round(1)
    assert (np.signbit(X) & (X == 0)).mean() > 0.1
    model = NADE(4, max_epochs=1, random_state=0).fit(X)
    back = decompress(model, compress(model, X))
    assert (back == X).all() and (np.signbit(back) == np.signbit(X)).all()


def test_levels_never_seen_come_back(models):
    rows = table(0).with_columns(pl.lit("other").alias("constant"))
    rows[3, "city"] = "Bodø"
    model = models("made")
    assert decompress(model, compress(model, rows)).equals(rows)


def test_pandas_and_pyarrow_come_back():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": pd.array(rng.integers(0, 50, 100), dtype="Int64"),
            "b": pd.Categorical(rng.choice(["x", "y"], 100), categories=["x", "y", "z"]),
            "c": rng.normal(size=100).round(2),
            "d": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**6, 100), unit="s"),
            "e": rng.random(100) < 0.5,
        }
    )
    model = OrderlessNADE((8,), max_epochs=1, random_state=0).fit(frame)
    frame.loc[3, "a"], frame.loc[4, "b"], frame.loc[5, "c"], frame.loc[6, "d"] = pd.NA, None, np.nan, pd.NaT
    pd.testing.assert_frame_equal(decompress(model, compress(model, frame)), frame)
    arrow = pa.table({"a": rng.integers(0, 9, 100), "c": rng.normal(size=100).round(1).astype(np.float32)})
    model = NADE(4, max_epochs=1, random_state=0).fit(arrow)
    assert decompress(model, compress(model, arrow)).equals(arrow)


def test_a_declared_resolution_rounds_and_no_further():
    X = np.random.default_rng(0).normal(size=(100, 3))
    model = MADE((8,), max_epochs=1, random_state=0).fit(X)
    back = decompress(model, compress(model, X, resolution={0: 0.01, "x2": "1/3", "x3": 2}))
    steps = np.array([0.01, 1 / 3, 2])
    np.testing.assert_allclose(back, np.rint(X / steps) * steps, atol=1e-12)


def test_batches_come_back_in_parts_that_memory_holds(models, monkeypatch):
    monkeypatch.setattr("chainrule.compression.archives._CHUNK_CELLS", 14 * 70)
    model, file = models("columns"), io.BytesIO()
    compressor = Compressor(model, file)
    for part in table(1).iter_slices(100):
        compressor.add(part)
    compressor.finish()
    parts = list(decompress_batches(model, io.BytesIO(file.getvalue())))
    assert [len(part) for part in parts] == [70, 30] * 3
    assert pl.concat(parts).equals(table(1))


def test_a_saved_model_reads_what_the_fitted_one_wrote(models, tmp_path):
    for name in ("made", "columns", "ensemble"):
        data = compress(models(name), table(1))
        models(name).save(tmp_path / name)
        assert decompress(load(tmp_path / name), data).equals(table(1))


@pytest.mark.arithmetic
def test_neither_threads_nor_denormal_numbers_matter(models):
    model, n_threads = models("columns"), torch.get_num_threads()
    data = compress(model, table(1))
    try:
        torch.set_num_threads(2)
        torch.set_flush_denormal(True)
        assert compress(model, table(1)) == data
        assert decompress(model, data).equals(table(1))
        assert torch.get_num_threads() == 2 and (torch.tensor([1e-310], dtype=torch.float64) * 1.0 == 0).all()
    finally:
        torch.set_num_threads(n_threads)
        torch.set_flush_denormal(False)


def test_rows_that_break_a_rule_or_are_far_come_back():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 20, 200)
    rows = pl.DataFrame(
        {"low": low, "high": low + rng.integers(0, 20, 200), "x": rng.normal(size=200).round(2)}
    )
    model = OrderlessNADE((8,), rules=["low <= high"], max_epochs=1, random_state=0).fit(rows)
    for change in (pl.col("high") * 0, pl.col("x") * 1e30):
        file = io.BytesIO()
        compressor = Compressor(model, file, measures=True)
        compressor.add(changed := rows.with_columns(change).head(8))
        compressor.finish()
        assert decompress(model, file.getvalue()).equals(changed)
        assert not np.isfinite(compressor.nll_bits)


# ---------------------------------------------------------------- at the model's rate


def test_bits_are_those_of_the_model(bits):
    X, model = bits
    file = io.BytesIO()
    compressor = Compressor(model, file, measures=True)
    compressor.add(X)
    compressor.finish()
    nll = -model.score_samples(X).sum() / np.log(2)
    assert compressor.nll_bits == pytest.approx(nll, rel=1e-9)
    assert nll < 8 * len(file.getvalue()) < nll + 8 * 130 + 1e-3 * nll


@pytest.mark.parametrize("name", ["made", "columns"])
def test_bits_of_every_kind_are_those_of_the_model(models, name):
    file = io.BytesIO()
    compressor = Compressor(models(name), file, measures=True)
    rows = pl.concat([table(0)] * 10)
    compressor.add(rows)
    compressor.finish()
    assert 8 * len(file.getvalue()) < 1.001 * compressor.nll_bits + 8 * 250


def test_missing_cells_cost_what_their_frequencies_say():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (3000, 4)).astype(float)
    X[rng.random(3000) < 0.3, :3] = np.nan
    model = OrderlessNADE((4,), max_epochs=1, random_state=0).fit(X)
    nll = -model.score_samples(X).sum() / np.log(2)
    entropy = -3000 * (0.3 * np.log2(0.3) + 0.7 * np.log2(0.7))
    # The second and the third column are missing where the first is, which costs nothing.
    assert 8 * len(compress(model, X)) < nll + 1.05 * entropy + 8 * 200


def test_of_several_orders_that_with_the_most_probable_rows_is_taken():
    X = np.random.default_rng(0).integers(0, 2, (300, 6))
    model = NADE(8, n_orderings=3, max_epochs=2, random_state=0).fit(X)
    sizes = []
    for member in range(3):
        scores = model.model_.log_prob_of_member(torch.from_numpy(X).float(), member).sum()
        sizes.append(-float(scores) / np.log(2) / 8)
    assert len(compress(model, X)) < min(sizes) + 130


# ---------------------------------------------------------------- refused


def test_what_cannot_come_back_is_refused(models):
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = MADE((4,), max_epochs=1, random_state=0).fit(X)
    with pytest.raises(DataError, match="--resolution x1=0.01"):
        compress(model, X)
    for step in (0, -1, "nan", "inf", "a lot", 1e-12):
        with pytest.raises(DataError, match="above 0"):
            compress(model, X, resolution={0: step, 1: 0.1})
    with pytest.raises(DataError, match="needs no resolution"):
        compress(models("made"), table(0), resolution={"city": 1})
    with pytest.raises(DataError, match="too large"):
        compress(models("made"), table(0).with_columns(pl.col("id") * 8))
    small = MADE((4,), max_epochs=1, random_state=0).fit(np.arange(100, dtype=np.int8).reshape(50, 2))
    with pytest.raises(DataError, match="int8"):
        compress(small, np.full((3, 2), 300))


def test_times_finer_than_they_are_read_are_refused():
    times = pd.DataFrame({"t": pd.to_datetime(np.arange(50) * 10**9 + 10**18), "b": np.arange(50) % 7})
    model = NADE(4, max_epochs=1, random_state=0).fit(times)
    pd.testing.assert_frame_equal(decompress(model, compress(model, times)), times)
    with pytest.raises(DataError, match="microsecond"):
        compress(model, times.assign(t=times["t"] + pd.Timedelta(1, "ns")))


def test_values_in_a_column_that_was_empty_are_refused():
    rows = pl.DataFrame({"nothing": [None] * 50, "b": list(range(50))})
    model = NADE(4, max_epochs=1, random_state=0).fit(rows)
    assert decompress(model, compress(model, rows)).equals(rows)
    with pytest.raises(DataError, match="empty"):
        compress(model, rows.with_columns(pl.lit("something").alias("nothing")))


def test_models_without_a_chain_are_refused():
    X = np.random.default_rng(0).integers(0, 2, (50, 3))
    with pytest.raises(DataError, match="Independent has no chain"):
        compress(Independent().fit(X), X)
    conditional = NADE(4, max_epochs=1, random_state=0).fit(X, context=X[:, :1])
    with pytest.raises(DataError, match="context"):
        compress(conditional, X)
