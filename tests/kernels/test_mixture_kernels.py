"""The compiled pass of mixtures: log p and its gradient are those of the families' own formulas."""

from __future__ import annotations

import pytest
import torch

from chainrule.conditionals.discretized import DiscretizedLogistics
from chainrule.conditionals.mixtures import MixtureOfGaussians
from chainrule.kernels.mixtures import is_compiled

LEVELS = torch.tensor([1, 2, 3, 10, 60, 256, 5000])
G = len(LEVELS)


def gaussians(n_components):
    return MixtureOfGaussians(n_components), lambda n: 3 * torch.randn(n, G)


def logistics(n_components):
    return DiscretizedLogistics(n_components, LEVELS), lambda n: (torch.rand(n, G) * LEVELS).floor()


def evaluated(family, x, params, upstream):
    params = params.clone().requires_grad_()
    log_prob = family.log_prob(x, params)
    log_prob.backward(upstream)
    return log_prob.detach().double(), params.grad.double()


def relative_error(found, exact):
    return float(((found - exact).abs() / (1 + exact.abs())).max())


@pytest.mark.parametrize("make", [gaussians, logistics])
@pytest.mark.parametrize("n", [1, 31, 64, 100])
@pytest.mark.parametrize("n_components", [2, 10])
@pytest.mark.parametrize("spread", [1.0, 5.0, 20.0])
def test_log_p_and_gradient_are_those_of_the_formula_in_double_precision(make, n, n_components, spread):
    torch.manual_seed(n)
    family, draw = make(n_components)
    x, params, upstream = draw(n), spread * torch.randn(n, G, 3 * n_components), torch.randn(n, G)
    assert is_compiled(params.clone().requires_grad_())
    found, gradient = evaluated(family, x, params, upstream)
    exact, exact_gradient = evaluated(family, x.double(), params.double(), upstream.double())
    with torch.no_grad():
        by_formula = family.log_prob(x, params).double()
    # Where scales are narrow against what float32 tells apart on [-1, 1], both are as wrong as the numbers.
    allowed = 4 * relative_error(by_formula, exact) + 1e-6
    assert relative_error(found, exact) <= min(allowed, 2e-5)
    scale = 1 + exact_gradient.abs().amax(dim=-1, keepdim=True)
    assert ((gradient - exact_gradient).abs() / scale).max() < 1e-3


@pytest.mark.parametrize("make", [gaussians, logistics])
def test_values_far_out_have_a_log_p_and_a_gradient(make):
    family, _ = make(3)
    x = torch.full((40, G), 1e4) if make is gaussians else (LEVELS - 1.0).expand(40, G)
    params = torch.randn(40, G, 9, generator=torch.Generator().manual_seed(0))
    params[..., 3:6] = -50.0
    params[..., 6:] = -3.0
    found, gradient = evaluated(family, x, params, torch.ones(40, G))
    exact, _ = evaluated(family, x.double(), params.double(), torch.ones(40, G, dtype=torch.float64))
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    assert gradient.isfinite().all()


def test_scores_come_from_the_formula():
    params = torch.randn(4, G, 30)
    assert not is_compiled(params)
    assert not is_compiled(params.double().requires_grad_())
    with torch.no_grad():
        assert not is_compiled(params.requires_grad_())


def test_leading_dimensions_are_kept():
    family, draw = gaussians(4)
    x, params = draw(12), torch.randn(12, G, 12)
    alone, gradient = evaluated(family, x, params, torch.ones(12, G))
    shape = (3, 4, G)
    log_prob, of_params = evaluated(family, x.view(shape), params.view(*shape, 12), torch.ones(shape))
    assert torch.equal(log_prob.view(12, G), alone)
    assert torch.equal(of_params.view(12, G, 12), gradient)
    shared, _ = evaluated(family, x[0], params, torch.ones(12, G))
    assert torch.equal(shared, evaluated(family, x[:1].expand(12, G), params, torch.ones(12, G))[0])
