"""Count columns and their family: exact probabilities of all whole numbers, under every network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chainrule import MADE, NADE, Ensemble, Independent, OrderlessNADE, load
from chainrule.conditionals import NegativeBinomials
from chainrule.errors import DataError, KindError
from chainrule.schema import Count, Schema

SEEDS = st.integers(0, 10**6)
SMALL = {"max_epochs": 3, "kinds": {"visits": "count"}, "random_state": 0}
NETWORKS = [
    NADE(hidden_size=6, **SMALL),
    NADE(hidden_size=6, ordering=[1, 0], **SMALL),
    MADE(hidden_sizes=(8,), n_orderings=2, **SMALL),
    OrderlessNADE(hidden_sizes=(8,), network="shared", **SMALL),
    OrderlessNADE(hidden_sizes=(8,), **SMALL),
    Ensemble(MADE(hidden_sizes=(8,), **SMALL), n_members=2, random_state=0),
]
each_network = pytest.mark.parametrize("model", NETWORKS, ids=lambda model: type(model).__name__)


def visits(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return two groups with other numbers of visits, of which some are zero for another reason."""
    rng = np.random.default_rng(seed)
    group = rng.random(n) < 0.4
    counts = np.where(rng.random(n) < 0.3, 0, rng.negative_binomial(3, np.where(group, 0.2, 0.6)))
    return pd.DataFrame({"group": np.where(group, "a", "b"), "visits": counts})


def random_params(n_components: int, n: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    width = NegativeBinomials(n_components).n_parameters
    return scale * torch.randn(n, 1, width, generator=generator, dtype=torch.float64)


# ---------------------------------------------------------------- the family


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), SEEDS)
def test_probabilities_of_all_counts_make_one(n_components, seed):
    family, params = NegativeBinomials(n_components), random_params(n_components, 3, seed)
    counts = torch.arange(20_000, dtype=torch.float64)[:, None, None]
    probabilities = family.log_prob(counts.expand(-1, 3, 1), params).exp().squeeze(-1)
    torch.testing.assert_close(probabilities.sum(0), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        family.mean(params).squeeze(-1), (counts[:, 0] * probabilities).sum(0), atol=1e-3, rtol=1e-4
    )
    cdf = family.cdf(counts[:50].expand(-1, 3, 1), params).squeeze(-1)
    torch.testing.assert_close(cdf, probabilities[:50].cumsum(0))
    assert (family.cdf(torch.full((3, 1), -1.0), params) == 0).all()
    best = probabilities.argmax(0)
    at_mode = probabilities[family.mode(params).squeeze(-1).long(), torch.arange(3)]
    assert (at_mode >= 0.999 * probabilities[best, torch.arange(3)]).all() or n_components > 1


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_one_component_is_the_textbook_negative_binomial(seed):
    params = random_params(1, 5, seed)
    family = NegativeBinomials(1)
    zeros, _, log_means, log_sizes = family.split(params)
    share, mean, size = (t.flatten().numpy() for t in (zeros.sigmoid(), log_means.exp(), log_sizes.exp()))
    for count in (0, 1, 2, 7, 40):
        expected = (1 - share) * stats.nbinom.pmf(count, size, size / (size + mean)) + share * (count == 0)
        got = family.log_prob(torch.full((5, 1), float(count)), params).exp().flatten().numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-8)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_draws_follow_the_probabilities(seed):
    n = 20_000
    params = random_params(3, 1, seed).expand(n, 1, -1)
    family = NegativeBinomials(3)
    uniforms = torch.rand(n, 1, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = family.sample(params, uniforms).flatten().numpy().astype(int)
    counts = np.arange(5000)
    expected = (
        n * family.log_prob(torch.from_numpy(counts).double()[:, None], params[:5000]).exp().numpy()[:, 0]
    )
    observed, often = np.bincount(np.minimum(drawn, 4999), minlength=5000), expected >= 10
    cells = [np.append(v[often], v[~often].sum()) for v in (observed, expected)]
    assert stats.chisquare(cells[0], cells[1] * n / cells[1].sum()).pvalue > 1e-5


def test_gradients_reach_all_params_even_of_huge_counts():
    params = random_params(2, 4, 0).requires_grad_()
    x = torch.tensor([[0.0], [3.0], [1e4], [2.0**24]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(NegativeBinomials(2).log_prob(x, params).sum(), params)
    assert gradient.isfinite().all() and (gradient != 0).any(0).all()


def test_training_starts_near_the_marginal():
    counts = torch.tensor(visits(2000)["visits"].to_numpy()).float()[:, None]
    family = NegativeBinomials(5)
    params = family.marginal_params(counts)
    assert float(family.mean(params[None])) == pytest.approx(float(counts.mean()), rel=0.3)
    assert family.marginal_params(torch.zeros(5, 1)).isfinite().all()


# ---------------------------------------------------------------- the column type


def test_only_declared_columns_are_counts_and_come_back():
    frame = visits()
    assert Schema.infer(frame).kinds == ("binary", "ordinal")
    schema = Schema.infer(frame, {"visits": "count"})
    assert schema.variables[1] == Count("visits", dtype="int64") and schema.is_discrete
    assert schema.n_codes == (2, np.inf)
    assert Schema.from_dict(schema.to_dict()) == schema
    beyond = frame.assign(visits=frame["visits"] + 10**6)
    pd.testing.assert_frame_equal(schema.decode(schema.encode(beyond)), beyond)
    assert schema.encode_values({"visits": "12"}) == {1: 12.0}


@pytest.mark.parametrize("value", [-1, 0.5, 2.0**25])
def test_what_is_no_count_is_refused(value):
    frame = visits(20).astype({"visits": float})
    schema = Schema.infer(frame, {"visits": "count"})
    frame.loc[6, "visits"] = value
    with pytest.raises(DataError, match="column 'visits' is a count.* in row 7"):
        schema.encode(frame)
    with pytest.raises(DataError, match="column 'visits' is a count"):
        Schema.infer(frame, {"visits": "count"})
    with pytest.raises(DataError, match="'visits' is a count and takes whole numbers"):
        schema.encode_values({"visits": value})
    with pytest.raises(DataError, match="declared count, which needs numbers"):
        Schema.infer(frame, {"group": "count"})


# ---------------------------------------------------------------- networks


@each_network
def test_all_rows_make_one(model):
    model.fit(visits())
    rows = [pd.DataFrame({"group": group, "visits": np.arange(3000)}) for group in "ab"]
    seen = 1 - model.schema_.variables[0].reserved
    assert np.exp(model.score_samples(pd.concat(rows))).sum() == pytest.approx(seen, abs=1e-4)


@each_network
def test_draws_are_those_of_the_likelihood(model):
    model.fit(visits())
    n = 4000
    drawn = model.sample(n, random_state=1)
    assert drawn["visits"].dtype == np.int64
    for group in "ab":
        counts = np.arange(60)
        expected = n * np.exp(model.score_samples(pd.DataFrame({"group": group, "visits": counts})))
        observed = np.bincount(drawn.loc[drawn["group"] == group, "visits"].clip(upper=59), minlength=60)
        often = expected >= 10
        z = (observed[often] - expected[often]) / np.sqrt(expected[often])
        assert stats.chi2.sf((z**2).sum(), often.sum()) > 1e-5


@each_network
def test_models_are_saved(model, tmp_path):
    frame = visits(60)
    model.fit(visits()).save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).score_samples(frame), model.score_samples(frame))


def test_any_question_about_counts():
    model = OrderlessNADE(hidden_sizes=(16,), **SMALL).fit(visits())
    given_group = model.conditional({"group": "a"}, "visits")
    counts = np.arange(500)
    each = np.exp([given_group.log_prob(int(count))[0] for count in counts[:200]])
    assert given_group.cdf(199)[0] == pytest.approx(each.sum())
    assert given_group.mean()[0] == pytest.approx((each * counts[:200]).sum(), rel=1e-3)
    q = given_group.quantile(0.7)[0]
    assert given_group.cdf(q)[0] >= 0.7 > given_group.cdf(q - 1)[0]
    with pytest.raises(KindError, match="has no levels"):
        _ = given_group.probabilities
    filled = model.impute(pd.DataFrame({"group": ["a", None], "visits": [None, 4]}), how="mean")
    assert filled["visits"].tolist()[1] == 4 and set(filled["group"]) <= {"a", "b"}
    joint = model.score_samples(pd.DataFrame({"group": ["a"], "visits": [3]}), given="group")
    assert joint[0] == pytest.approx(np.log(each[3]), abs=1e-5)


def test_a_model_without_counts_says_so():
    with pytest.raises(KindError, match="Independent cannot model column 'visits', which is count"):
        Independent(kinds={"visits": "count"}).fit(visits())
