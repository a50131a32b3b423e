"""Families of levels at temperatures, and models of them."""

from __future__ import annotations

import itertools

import pytest
import torch

from chainrule.conditionals import Conditionals, Tempered, families_of, make_family
from chainrule.conditioners import InputEncoding, MADEConditioner
from chainrule.masks import even_degrees
from chainrule.model import AutoregressiveModel
from chainrule.supports import Binary, Grid, Levels

SUPPORTS = [Binary(), Levels(4), Grid(5), Grid(7, (0, 4))]
CASES = [(name, support) for support in SUPPORTS for name in families_of(support)]
each_case = pytest.mark.parametrize(("name", "support"), CASES, ids=str)


def random_case(name, support, seed):
    family = make_family(name, support, 2)
    generator = torch.Generator().manual_seed(seed)
    return family, torch.randn(20, 1, family.n_parameters, generator=generator, dtype=torch.float64)


@each_case
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_probabilities_are_powers_of_those_of_the_family(name, support, temperature):
    family, params = random_case(name, support, seed=3)
    n_levels = support.n_codes
    tempered = Tempered(family, n_levels, temperature)
    powers = family.level_probabilities(params, n_levels) ** (1 / temperature)
    expected = powers / powers.sum(-1, keepdim=True)
    each = [tempered.log_prob(torch.full((20, 1), float(level)), params).exp() for level in range(n_levels)]
    torch.testing.assert_close(torch.stack(each, -1), expected)
    codes = torch.arange(n_levels)
    torch.testing.assert_close(tempered.mean(params), (expected * codes).sum(-1))
    torch.testing.assert_close(tempered.cdf(torch.ones(20, 1), params), expected[..., :2].sum(-1))
    assert torch.equal(tempered.mode(params), expected.argmax(-1).double())


@each_case
def test_draws_follow_the_probabilities(name, support):
    family, params = random_case(name, support, seed=4)
    tempered = Tempered(family, support.n_codes, 0.5)
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5)[:, None, None] / 20_000
    drawn = tempered.sample(params[:1].expand(20_000, -1, -1), grid)
    shares = torch.bincount(drawn.flatten().long(), minlength=support.n_codes) / 20_000
    expected = tempered.level_probabilities(params[:1], support.n_codes)[0, 0]
    torch.testing.assert_close(shares.double(), expected, atol=1e-4, rtol=0)


def test_a_tempered_model_sums_to_one_and_is_drawn_from_as_it_says():
    families = [make_family("bernoulli", Binary(), 1), make_family("categorical", Levels(3), 1)] * 2
    conditionals = Conditionals(families)
    generator = torch.Generator().manual_seed(0)
    encoding = InputEncoding([family.input_features("onehot") for family in families])
    network = MADEConditioner(
        encoding, conditionals.starts, torch.arange(4)[None], [even_degrees(16, 4)[None]], generator=generator
    )
    network.set_output_bias(torch.randn(conditionals.n_outputs, generator=generator))
    model = AutoregressiveModel(network, conditionals)
    tempered = model.tempered([2, 3, 2, 3], 0.5)
    rows = torch.tensor(list(itertools.product(range(2), range(3), range(2), range(3))), dtype=torch.float32)
    with torch.no_grad():
        probability = tempered.log_prob(rows).exp()
        assert abs(probability.sum() - 1) < 1e-6
        drawn = tempered.sample(20_000, generator)
        at = (drawn * torch.tensor([18.0, 6.0, 3.0, 1.0])).sum(1).long()
        shares = torch.bincount(at, minlength=36) / 20_000
        error = (probability * (1 - probability) / 20_000).sqrt().clamp(min=1e-4)
        assert ((shares - probability).abs() < 5 * error).all()
        warm, cold = (model.tempered([2, 3, 2, 3], t).sample(5000, generator) for t in (3.0, 0.2))
        assert model.log_prob(cold).mean() > model.log_prob(drawn).mean() > model.log_prob(warm).mean()


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_temperatures_are_above_0(temperature):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Tempered(make_family("bernoulli", Binary(), 1), 2, temperature)
