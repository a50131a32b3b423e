"""Images in colour, and sets of images whose files are the user's."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from chainrule.datasets import load_dataset, load_rows
from chainrule.errors import DataError

COLOURS = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of colour images."""
    path = tmp_path / "faces"
    path.mkdir()
    for number, image in enumerate(COLOURS):
        Image.fromarray(image).save(path / f"{number:02}.png")
    return path


def test_images_are_read_in_colour_where_it_is_asked_for(folder, tmp_path):
    with tarfile.open(tmp_path / "faces.tar", "w") as archive:
        archive.add(folder, "faces")
    for path in (folder, tmp_path / "faces.tar"):
        dataset = load_dataset(path, image_size=(4, 5, 3))
        assert dataset.image_shape == (4, 5, 3) and dataset.kinds == "ordinal"
        rows = load_rows(path, image_size=(4, 5, 3))
        np.testing.assert_array_equal(rows.reshape(10, 4, 5, 3), COLOURS)
    assert load_dataset(folder).image_shape == (4, 5)
    assert load_dataset(folder, image_size=(4, 5)).train.shape == (8, 20)


def test_grey_images_in_colour_have_three_equal_channels(tmp_path):
    (tmp_path / "grey").mkdir()
    Image.fromarray(COLOURS[0, ..., 0]).save(tmp_path / "grey" / "a.png")
    row = load_rows(tmp_path / "grey", image_size=(4, 5, 3)).reshape(4, 5, 3)
    np.testing.assert_array_equal(row, np.repeat(COLOURS[0, ..., :1], 3, axis=2))


def test_arrays_of_colour_images_keep_their_channels(tmp_path):
    np.save(tmp_path / "a.npy", COLOURS)
    dataset = load_dataset(tmp_path / "a.npy")
    assert dataset.image_shape == (4, 5, 3)
    np.testing.assert_array_equal(load_rows(tmp_path / "a.npy"), COLOURS.reshape(10, 60))
    for size in ((2, 3), (2, 3, 3)):
        assert load_dataset(tmp_path / "a.npy", image_size=size).image_shape == (2, 3, 3)
    plain = np.broadcast_to(np.array([10, 200, 30], dtype=np.uint8), (10, 4, 5, 3))
    np.save(tmp_path / "plain.npy", plain)
    resized = load_rows(tmp_path / "plain.npy", image_size=(8, 8))
    np.testing.assert_array_equal(resized.reshape(-1, 3), np.tile([10, 200, 30], (640, 1)))


def test_grey_arrays_cannot_be_had_in_colour(tmp_path):
    np.save(tmp_path / "a.npy", COLOURS[..., 0])
    with pytest.raises(DataError, match="are grey"):
        load_dataset(tmp_path / "a.npy", image_size=(4, 5, 3))


@pytest.mark.parametrize("size", [(4,), (4, 5, 2), (0, 5), (4, 5, 3, 1)])
def test_sizes_that_are_none_are_refused(folder, size):
    with pytest.raises(DataError, match="height, width"):
        load_dataset(folder, image_size=size)


def test_emnist_is_read_from_the_users_files_and_stands_upright(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    images = {"train": rng.integers(0, 256, (12, 28, 28)), "test": rng.integers(0, 256, (4, 28, 28))}
    (tmp_path / "emnist").mkdir()
    for part, upright in images.items():
        content = io.BytesIO()
        content.write(struct.pack(">4B3I", 0, 0, 8, 3, len(upright), 28, 28))
        content.write(upright.transpose(0, 2, 1).astype(np.uint8).tobytes())
        path = tmp_path / "emnist" / f"emnist-letters-{part}-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(content.getvalue()))
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    dataset = load_dataset("emnist-letters")
    np.testing.assert_array_equal(dataset.train, images["train"][:8].reshape(8, -1))
    np.testing.assert_array_equal(dataset.valid, images["train"][8:].reshape(4, -1))
    np.testing.assert_array_equal(dataset.test, images["test"].reshape(4, -1))
    with pytest.raises(DataError, match="emnist-digits-train.* has no public address"):
        load_dataset("emnist-digits")
