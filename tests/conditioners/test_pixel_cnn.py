"""The causal convolutional network on images: every scan, channels, columns of many kinds.

On images of one line, every test of `tests/test_model.py` runs on it, too.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chainrule import supports
from chainrule.conditionals import Conditionals, make_family
from chainrule.conditioners import PixelCNNConditioner
from chainrule.image_shape import ImageShape
from chainrule.model import AutoregressiveModel
from chainrule.samplers import sequential
from strategies import encoding_of, randomize
from test_model import sample_by_full_passes, strictly_before

BINARY, NAMES, GREY = supports.Binary(), supports.Levels(3), supports.Grid(300)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def image_model(
    shape, supports, *, n_orderings=1, n_filters=6, cell_size=1, scale=1.0, seed=0, dtype=torch.float64,
    **settings,
):  # fmt: skip
    """Return a model with random weights of images whose variables have these supports, in turn."""
    row = [
        make_family("discretized-logistics" if support is GREY else name_of(support), support, 2)
        for support in itertools.islice(itertools.cycle(supports), shape.n_variables)
    ]
    conditionals = Conditionals(row)
    settings = {"activation": "tanh", "n_layers": 2, **settings}
    cells, variables = shape.in_cells(cell_size)
    conditioner = PixelCNNConditioner(
        encoding_of(row), conditionals.starts, variables[cells.scans()[:n_orderings]], shape, n_filters,
        cell_size=cell_size, generator=generator(seed), **settings,
    )  # fmt: skip
    model = AutoregressiveModel(conditioner, conditionals).to(dtype)
    randomize(model, generator(seed), scale)
    return model.eval()


def name_of(support):
    return "bernoulli" if support is BINARY else "categorical"


def codes_of(model, n, seed=1, dtype=torch.float64):
    """Return random codes (n, D), on discrete supports."""
    n_codes = torch.tensor(
        [int(getattr(f, "n_levels", 0)) or max(2, f.n_parameters) for f in model.conditionals._own]
    )
    return (torch.rand(n, len(n_codes), generator=generator(seed)) * n_codes).floor().to(dtype)


# ---------------------------------------------------------------- sums to one

SMALL = {
    "3 x 3, every scan": (ImageShape(3, 3), (BINARY,), 8, 1),
    "2 x 4, every scan": (ImageShape(2, 4), (BINARY,), 4, 1),
    "three channels": (ImageShape(2, 2, 3), (BINARY,), 8, 1),
    "three levels": (ImageShape(2, 3), (NAMES,), 4, 1),
    "columns of two and of three levels": (ImageShape(2, 2, 2), (BINARY, NAMES, NAMES), 8, 1),
    "cells, every scan": (ImageShape(2, 6), (BINARY,), 2, 2),
    "cells of channels": (ImageShape(2, 2, 3), (BINARY,), 1, 2),
}


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_probabilities_sum_to_one_in_every_scan_and_on_average(name):
    shape, given, n_scans, cell_size = SMALL[name]
    model = image_model(shape, given, n_orderings=n_scans, cell_size=cell_size, scale=2.0)
    assert model.n_members == n_scans
    levels = [range(max(2, family.n_parameters)) for family in model.conditionals._own]
    images = torch.tensor(list(itertools.product(*levels)), dtype=torch.float64)
    members = torch.stack([model.log_prob_of_member(images, k) for k in range(n_scans)])
    torch.testing.assert_close(members.exp().sum(1), torch.ones(n_scans).double(), rtol=0, atol=1e-12)
    assert float(model.log_prob(images).exp().sum()) == pytest.approx(1, abs=1e-12)
    assert len(torch.unique(members, dim=0)) == n_scans  # scans are different models


# ---------------------------------------------------------------- what sees what


def reached(model, member=0):
    """Return by autograd which variable moves the params of which, bool (D, D), row = predicted."""
    x = torch.rand(3, model.conditioner.n_variables, generator=generator(3), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.conditioner(x, member).sum(0), x)
    return (jacobian != 0).any(1)


@pytest.mark.parametrize(
    ("shape", "cell_size"),
    [
        (ImageShape(4, 4), 1),
        (ImageShape(3, 5), 1),
        (ImageShape(5, 1), 1),
        (ImageShape(3, 2, 2), 1),
        (ImageShape(6, 6), 2),
        (ImageShape(4, 2, 2), 2),
        (ImageShape(6, 9), 3),
    ],
)
def test_each_pixel_sees_all_before_it_and_nothing_else(shape, cell_size):
    n_scans = shape.in_cells(cell_size)[0].n_scans
    model = image_model(shape, (BINARY,), n_orderings=n_scans, cell_size=cell_size, n_layers=3)
    for member in range(model.n_members):
        expected = strictly_before(model.conditioner.order(member).tolist())
        assert torch.equal(reached(model, member), expected)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_no_pixel_within_reach_is_unseen(kernel_size):
    """One block adds half a kernel to the reach of the first layer, to the right of the lines above, too."""
    shape, reach = ImageShape(7, 19), kernel_size + kernel_size // 2
    moved = reached(image_model(shape, (BINARY,), n_layers=1, kernel_size=kernel_size, n_filters=4))
    row, column = torch.arange(shape.n_variables) // 19, torch.arange(shape.n_variables) % 19
    up, left = row[:, None] - row, column[:, None] - column
    above = (up >= 1) & (up <= reach) & (left.abs() <= reach)
    assert torch.equal(moved, above | ((up == 0) & (left >= 1) & (left <= reach)))


# ---------------------------------------------------------------- one pixel at a time

MODELS = {
    "binary": (ImageShape(4, 5), (BINARY,), {"n_orderings": 4}),
    "wide kernels": (ImageShape(6, 6), (BINARY,), {"kernel_size": 5, "n_orderings": 8}),
    "cells": (ImageShape(4, 6), (BINARY,), {"n_orderings": 4, "cell_size": 2}),
    "cells of grey channels": (ImageShape(4, 2, 2), (GREY, BINARY), {"n_orderings": 2, "cell_size": 2}),
    "one column": (ImageShape(5, 1), (BINARY,), {"n_orderings": 2}),
    "grey channels": (ImageShape(2, 3, 3), (GREY,), {"activation": "relu"}),
    "columns of many kinds": (ImageShape(3, 3, 2), (BINARY, NAMES, GREY), {"n_orderings": 2}),
    "context": (ImageShape(3, 3), (BINARY, NAMES), {"n_context": 2}),
}  # fmt: skip


def context_of(model, n):
    if model.conditioner.first_context is None:
        return None
    return torch.randn(n, 2, generator=generator(4), dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_params_and_draws_step_by_step_equal_those_of_whole_passes(name):
    shape, given, settings = MODELS[name]
    model = image_model(shape, given, **settings)
    x, context, starts = codes_of(model, 6), context_of(model, 6), model.conditionals.starts
    for member in range(model.n_members):
        outputs = model.conditioner(x, member, context)
        state = model.conditioner.init_state(6, member, context)
        for d in model.conditioner.order(member).tolist():
            params = state.next_params(d)
            assert torch.equal(state.next_params(d), params)  # to ask twice changes nothing
            torch.testing.assert_close(params, outputs[:, starts[d] : starts[d + 1]], rtol=1e-9, atol=1e-10)
            state.update(d, x[:, d])
        uniforms = model.uniforms(6, generator(5))
        drawn = sequential.sample(model.conditioner, model.conditionals, member, uniforms, context)
        assert torch.equal(drawn, sample_by_full_passes(model, member, uniforms, context))
    with pytest.raises(ValueError, match="not the next one"):
        model.conditioner.init_state(1, context=context[:1] if context is not None else None).next_params(1)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=5)
def test_drawn_images_follow_the_probabilities(seed, has_channels):
    shape = ImageShape(1, 2, 3) if has_channels else ImageShape(2, 3)
    model = image_model(shape, (BINARY,), n_orderings=2, scale=2.0, seed=seed)
    images = torch.tensor(list(itertools.product((0, 1), repeat=6)), dtype=torch.float64)
    with torch.no_grad():
        probabilities = model.log_prob(images).exp().numpy()
    drawn = model.sample(20_000, generator(seed)).numpy()
    counts = np.bincount((drawn @ 2.0 ** np.arange(5, -1, -1)).astype(int), minlength=64)
    often = probabilities * len(drawn) >= 5
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(probabilities[often], probabilities[~often].sum()) * len(drawn)
    assert stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-5


def test_cells_are_known_by_where_they_are_in_the_image():
    """What a network knows of lines and columns moves with a cell, whichever scan comes upon it when."""
    model = image_model(ImageShape(4, 4), (BINARY,), n_orderings=8, cell_size=2, scale=0.0)
    network = model.conditioner
    with torch.no_grad():
        network.of_line[1], network.of_column[0] = 1.0, 2.0
    for member in range(8):
        _, horizontal = network.start(member, None)
        cells = network.order(member).view(4, 4)[:, 0]  # the top left pixel of each
        expected = 1.0 * (cells // 4 >= 2) + 2.0 * (cells % 4 < 2)
        assert torch.equal(horizontal[0, ..., 0].flatten(), expected)


# ---------------------------------------------------------------- in training


def test_bfloat16_is_for_training_alone_and_about_as_good(monkeypatch):
    """What a processor is not quick at, it still can do."""
    monkeypatch.setattr("chainrule.conditioners.convolutions.has_bfloat16", lambda device: True)
    shape = ImageShape(10, 10)
    model = image_model(shape, (BINARY,), n_filters=20, n_layers=3, dtype=torch.float32)
    x = codes_of(model, 8, dtype=torch.float32)
    outputs, weights = model.conditioner.training_outputs(x, None)
    exact = model.conditioner(x)
    assert weights is None and outputs.dtype == exact.dtype == torch.float32
    difference = (outputs - exact).detach().abs().max()
    assert 0 < difference < 0.05 * exact.detach().abs().max()
    small = image_model(ImageShape(3, 3), (BINARY,), dtype=torch.float32)
    x = codes_of(small, 8, dtype=torch.float32)
    assert torch.equal(small.conditioner.training_outputs(x, None)[0], small.conditioner(x))


def test_dropout_is_for_training_alone():
    model = image_model(ImageShape(3, 3), (BINARY,), dropout=0.5)
    x = codes_of(model, 4)
    outputs = model.conditioner(x)
    model.train()
    model.conditioner.generator = generator()
    assert not torch.equal(model.conditioner(x), outputs)
    assert torch.equal(model.eval().conditioner(x), outputs)


@pytest.mark.parametrize(
    "wrong", [{"kernel_size": 4}, {"kernel_size": 1}, {"dropout": 1.0}, {"cell_size": 3}]
)
def test_what_makes_no_network_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        image_model(ImageShape(2, 2), (BINARY,), **wrong)
