"""PixelCNN as an estimator: shapes and scans of images, columns that differ, what files may say."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from chainrule import PixelCNN, load
from chainrule.cli.app import run
from chainrule.errors import ParameterError, StorageError
from chainrule.image_shape import ImageShape

FIT = {"n_filters": 6, "n_layers": 1, "max_epochs": 1, "random_state": 0}


def images(n=60, shape=(3, 4), n_levels=2, seed=0):
    return np.random.default_rng(seed).integers(0, n_levels, (n, *shape)).astype(np.uint8)


def rows(**given):
    return images(**given).reshape(given.get("n", 60), -1)


# ---------------------------------------------------------------- shapes and scans


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ImageShape(1, 12)), ([4, 3], ImageShape(4, 3)), (np.array([2, 2, 3]), ImageShape(2, 2, 3))],
)
def test_the_shape_is_the_one_that_is_given_or_a_square_or_a_line(given, expected):
    model = PixelCNN(image_shape=given, **FIT).fit(rows())
    assert model.model_.conditioner.image_shape == expected


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ParameterError, match=r"images of shape \(5, 2\) have 10 values, .* 12 columns"):
        PixelCNN(image_shape=(5, 2), **FIT).fit(rows())
    with pytest.raises(ParameterError, match="kernel_size must be odd"):
        PixelCNN(kernel_size=4, **FIT).fit(rows())


@pytest.mark.parametrize(("shape", "n_scans"), [((3, 3), 8), ((3, 4), 4), ((1, 5), 2)])
def test_no_more_scans_are_averaged_than_there_are(shape, n_scans):
    model = PixelCNN(image_shape=shape, n_orderings=50, **FIT).fit(rows(shape=shape))
    orders = model.model_.conditioner.orders
    assert torch.equal(orders, ImageShape(*shape).scans()) and len(orders) == n_scans


def test_the_first_scan_is_the_one_asked_for():
    scans = ImageShape(3, 3).scans()
    given = PixelCNN(ordering=scans[5].tolist(), n_orderings=3, **FIT).fit(rows(shape=(3, 3)))
    assert torch.equal(given.model_.conditioner.orders, torch.stack([scans[5], scans[0], scans[1]]))
    firsts = set()
    for seed in range(8):
        drawn = PixelCNN(ordering="random", **FIT | {"random_state": seed}).fit(rows(shape=(3, 3)))
        (first,) = drawn.model_.conditioner.orders
        assert (scans == first).all(1).any()
        firsts.add(tuple(first.tolist()))
    assert len(firsts) > 2


@pytest.mark.parametrize(
    ("shape", "given", "expected"),
    [((16, 18), None, 2), ((16, 17), None, 1), ((14, 18), None, 1), ((4, 6), 2, 2), ((16, 16), 1, 1)],
)
def test_larger_images_are_read_by_cells(shape, given, expected):
    model = PixelCNN(image_shape=shape, cell_size=given, **FIT).fit(rows(shape=shape))
    cells, columns = ImageShape(*shape).in_cells(expected)
    assert model.model_.conditioner.cells == cells
    assert torch.equal(model.model_.conditioner.orders, columns[cells.scans()[:1]])


def test_cells_that_reach_beyond_the_image_are_refused():
    with pytest.raises(ParameterError, match=r"3 x 4 pixels have no whole number of cells of 2 x 2"):
        PixelCNN(image_shape=(3, 4), cell_size=2, **FIT).fit(rows())


def test_what_was_saved_before_there_were_cells_reads_pixel_by_pixel(tmp_path):
    X = rows(shape=(16, 16))
    model = PixelCNN(cell_size=1, **FIT).fit(X)
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    document = json.loads(path.read_text())
    del document["parameters"]["cell_size"]
    path.write_text(json.dumps(document))
    restored = load(tmp_path / "model")
    assert restored.cell_size == 1
    assert np.array_equal(restored.score_samples(X), model.score_samples(X))


# ---------------------------------------------------------------- columns that differ


def sum_over_all(model, levels, columns=None):
    every = np.array(list(itertools.product(*levels)))
    every = every if columns is None else pd.DataFrame(every, columns=columns)
    return np.exp(model.score_samples(every)).sum()


def test_pixels_that_never_change_share_the_levels_of_the_others():
    X = rows(shape=(3, 3))
    X[:, [0, 2, 8]] = 0
    model = PixelCNN(**FIT).fit(X)
    assert set(model.families_) == {"bernoulli"}
    assert sum_over_all(model, [(0, 1)] * 9) == pytest.approx(1, abs=1e-5)


def test_pixels_of_a_table_may_have_levels_of_their_own():
    """Columns of a table are coded one by one: features and params of several widths stand in one image."""
    levels = [range(2), range(5), range(3), range(1, 9)]
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{d}": generator.choice(each, 400) for d, each in enumerate(levels)})
    kinds = dict.fromkeys(frame.columns[1:], "ordinal")
    model = PixelCNN(image_shape=(2, 2), n_orderings=2, kinds=kinds, **FIT).fit(frame)
    assert len(set(np.diff(model.model_.conditioner.starts))) > 1
    assert sum_over_all(model, levels, frame.columns) == pytest.approx(1, abs=1e-5)


def test_what_lines_have_in_common_is_learned():
    """All four lines are alike, drawn evenly: 4 ln 2 nats, of which no line by itself knows."""
    line = np.random.default_rng(0).integers(0, 2, (1000, 1, 4))
    X = np.repeat(line, 4, axis=1).reshape(1000, 16)
    model = PixelCNN(8, n_layers=2, n_orderings=2, max_epochs=9, random_state=0).fit(X[:800], X_val=X[800:])
    assert -4 * np.log(2) - 0.15 < model.score(X[800:]) < -4 * np.log(2) + 0.15


def test_embeddings_are_of_the_whole_image_but_its_last_pixel():
    X = rows(shape=(3, 3))
    model = PixelCNN(**FIT).fit(X)
    changed = X.copy()
    changed[:, 8] ^= 1
    assert model.embed(X).shape == (60, 6)
    assert np.array_equal(model.embed(changed), model.embed(X))
    changed[:, 0] ^= 1
    assert not np.array_equal(model.embed(changed), model.embed(X))


# ---------------------------------------------------------------- files and commands


@pytest.mark.parametrize(
    "altered",
    [
        {"image_shape": [1, 12]},
        {"image_shape": [3, 5]},
        {"image_shape": "ab"},
        {"n_layers": 200},
        {"n_layers": 10**12},
        {"n_filters": 10**12},
        {"kernel_size": 10**12 + 1},
        {"kernel_size": 4},
        {"cell_size": 2},
        {"cell_size": 10**12},
        {"n_orderings": 2},
    ],
    ids=str,
)
def test_altered_sizes_are_refused(altered, tmp_path):
    folder = tmp_path / "model"
    PixelCNN(image_shape=(3, 4), **FIT).fit(rows()).save(folder)
    path = folder / "model.json"
    document = json.loads(path.read_text())
    document["parameters"] |= altered
    path.write_text(json.dumps(document))
    with pytest.raises(StorageError):
        load(folder)


def test_commands_know_the_shape_of_the_images(tmp_path, capsys):
    """That of a file of images; a model saved by `fit` and one by `compare` have it among their arguments."""
    path = tmp_path / "images.npy"
    np.save(path, images(n=100))
    sizes = ["--n-filters", "6", "--n-layers", "1", "--kernel-size", "3"]
    fit = ["fit", str(path), "--model", "pixel-cnn", "--max-epochs", "1", "--out", str(tmp_path / "a")]
    assert run([*fit, *sizes]) == 0
    out = ["--max-epochs", "1", "--out", str(tmp_path / "b")]
    assert run(["compare", str(path), "--models", "independent,pixel-cnn", *out]) == 0
    sweep = ["sweep", str(path), "--model", "pixel-cnn", "--grid", "n_filters=2,4"]
    assert run([*sweep, "--max-epochs", "1", "--out", str(tmp_path / "c")]) == 0
    models = [tmp_path / "a", tmp_path / "b" / "models" / "pixel-cnn", tmp_path / "c" / "model"]
    for folder in models:
        assert load(folder).image_shape == (3, 4), folder
    flat = tmp_path / "flat.npy"
    np.save(flat, rows(n=100))
    assert run([*fit[:1], str(flat), *fit[2:-1], str(tmp_path / "d")]) == 0
    assert load(tmp_path / "d").image_shape is None
    capsys.readouterr()
    assert run([*fit, "--hidden-sizes", "8"]) == 2
    assert re.search(r"pixel-cnn has no option --hidden-sizes", capsys.readouterr().err)
