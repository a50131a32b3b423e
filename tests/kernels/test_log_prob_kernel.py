"""The compiled pass over a row's params: log p and its gradient are those of the families' own formulas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule.conditionals.counts import NegativeBinomials
from chainrule.conditionals.discrete import Bernoulli, Categorical
from chainrule.conditionals.discretized import DiscretizedLogistics
from chainrule.conditionals.inflated import InflatedLevels
from chainrule.conditionals.mixtures import MixtureOfGaussians, MixtureOfLogistics
from chainrule.conditionals.normal_scores import NormalScores
from chainrule.conditionals.point_masses import PointMasses
from chainrule.conditionals.row import Conditionals
from chainrule.kernels.log_prob import is_compiled

pytestmark = pytest.mark.arithmetic

KNOTS = [-2.0, -0.5, -0.45, 0.3, 2.5]
MASSES = [-1.0, 0.0, 0.25, 1.5]


def rounded(n_levels, n_components=3):
    return DiscretizedLogistics(n_components, torch.tensor([n_levels]))


def number(n):
    return 2 * torch.randn(n)


def number_or_mass(n):
    masses = torch.tensor(MASSES)[torch.randint(len(MASSES), (n,))]
    return torch.where(torch.rand(n) < 0.5, masses, number(n))


def level_below(n_levels):
    return lambda n: (torch.rand(n) * n_levels).floor()


# Each kind of variable: its family, and how codes are drawn.
VARIABLES = {
    "bit": lambda: (Bernoulli(), level_below(2)),
    "one level": lambda: (Categorical(1), level_below(1)),
    "levels": lambda: (Categorical(5), level_below(5)),
    "many levels": lambda: (Categorical(150), level_below(150)),
    "number": lambda: (MixtureOfGaussians(2), number),
    "scores": lambda: (NormalScores.beside(MixtureOfGaussians(10), KNOTS), number),
    "point masses": lambda: (PointMasses.beside(MixtureOfGaussians(4), MASSES), number_or_mass),
    "point masses beside scores": lambda: (
        PointMasses.beside(NormalScores.beside(MixtureOfGaussians(3), KNOTS), MASSES[:2]),
        number_or_mass,
    ),
    "one ordinal level": lambda: (rounded(1), level_below(1)),
    "two ordinal levels": lambda: (rounded(2), level_below(2)),
    "ordinal": lambda: (rounded(60, 10), level_below(60)),
    "fine ordinal": lambda: (rounded(5000), level_below(5000)),
    "inflated ordinal": lambda: (InflatedLevels.beside(rounded(20), [0.0, 7.0, 19.0]), level_below(20)),
    "logistic number": lambda: (MixtureOfLogistics(3), number),
    "single Gaussian": lambda: (MixtureOfGaussians(1), number),
    "count": lambda: (NegativeBinomials(2), level_below(30)),
}


def evaluated(log_prob, x, outputs, upstream):
    outputs = outputs.clone().requires_grad_()
    found = log_prob(x, outputs)
    found.backward(upstream.to(found.dtype))
    return found.detach().double(), outputs.grad.double()


def relative_error(found, exact):
    return (found - exact).abs() / (1 + exact.abs())


@given(
    kinds=st.lists(st.sampled_from(sorted(VARIABLES)), min_size=1, max_size=6),
    n=st.integers(1, 70) | st.sampled_from([255, 256, 257, 512, 1024]),
    lies_by_output=st.booleans(),
    spread=st.sampled_from([0.5, 3.0, 20.0]),
    seed=st.integers(0, 10_000),
)
def test_log_p_and_gradient_are_those_of_the_formulas_in_double_precision(
    kinds, n, lies_by_output, spread, seed
):
    torch.manual_seed(seed)
    families, draws = zip(*(VARIABLES[kind]() for kind in kinds), strict=True)
    row = Conditionals(families)
    x = torch.stack([draw(n) for draw in draws], dim=1)
    outputs, upstream = spread * torch.randn(n, row.n_outputs), torch.randn(n, len(kinds))
    assert is_compiled(outputs)
    outputs = outputs.T.contiguous().T if lies_by_output else outputs
    found, gradient = evaluated(row.log_prob, x, outputs, upstream)
    exact, exact_gradient = evaluated(row.log_prob, x.double(), outputs.double(), upstream)
    with torch.no_grad():
        by_formula = row._log_prob_by_formula(x, outputs).double()
        assert torch.equal(row.log_prob(x, outputs).double(), found)
    # Where scales are narrow against what single precision tells apart, both are as wrong as the numbers,
    # of which the largest are some times the spread.
    allowed = 4 * relative_error(by_formula, exact).amax(0) + 2e-6 * (1 + spread)
    assert (relative_error(found, exact).amax(0) <= allowed).all()
    for start, stop in zip(row.starts, row.starts[1:], strict=False):
        size = 1 + exact_gradient[:, start:stop].abs().amax(dim=1, keepdim=True)
        assert ((gradient - exact_gradient)[:, start:stop].abs() / size).max() < 2e-3


def test_values_far_out_have_a_log_p_and_a_gradient():
    row = Conditionals([MixtureOfGaussians(3), rounded(60), PointMasses.beside(MixtureOfGaussians(3), [1e4])])
    x = torch.tensor([[1e4, 59.0, 1e4], [1e4, 59.0, -1e4]]).repeat(20, 1)
    outputs = torch.randn(40, row.n_outputs, generator=torch.Generator().manual_seed(0))
    for start in (0, 9, 20):
        outputs[:, start + 3 : start + 6], outputs[:, start + 6 : start + 9] = -50.0, -3.0
    found, gradient = evaluated(row.log_prob, x, outputs, torch.ones(40, 3))
    exact, _ = evaluated(row.log_prob, x.double(), outputs.double(), torch.ones(40, 3))
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    assert gradient.isfinite().all()


def test_values_beyond_single_precision_have_no_probability_in_either_form():
    row = Conditionals([MixtureOfGaussians(3), PointMasses.beside(MixtureOfGaussians(3), [0.0])])
    x = torch.tensor([[1e30, 1e30], [-1e30, 0.0], [0.5, -1e30]])
    outputs = torch.randn(3, row.n_outputs, generator=torch.Generator().manual_seed(0))
    found, by_formula = row.log_prob(x, outputs), row._log_prob_by_formula(x, outputs)
    torch.testing.assert_close(found, by_formula)
    assert found.isinf().tolist() == [[True, True], [True, False], [False, True]]


def test_logits_far_apart_have_finite_log_probabilities():
    found = Conditionals([Categorical(3)]).log_prob(
        torch.tensor([[1.0]]), torch.tensor([[1000.0, -1000.0, 0.0]])
    )
    torch.testing.assert_close(found, torch.tensor([[-2000.0]]))


def test_log_p_of_a_row_does_not_depend_on_the_rows_beside_it():
    torch.manual_seed(0)
    families, draws = zip(*(make() for make in VARIABLES.values()), strict=True)
    row = Conditionals(families)
    x, outputs = torch.stack([draw(50) for draw in draws], dim=1), 3 * torch.randn(50, row.n_outputs)
    known = [row.log_prob_plan is not None and family.log_prob_plan() is not None for family in families]
    together = row.log_prob(x, outputs)[:, known]
    alone = torch.cat([row.log_prob(x[i : i + 1], outputs[i : i + 1]) for i in range(50)])[:, known]
    assert torch.equal(together, alone)


def test_a_subclass_has_no_plan_unless_it_says_so():
    class Shifted(MixtureOfGaussians):
        def log_prob(self, x, params):
            return super().log_prob(x - 1, params)

    assert MixtureOfGaussians(3).log_prob_plan() is not None
    assert Shifted(3).log_prob_plan() is None
    x, params = torch.randn(4, 1), torch.randn(4, 9)
    expected = MixtureOfGaussians(3).log_prob(x - 1, params[:, None])
    torch.testing.assert_close(Conditionals([Shifted(3)]).log_prob(x, params), expected)


def test_other_precisions_and_devices_are_left_to_the_formulas():
    assert not is_compiled(torch.zeros(2, 3, dtype=torch.float64))
    assert not is_compiled(torch.zeros(2, 3, device="meta"))
    assert not is_compiled(torch.zeros(0, 3))
