"""Levels that stand out beside a smooth distribution: sums, groups, and that a fit keeps them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chainrule.conditionals import Conditionals, InflatedLevels, make_family
from chainrule.supports import Grid

NAME = "discretized-logistics"


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_of_variables_unlike_in_levels_sum_to_one_together(seed):
    supports = [Grid(7, (0, 4)), Grid(30, (2,)), Grid(12)]
    conditionals = Conditionals([make_family(NAME, support, 3) for support in supports])
    assert len(conditionals.groups) == 2
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(1, conditionals.n_outputs, generator=generator).double()
    levels = torch.arange(30.0, dtype=torch.float64)
    x = torch.stack([levels.clamp(max=support.n_codes - 1) for support in supports], dim=1)
    together = conditionals.log_prob(x, outputs.expand(30, -1)).exp()
    for d, support in enumerate(supports):
        own = together[: support.n_codes, d]
        assert float(own.sum()) == pytest.approx(1)
        params = outputs[:, None, conditionals.starts[d] : conditionals.starts[d + 1]]
        listed = conditionals.of_variable(d).level_probabilities(params, support.n_codes).flatten()
        torch.testing.assert_close(listed, own)


def test_what_stands_out_has_both_probabilities():
    family = make_family(NAME, Grid(5, (1,)), 2)
    assert isinstance(family, InflatedLevels)
    smooth = make_family(NAME, Grid(5), 2)
    of_all = torch.randn(1, 1, smooth.n_parameters, generator=torch.Generator().manual_seed(0)).double()
    params = torch.cat([torch.tensor([[[0.0, 0.0]]], dtype=torch.float64), of_all], dim=-1)
    expected = smooth.level_probabilities(of_all, 5) / 2
    expected[..., 1] += 0.5
    torch.testing.assert_close(family.level_probabilities(params, 5), expected)


def test_training_starts_from_the_shares_of_what_stands_out():
    rng = np.random.default_rng(0)
    x = np.where(rng.random((5000, 2)) < [0.3, 0.1], [3, 8], rng.integers(0, 40, (5000, 2)))
    group = InflatedLevels.group([make_family(NAME, Grid(40, (spike,)), 4) for spike in (3, 8)])
    params = group.marginal_params(torch.from_numpy(x).float())
    shares = group.level_probabilities(params[None], 40)[0]
    for g, spike in enumerate((3, 8)):
        assert float(shares[g, spike]) == pytest.approx((x[:, g] == spike).mean(), abs=0.03)
        rest = np.delete(shares[g].numpy(), spike)[1:-1]  # the ends have what lies beyond them, too
        assert 0.3 / 40 < rest.min() and rest.max() < 2 / 40
