"""ConvNADE on images of many shapes: probabilities, what each output sees, and rows that stand alone.

What holds for networks of any order is tested with the others, in test_any_order.py and test_model.py.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from chainrule import ConvNADE, inference, load
from chainrule.conditionals import Conditionals
from chainrule.conditioners import ConvNADEConditioner
from chainrule.errors import ParameterError
from chainrule.image_shape import ImageShape
from chainrule.model import AutoregressiveModel
from chainrule.orders import random_orders
from strategies import encoding_of, families, randomize

# One pixel or 2 x 2 of them in a cell, sides that are odd, maps that are halved up to three times, channels.
SHAPES = [(3, 3), (1, 1), (1, 37), (17, 20), (9, 16, 3), (2, 2, 3)]


def network_of(shape, kind="binary", n_levels=2, n_blocks=1, seed=0, scale=1.0, n_channels=3):
    """Return a model with random weights in float64."""
    generator = torch.Generator().manual_seed(seed)
    n_variables = int(np.prod(shape))
    row = families([kind] * n_variables, [n_levels] * n_variables)
    conditionals = Conditionals(row)
    conditioner = ConvNADEConditioner(
        encoding_of(row),
        conditionals.starts,
        random_orders(n_variables, 1, generator),
        ImageShape.of(shape, n_variables),
        n_channels=n_channels,
        n_blocks=n_blocks,
        n_hidden=4,
        activation="tanh",
        generator=generator,
    )
    model = AutoregressiveModel(conditioner, conditionals).double()
    randomize(model, generator, scale)
    return model.eval()


def random_images(shape, n, seed=1, n_levels=2):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(n_levels, (n, int(np.prod(shape))), generator=generator).double()
    return images, torch.rand(images.shape, generator=generator) < 0.5


@pytest.mark.parametrize("shape", [(3, 3), (3, 1, 3), (1, 9)])
@torch.no_grad()
def test_the_chain_of_each_order_sums_to_one(shape):
    model = network_of(shape, scale=2.0)
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64)
    nothing = torch.zeros_like(rows, dtype=torch.bool)
    for order in random_orders(9, 4, torch.Generator().manual_seed(2)):
        log_probs = inference.log_prob(model, rows, nothing, ~nothing, order)
        assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-12)
        assert float(log_probs.std()) > 0.1


@torch.no_grad()
def test_bfloat16_is_for_training_alone_and_about_as_good(monkeypatch):
    """What a processor is not quick at, it still can do."""
    monkeypatch.setattr("chainrule.conditioners.convolutions.has_bfloat16", lambda device: True)
    large, small = (
        network_of((side, side), scale=0.3, n_channels=12).float().conditioner for side in (28, 3)
    )
    x, observed = random_images((28, 28), 8)
    x = x.float()
    outputs, weights = large.training_outputs(x, None, drawn=observed)
    exact = large.outputs_from(x, observed)
    assert outputs.dtype == weights.dtype == torch.float32
    assert 0 < (outputs - exact).abs().max() < 0.05 * exact.abs().max()
    x, observed = random_images((3, 3), 8)
    x = x.float()
    assert torch.equal(small.training_outputs(x, None, drawn=observed)[0], small.outputs_from(x, observed))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "n_levels"), [("binary", 2), ("categorical", 3)])
@torch.no_grad()
def test_a_step_gives_what_one_pass_over_the_whole_image_gives(shape, kind, n_levels):
    model = network_of(shape, kind, n_levels, n_blocks=2)
    network, starts = model.conditioner, model.conditionals.starts
    x, observed = random_images(shape, 35, n_levels=n_levels)
    outputs = network.outputs_from(x, observed)
    state = network.init_state_from(x, observed, network.order(0))
    for d in range(0, x.shape[1], max(1, x.shape[1] // 12)):
        torch.testing.assert_close(
            state.next_params(d), outputs[:, starts[d] : starts[d + 1]], rtol=1e-9, atol=1e-11
        )
        state.update(d, x[:, d], ~observed[:, d])
        observed = observed.clone()
        observed[:, d] = True
        outputs = network.outputs_from(x, observed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_output_sees_every_observed_pixel_and_no_other(shape):
    model = network_of(shape)
    x, observed = random_images(shape, 1)
    x.requires_grad_(True)
    outputs = model.conditioner.outputs_from(x, observed)
    for d in range(0, x.shape[1], max(1, x.shape[1] // 12)):
        moved = torch.autograd.grad(outputs[0, d], x, retain_graph=True)[0] != 0
        assert torch.equal(moved, observed)


def test_each_output_sees_which_pixels_are_observed():
    """Also where the observed code is zero, whose features are those of one that is not observed."""
    model = network_of((17, 20))
    nothing = torch.zeros(1, 340, dtype=torch.bool)
    x = nothing.double()
    with torch.no_grad():
        start = model.conditioner.outputs_from(x, nothing)
        for d in range(0, 340, 31):
            one = nothing.clone()
            one[0, d] = True
            assert (model.conditioner.outputs_from(x, one) != start).all()


@torch.no_grad()
def test_completed_images_follow_the_conditional_probabilities():
    model = network_of((2, 3), seed=4, scale=2.0)
    n, order = 10_000, torch.tensor([4, 1, 0, 5, 3, 2])
    known = torch.tensor([False, True, False, False, True, False]).expand(n, -1)
    uniforms = torch.rand(n, 6, 1, generator=torch.Generator().manual_seed(5)).double()
    drawn = inference.sample_conditional(model, torch.ones(n, 6).double(), known, order, uniforms)
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    rows = rows[(rows[:, 1] == 1) & (rows[:, 4] == 1)]
    expected = inference.log_prob(model, rows, known[: len(rows)], ~known[: len(rows)], order).exp()
    counts = torch.stack([(drawn == row).all(1).sum() for row in rows])
    assert int(counts.sum()) == n
    assert stats.chisquare(counts.numpy(), (n * expected).numpy()).pvalue > 1e-4


# ---------------------------------------------------------------- the estimator


@pytest.fixture(scope="module")
def stripes():
    """Return images of 18 x 5 pixels: each a light stripe on dark ground, wherever it lies."""
    top = np.random.default_rng(0).integers(0, 15, (400, 1, 1))
    line = np.arange(18)[None, :, None]
    image = (line >= top) & (line < top + 3)
    return np.broadcast_to(image, (400, 18, 5)).reshape(400, -1).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted(stripes):
    model = ConvNADE(6, image_shape=(18, 5), n_hidden=12, n_blocks=1, max_epochs=20, random_state=0)
    return model.fit(stripes)


def test_a_row_alone_scores_as_among_others_bit_by_bit(fitted, stripes):
    holes = stripes[:70].astype(float)
    holes[:, 20:30] = np.nan
    for rows in (stripes[:70], holes):
        together = fitted.score_samples(rows)
        for part in ([41], [5, 69, 12], list(range(33))):
            assert fitted.score_samples(rows[part]).tolist() == together[part].tolist()


def test_saved_models_score_and_draw_alike_bit_by_bit(fitted, stripes, tmp_path):
    fitted.save(tmp_path / "model")
    other = load(tmp_path / "model")
    assert other.score_samples(stripes[:3]).tolist() == fitted.score_samples(stripes[:3]).tolist()
    given = np.where(np.arange(90) < 30, stripes[:3].astype(float), np.nan)
    draws = [model.impute(given, how="sample", random_state=1) for model in (fitted, other)]
    assert np.array_equal(*draws)
    assert np.array_equal(draws[0][:, :30], stripes[:3, :30])


def test_a_fit_learns_to_complete_images(fitted, stripes):
    """One pixel of each line is given: the others are like it."""
    images = stripes[:40].astype(float)
    middle = np.where(np.arange(90) % 5 == 2, images, np.nan)
    assert (fitted.impute(middle, how="mode") == images).mean() > 0.97


def test_a_shape_that_the_rows_do_not_have_is_refused(stripes):
    with pytest.raises(ParameterError, match="90 columns"):
        ConvNADE(image_shape=(28, 28)).fit(stripes)
