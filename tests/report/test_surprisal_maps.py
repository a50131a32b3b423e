"""The maps of bits per pixel: their sums are the log-likelihoods, and they are of images of levels only."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from chainrule.datasets import Dataset
from chainrule.experiments.compare import compare
from chainrule.report import surprisal_maps
from chainrule.report.style import drawing
from chainrule.report.surprisal_maps import surprisal_blocks

MODELS = ["independent", "nade", "conv-nade"]


def comparison_of(rows, shape):
    dataset = Dataset("images", rows[:60], rows[60:80], rows[80:], image_shape=shape)
    return compare(dataset, models=MODELS, max_epochs=1, n_orders=1)


def blocks_of(comparison):
    with drawing():
        return surprisal_blocks(comparison, {result.model: "#123456" for result in comparison.results})


@pytest.fixture(scope="module", params=[(3, 4), (2, 2, 3)], ids=["grey", "colour"])
def comparison(request):
    n_variables = math.prod(request.param)
    return comparison_of(np.random.default_rng(0).integers(0, 2, (100, n_variables)), request.param)


def test_bits_sum_to_the_log_likelihoods(comparison):
    (block,) = blocks_of(comparison)
    titles = [picture.title for picture in block.pictures]
    assert sorted(titles) == ["ConvNADE", "NADE"]
    pictured = dict(zip(titles, block.pictures, strict=True))["NADE"]
    nade = next(result for result in comparison.results if result.model == "NADE")
    n_pixels = math.prod(comparison.image_shape[:2])
    expected = -np.mean(nade.log_likelihoods) / math.log(2) / n_pixels
    found = float(re.match(r"([\d.]+) bits per pixel", pictured.caption)[1])
    assert found == pytest.approx(expected, abs=6e-5)


def test_each_pixel_has_its_place(comparison, monkeypatch):
    """A model for which one pixel is hard shows it there."""
    nade = next(result for result in comparison.results if result.model == "NADE")
    shape, n_channels = comparison.image_shape, math.prod(comparison.image_shape[2:])
    n_variables = math.prod(shape)
    hard = np.zeros(n_variables)
    hard[n_channels * (shape[1] + 1) + n_channels - 1] = -3 * math.log(2)  # second line, second column
    monkeypatch.setattr(nade.estimator, "score_columns", lambda rows: np.tile(hard, (len(rows), 1)), False)
    bits = surprisal_maps._bits(nade, comparison)
    expected = np.zeros((20, *shape[:2]))
    expected[:, 1, 1] = 3
    np.testing.assert_allclose(bits, expected, atol=1e-12)


def test_rows_that_are_no_images_of_levels_have_no_maps(comparison):
    assert blocks_of(replace(comparison, image_shape=None)) == []
    assert blocks_of(replace(comparison, discrete=False)) == []
