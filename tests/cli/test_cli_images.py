"""Networks for images from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from chainrule import load
from chainrule.cli import run, validating
from chainrule.datasets import load_dataset


@pytest.fixture
def images(tmp_path):
    """Return a file of images of 3 x 5 pixels in colour."""
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 2, (60, 3, 5, 3), dtype=np.uint8))
    return tmp_path / "a.npy"


def fit(images, folder, capsys):
    options = ["--model", "conv-nade", "--max-epochs", "1", "--json", "-", "--out", str(folder)]
    assert run(["fit", str(images), *options]) == 0
    said = capsys.readouterr()
    return json.loads(said.out)["valid_log_likelihood"], said.err


def test_the_shape_of_images_reaches_the_network(images, tmp_path, capsys):
    reached, _ = fit(images, tmp_path / "model", capsys)
    model, valid = load(tmp_path / "model"), load_dataset(images).valid
    assert tuple(model.image_shape) == (3, 5, 3)
    assert reached == pytest.approx(model.score(valid))


def test_validation_rows_that_would_take_long_are_told_of_by_the_estimate_of_the_fit(
    images, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(validating, "_MAX_COST", 0)
    reached, said = fit(images, tmp_path / "model", capsys)
    assert "the fit's estimate" in said
    assert reached == -load(tmp_path / "model").history_.best_nll


def test_a_folder_is_read_as_the_images_that_the_model_knows(tmp_path, capsys):
    folder, size = tmp_path / "images", ["--image-size", "4x6x3"]
    folder.mkdir()
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 6, 3), dtype=np.uint8)):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    network = ["--model", "pixel-cnn", "--n-filters", "2", "--n-layers", "1", "--max-epochs", "1"]
    model = str(tmp_path / "model")
    assert run(["fit", str(folder), *network, *size, "--out", model]) == 0
    capsys.readouterr()

    def answer(*command):
        assert run([*command, "--json", "-"]) == 0
        return json.loads(capsys.readouterr().out)

    asked, again = (
        answer("score", model, str(folder), *options)["mean_log_likelihood"] for options in ([], size)
    )
    assert asked == again
    assert answer("compress", model, str(folder), "--out", str(tmp_path / "rows.bin"))["n_rows"] == 40
