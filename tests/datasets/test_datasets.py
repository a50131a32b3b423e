"""Named, synthetic and split data sets."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from chainrule.datasets import Dataset, dataset_names, load_dataset, load_rows
from chainrule.datasets.core import Parts
from chainrule.datasets.splits import complete_parts, split_rows
from chainrule.datasets.synthetic import TWO_GAUSSIANS, sample_table, table_entropy
from chainrule.errors import DataError
from chainrule.schema import Schema

SIZES = {
    "digits": (1437, 180, 180),
    "two-gaussians": (5000, 1000, 5000),
    "cs294-2d": (80_000, 10_000, 10_000),
    "binarized-mnist": (50_000, 10_000, 10_000),
    "mnist": (50_000, 10_000, 10_000),
    "fashion-mnist": (50_000, 10_000, 10_000),
    "emnist-balanced": (94_000, 18_800, 18_800),
    "emnist-letters": (104_000, 20_800, 20_800),
    "emnist-digits": (200_000, 40_000, 40_000),
    "red-wine": (1279, 160, 160),
    "white-wine": (3918, 490, 490),
    "nltcs": (16_181, 2157, 3236),
    "msnbc": (291_326, 38_843, 58_265),
    "kdd": (180_092, 19_907, 34_955),
    "baudio": (15_000, 2000, 3000),
    "bnetflix": (15_000, 2000, 3000),
    "accidents": (12_758, 1700, 2551),
    "tretail": (22_041, 2938, 4408),
    "dna": (1600, 400, 1186),
    "kosarek": (33_375, 4450, 6675),
    "tmovie": (4524, 1002, 591),
    "cr52": (6532, 1028, 1540),
    "c20ng": (11_293, 3764, 3764),
    "ad": (2461, 327, 491),
    "uci-adult": (5000, 1414, 26_147),
    "uci-connect4": (16_000, 4000, 47_557),
    "uci-dna": (1400, 600, 1186),
    "uci-mushrooms": (2000, 500, 5624),
    "uci-nips": (400, 100, 1240),
    "uci-ocr-letters": (32_152, 10_000, 10_000),
    "uci-web": (14_000, 3188, 32_561),
}


# Sets of which the files may be absent, and their folders.
GIVEN = {"fashion-mnist": "fashion_mnist", **dict.fromkeys(list(SIZES)[6:9], "emnist")}


def sizes(dataset):
    return len(dataset.train), len(dataset.valid), len(dataset.test)


# ---------------------------------------------------------------- named sets


def test_every_named_set_is_listed_once():
    metadata = dataset_names()
    assert [info.name for info in metadata] == list(SIZES)
    assert all(info.description and info.source and info.licence for info in metadata)


@pytest.mark.parametrize("info", dataset_names(), ids=lambda info: info.name)
def test_named_sets_load_as_promised(info, data_folder):
    folder = data_folder / GIVEN.get(info.name, "")
    if not folder.is_dir():
        pytest.skip(f"there are no files of {info.name} here")
    dataset = load_dataset(info.name)
    assert dataset.name == info.name
    assert sizes(dataset) == SIZES[info.name]
    assert dataset.n_variables == info.n_variables
    schema = Schema.infer(dataset.train, dataset.kinds)
    assert set(schema.kinds) == {info.kind}
    for rows in (dataset.valid, dataset.test):
        assert schema.encode(rows).shape == rows.shape


def test_digits_need_no_file(monkeypatch):
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    dataset = load_dataset("digits")
    assert sizes(dataset) == SIZES["digits"]
    assert dataset.image_shape == (8, 8)
    assert set(np.unique(dataset.train)) == {0, 1}
    assert "seed 0" in dataset.split
    assert load_rows("digits").shape == (1797, 64)


def test_mnist_is_grey_and_keeps_its_last_training_rows_for_validation(data_folder):
    dataset = load_dataset("mnist")
    schema = Schema.infer(dataset.train, dataset.kinds)
    assert {(v.low, v.high) for v in schema.variables} == {(0, 255)}
    np.testing.assert_array_equal(dataset.valid, load_rows("mnist")[50_000:60_000])
    assert load_dataset("mnist", image_size=(14, 14)).train.shape == (50_000, 196)


def test_binarized_mnist_has_the_known_means(data_folder):
    dataset = load_dataset("binarized-mnist")
    means = [rows.mean() for rows in (dataset.train, dataset.valid, dataset.test)]
    np.testing.assert_allclose(means, [0.13056, 0.13113, 0.13251], atol=1e-5)


def test_cs294_has_the_known_entropy(data_folder):
    assert load_dataset("cs294-2d").entropy / np.log(2) == pytest.approx(15.1769, abs=5e-5)


def test_the_two_dna_sets_are_the_same_rows_split_differently(data_folder):
    ours, theirs = load_rows("dna"), load_rows("uci-dna")
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))
    np.testing.assert_array_equal(load_dataset("dna").test, load_dataset("uci-dna").test)


def test_wine_has_its_measurements_without_the_score(data_folder):
    wine = load_dataset("red-wine").train
    assert wine.columns[0] == "fixed acidity"
    assert "quality" not in wine.columns
    assert set(wine.dtypes) == {pl.Float64}


def test_names_forgive_case_and_underscores():
    assert load_dataset("Two_Gaussians").name == "two-gaussians"


def test_the_seed_decides_the_split():
    first, again, other = (load_dataset("digits", random_state=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


def test_an_image_size_is_refused_where_rows_are_no_images():
    with pytest.raises(DataError, match="the rows of two-gaussians are not images"):
        load_dataset("two-gaussians", image_size=(4, 4))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "neither an existing file nor a named data set; did you mean digits"),
        ("netflix", "did you mean bnetflix"),
        ("no-such-thing-at-all.csv", "neither an existing file nor a named data set$"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(DataError, match=message):
        load_dataset(name)


def test_listing_and_loading_import_no_torch():
    code = (
        "import sys; from chainrule.datasets import dataset_names, load_dataset; dataset_names(); "
        "assert not {'polars', 'pandas', 'sklearn', 'scipy', 'pooch'} & set(sys.modules); "
        "load_dataset('digits'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- synthetic


def test_entropy_of_two_gaussians_agrees_with_draws():
    draws = TWO_GAUSSIANS.sample(200_000, np.random.default_rng(0))
    surprise = -TWO_GAUSSIANS.log_density(draws)
    error = surprise.std() / np.sqrt(len(surprise))
    assert abs(surprise.mean() - TWO_GAUSSIANS.entropy()) < 4 * error
    assert load_dataset("two-gaussians").entropy == TWO_GAUSSIANS.entropy()


def test_entropy_of_two_gaussians_does_not_depend_on_the_grid():
    assert TWO_GAUSSIANS.entropy(501) == pytest.approx(TWO_GAUSSIANS.entropy(1001), abs=1e-9)


def test_draws_from_a_table_follow_it():
    table = np.array([[0.1, 0.0, 0.2], [0.3, 0.25, 0.15]])
    cells = sample_table(table, 100_000, np.random.default_rng(0))
    counts = np.zeros((2, 3))
    np.add.at(counts, tuple(cells.T), 1)
    error = np.sqrt(table * (1 - table) / len(cells))
    assert (np.abs(counts / len(cells) - table) <= 4 * error).all()
    assert table_entropy(table) == pytest.approx(-sum(p * np.log(p) for p in table.ravel() if p))


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize("n_rows", [4, 5, 9, 10, 11, 99, 1797])
def test_a_split_uses_every_row_once(n_rows):
    parts = split_rows(n_rows, random_state=3)
    assert sorted(np.concatenate(parts)) == list(range(n_rows))
    assert len(parts[0]) >= 2
    assert len(parts[1]) == len(parts[2]) == max(1, round(n_rows / 10))


@pytest.mark.parametrize(
    ("given", "expected", "sentence"),
    [
        ({}, (80, 10, 10), "shuffled with seed 7, split 80/10/10"),
        ({"test": 30}, (90, 10, 30), "Test rows as given by the source; 10 %.*seed 7, for validation"),
        ({"valid": 30}, (90, 30, 10), "Validation rows as given by the source; 10 %.*seed 7, for testing"),
        ({"valid": 20, "test": 30}, (100, 20, 30), "validation and test rows as given by the source"),
    ],
)
def test_what_the_source_does_not_give_is_split_off(given, expected, sentence):
    parts = Parts(np.arange(100)[:, None], **{part: np.full((n, 1), -1) for part, n in given.items()})
    *rows, split = complete_parts(parts, random_state=7)
    assert tuple(map(len, rows)) == expected
    drawn = np.concatenate([r for r in rows if r[0, 0] >= 0]).ravel()
    assert sorted(drawn) == list(range(100))
    assert re.search(sentence, split)


@pytest.mark.parametrize("n_rows", [1, 3])
def test_too_few_rows_to_split(n_rows):
    with pytest.raises(DataError, match=f"{n_rows} row.* cannot be split .*at least 4"):
        complete_parts(Parts(np.zeros((n_rows, 2))), random_state=0)
    with pytest.raises(DataError, match="too few to split some off"):
        complete_parts(Parts(np.zeros((n_rows, 2)), test=np.zeros((2, 2))), random_state=0)


def test_parts_of_different_widths_are_refused():
    with pytest.raises(DataError, match=r"same number of columns, got test of shape \(2, 4\)"):
        Dataset("mine", np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(DataError, match="mine: valid has no rows"):
        Dataset("mine", np.zeros((2, 3)), np.zeros((0, 3)), np.zeros((2, 3)))
