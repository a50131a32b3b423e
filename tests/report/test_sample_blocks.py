"""Images drawn at several temperatures: which models can be, and that colder ones are more probable."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.datasets import Dataset
from chainrule.experiments.compare import compare
from chainrule.report import sample_blocks
from chainrule.report.style import drawing

TITLE = "Colder and warmer"


def comparison_of(rows, models):
    dataset = Dataset("images", rows[:300], rows[300:350], rows[350:], image_shape=(3, 4))
    return compare(dataset, models=models, max_epochs=2)


def blocks_of(comparison):
    with drawing():
        colours = {result.model: "#123456" for result in comparison.results}
        return {block.title: block for block in sample_blocks.sample_blocks(comparison, colours)}


@pytest.fixture(scope="module")
def grey():
    draw = np.random.default_rng(0)
    rows = np.minimum(draw.poisson(1.5, (400, 12)), 4) + 3 * draw.integers(0, 2, (400, 1))
    return comparison_of(rows.astype(np.uint8), ["independent", "nade", "made"])


def test_the_best_network_is_drawn_from_at_each_temperature(grey):
    best = next(result.model for result in grey.ranked() if result.model != "independent")
    titles = [picture.title for picture in blocks_of(grey)[TITLE].pictures]
    assert titles == [f"{best}, temperature {t}" for t in sample_blocks._TEMPERATURES]


def test_colder_images_are_more_probable_and_1_changes_nothing(grey):
    for result in grey.ranked():
        if result.model == "independent":
            continue
        estimator = result.estimator
        means = {}
        for temperature in (0.5, 1.0, 2.0):
            codes = sample_blocks._tempered_draws(estimator, temperature)
            assert codes.shape == (sample_blocks._N_GRID_IMAGES, 12)
            scores = estimator.log_likelihoods(codes.astype(np.float64), None)
            means[temperature] = scores.mean(), scores.std() / np.sqrt(len(scores))
        assert means[0.5][0] > means[1.0][0] > means[2.0][0]
        own = estimator.score_samples(estimator.sample(500, random_state=1)).mean()
        assert abs(means[1.0][0] - own) < 5 * means[1.0][1]


def test_images_without_levels_and_baselines_alone_are_left_out():
    continuous = np.random.default_rng(0).normal(size=(400, 12))
    assert TITLE not in blocks_of(comparison_of(continuous, ["nade"]))
    assert TITLE not in blocks_of(comparison_of(np.ones((400, 12), np.uint8), ["independent"]))
