"""Densities on normal scores: variables with other numbers of knots are one group, each as it is alone."""

from __future__ import annotations

import numpy as np
import torch

from chainrule.conditionals.mixtures import MixtureOfGaussians
from chainrule.conditionals.normal_scores import NormalScores


def families():
    rng = np.random.default_rng(0)
    sizes = ((5, 1.0), (50, 1e3), (17, 1e-2))
    knots = [(np.sort(rng.normal(size=k)) * scale, np.sort(rng.normal(size=k))) for k, scale in sizes]
    return [NormalScores.beside(MixtureOfGaussians(3), each.tolist(), z.tolist()) for each, z in knots]


def test_a_group_is_each_variable_as_it_is_alone():
    alone = families()
    assert len({family.group_key() for family in alone}) == 1
    together = NormalScores.group(alone)
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(40, 3, 9, generator=generator, dtype=torch.float64)
    uniforms = torch.rand(40, 3, 2, generator=generator, dtype=torch.float64)
    x = together.sample(params, uniforms)
    for g, family in enumerate(alone):
        own, of_one = params[:, g : g + 1], x[:, g : g + 1]
        torch.testing.assert_close(of_one, family.sample(own, uniforms[:, g : g + 1]), rtol=1e-9, atol=0)
        for name in ("log_prob", "cdf", "partial_mean"):
            found = getattr(together, name)(x, params)[:, g : g + 1]
            torch.testing.assert_close(found, getattr(family, name)(of_one, own), rtol=1e-7, atol=1e-9)
        for name in ("mean", "mode"):
            found = getattr(together, name)(params)[:, g : g + 1]
            torch.testing.assert_close(found, getattr(family, name)(own), rtol=1e-7, atol=1e-9)
