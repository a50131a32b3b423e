"""Rows that lie in files are the rows of the table, and their schema is that of all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from chainrule.batches import LargeTable, storing
from chainrule.batches.storing import store
from chainrule.datasets import hashed_parts
from chainrule.schema import Schema

SEED = 4


def table(n=6000):
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "x": np.where(rng.random(n) < 0.2, 0.0, rng.normal(size=n)),
            "n": rng.integers(0, 1000, n),
            "wide": (rng.lognormal(12, 1, n)).astype(int),
            "rare": np.where(rng.random(n) < 0.001, "rare", rng.choice(["a", "b"], n)),
            "bit": rng.integers(0, 2, n),
            "day": pl.Series(rng.integers(0, 3000, n)).cast(pl.Int32).cast(pl.Date),
            "name": [f"person {i}" for i in range(n)],
        }
    )


def training_rows(rows):
    return rows.filter(hashed_parts(np.arange(len(rows), dtype=np.uint64), SEED) == 0)


@pytest.fixture
def small(monkeypatch):
    """Let a sample be much smaller than the table."""
    monkeypatch.setattr(storing, "_SAMPLE_ROWS", 500)


def stored(rows, folder, **changes):
    options = {"memory": 2**19, "missing": False, "random_state": SEED} | changes
    rows.write_parquet(folder / "rows.parquet", row_group_size=1000)
    large = LargeTable(pl.scan_parquet(folder / "rows.parquet"), folder / "rows.parquet")
    (folder / "codes").mkdir()
    return store(large, folder / "codes", **options)


def test_the_schema_is_that_of_the_training_rows(tmp_path, small):
    rows = table()
    with pytest.warns(UserWarning, match="is left out: 'name'; to keep"):
        found = stored(rows, tmp_path)
    expected = Schema.infer(training_rows(rows).drop("name"))
    assert found.schema.names == expected.names
    assert found.schema.kinds == expected.kinds
    assert [v.levels for v in found.schema.variables if v.kind == "categorical"] == [
        v.levels for v in expected.variables if v.kind == "categorical"
    ]
    ranges = [(v.levels[0], v.levels[-1]) for v in found.schema.variables if v.kind == "ordinal"]
    assert ranges == [(v.levels[0], v.levels[-1]) for v in expected.variables if v.kind == "ordinal"]


def test_the_files_hold_each_training_row_once(tmp_path, small):
    rows = table()
    found = stored(rows, tmp_path)
    assert len(found.files) > 3
    codes = np.concatenate([np.fromfile(path, np.float32).reshape(-1, 6) for path in found.files])
    train = training_rows(rows).drop("name")
    expected = found.schema.coarse(found.schema.encode(train))
    assert found.n_rows[0] == len(train) == len(codes)
    np.testing.assert_array_equal(codes[np.lexsort(codes.T)], expected[np.lexsort(expected.T)])
    log_det = found.schema.log_abs_det_jacobian(found.schema.encode(train)).mean()
    assert found.log_det == pytest.approx(log_det, rel=1e-12)


def test_each_file_is_a_random_share(tmp_path, small):
    rows = table().with_columns(n=pl.int_range(6000) // 10)  # sorted
    found = stored(rows, tmp_path)
    means = [np.fromfile(path, np.float32).reshape(-1, 6)[:, 1].mean() for path in found.files]
    assert len(means) > 3
    assert np.ptp(means) < 8 * 173 / np.sqrt(6000 * 0.8 / len(means))


def test_validation_rows_are_those_of_the_split(tmp_path):
    rows = table()
    found = stored(rows, tmp_path)
    parts = hashed_parts(np.arange(len(rows), dtype=np.uint64), SEED)
    valid = rows.filter(parts == 1).drop("name")
    expected = found.schema.encode(valid, unseen=-np.inf)
    known = (expected != -np.inf).all(axis=1)
    np.testing.assert_array_equal(found.codes_val, expected[known])
    assert found.n_rows == np.bincount(parts).tolist()
    assert found.rows is None


def test_rows_that_are_kept_are_samples_of_their_parts(tmp_path, small):
    rows = table()
    found = stored(rows, tmp_path, keep_rows=True)
    assert len(found.rows.train) == len(found.rows.test) == 500
    assert 200 < len(found.rows.valid) < 300  # half as many are wanted
    parts = hashed_parts(np.arange(len(rows), dtype=np.uint64), SEED)
    for number, part in enumerate((found.rows.train, found.rows.valid, found.rows.test)):
        there = rows.with_row_index().filter(parts == number)
        places = there.join(part, on=["x", "n", "wide"], how="semi")["index"]
        assert len(places) == len(part)
        assert there.filter(pl.col("index").is_in(places.implode())).select(part.columns).equals(part)
        # Of all parts of the table: half of the sample lies in each half, but for chance.
        assert abs((places < 3000).mean() - 0.5) < 5 * 0.5 / np.sqrt(len(part))
    np.testing.assert_array_equal(found.plain.encode(found.rows.train), found.codes)
    np.testing.assert_array_equal(found.plain.encode(found.rows.valid), found.codes_val)


def test_wide_tables_have_smaller_samples(tmp_path):
    def n_sampled(n_columns, memory):
        frame = pl.LazyFrame({f"x{i}": [0.0] for i in range(n_columns)})
        return LargeTable(frame, tmp_path).n_sampled(memory)

    assert n_sampled(10, 2**30) == 2**18
    assert 0.99 < n_sampled(1000, 2**34) * 1000 * storing._BYTES_PER_CELL / 2**31 <= 1
    assert n_sampled(1000, 1) == 2**14


def test_missing_cells_are_stored_as_such(tmp_path, small):
    rows = table().with_columns(bit=pl.when(pl.col("n") % 3 > 0).then(pl.col("bit")))
    found = stored(rows, tmp_path, missing=True)
    codes = np.concatenate([np.fromfile(path, np.float32).reshape(-1, 6) for path in found.files])
    assert np.isnan(codes[:, 4]).sum() == training_rows(rows)["bit"].null_count()
    assert found.has_missing


def test_an_empty_column_lacks_nothing(tmp_path):
    found = stored(table().with_columns(bit=pl.lit(None, pl.Int64)), tmp_path, missing=True)
    assert not found.has_missing
    assert found.schema.kinds[4] == "empty"


def test_declared_kinds_hold(tmp_path, small):
    rows = table()
    rows.write_parquet(tmp_path / "rows.parquet")
    large = LargeTable(pl.scan_parquet(tmp_path / "rows.parquet"), tmp_path / "rows.parquet")
    schema, _ = replace(large, kinds={"n": "continuous"}).learn(False, SEED, 1000)
    assert schema.kinds[1] == "continuous"


def test_the_split_is_a_tenth_each_whatever_the_seed():
    numbers = np.arange(100_000, dtype=np.uint64)
    splits = [hashed_parts(numbers, seed) for seed in range(3)]
    for parts in splits:
        np.testing.assert_allclose(np.bincount(parts) / 100_000, [0.8, 0.1, 0.1], atol=0.004)
    assert (splits[0] == splits[1]).mean() < 0.7
    np.testing.assert_array_equal(hashed_parts(numbers[777:], 0), splits[0][777:])
