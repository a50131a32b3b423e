"""The baselines are distributions: they sum or integrate to 1, and their samplers draw from them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from chainrule import GMM, Independent, Mixture, MixtureOfBernoullis, load
from chainrule.baselines import selection
from chainrule.baselines.em import fit_by_em
from chainrule.baselines.gaussian_mixture import PrincipalMixture, fit_axes
from chainrule.baselines.product_mixture import Layout, independent_product
from chainrule.baselines.selection import best_of, candidates
from chainrule.errors import DataError, KindError, ParameterError
from chainrule.supports import Binary, Grid, Levels, Reals, Support

TWO_BLOBS = np.array([[-2.0, 1.0], [3.0, -1.0]])


def bits(n: int, n_variables: int, seed: int = 0) -> np.ndarray:
    """Rows of a mixture of two coins per variable: dependent, every pattern possible."""
    rng = np.random.default_rng(seed)
    chance = np.where(rng.random((n, 1)) < 0.4, 0.85, 0.2)
    return (rng.random((n, n_variables)) < chance).astype(np.uint8)


def blobs(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return TWO_BLOBS[rng.integers(2, size=n)] + rng.normal(scale=(0.5, 1.5), size=(n, 2))


def mixed_table(n: int, seed: int = 0) -> pd.DataFrame:
    """Binary, categorical and ordinal columns that depend on each other."""
    rng = np.random.default_rng(seed)
    group = rng.integers(3, size=n)
    return pd.DataFrame(
        {
            "smokes": rng.random(n) < 0.2 + 0.3 * group,
            "colour": np.array(["red", "green", "blue"])[(group + (rng.random(n) < 0.2)) % 3],
            "visits": np.minimum(rng.poisson(1.0 + group), 4),
        }
    )


def every_row(table: pd.DataFrame) -> pd.DataFrame:
    levels = [sorted(table[name].unique()) for name in table.columns]
    return pd.DataFrame(list(itertools.product(*levels)), columns=table.columns)


def every_pattern(n_variables: int) -> np.ndarray:
    return np.array(list(itertools.product([0, 1], repeat=n_variables)), dtype=np.uint8)


def normal_log_density(X: np.ndarray, at: np.ndarray) -> np.ndarray:
    return stats.multivariate_normal(X.mean(axis=0), np.cov(X.T, bias=True)).logpdf(at)


# ------------------------------------------------------------------ sums and integrals


@settings(max_examples=25, deadline=None)
@given(
    n_variables=st.integers(1, 8),
    n_components=st.integers(1, 6),
    smoothing=st.floats(1e-3, 10),
    seed=st.integers(0, 2**16),
)
def test_mixture_of_bernoullis_sums_to_one(
    n_variables: int, n_components: int, smoothing: float, seed: int
) -> None:
    model = MixtureOfBernoullis(n_components, smoothing=smoothing, random_state=seed)
    model.fit(bits(60, n_variables, seed))
    assert np.exp(model.score_samples(every_pattern(n_variables))).sum() == pytest.approx(1, abs=1e-10)


@settings(max_examples=15, deadline=None)
@given(
    n_levels=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    n_components=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
def test_products_over_any_levels_sum_to_one(n_levels: list[int], n_components: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(n, size=40) for n in n_levels]).astype(np.float32)
    independent = independent_product(Layout(tuple(map(Levels, n_levels))), codes)
    mixture, _ = fit_by_em(codes, independent, n_components, rng)
    cells = np.array(list(itertools.product(*map(range, n_levels))), dtype=np.float32)
    assert np.exp(independent.log_prob(cells)).sum() == pytest.approx(1, abs=1e-10)
    assert np.exp(mixture.log_prob(cells)).sum() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("model", [Independent(), Mixture(random_state=0)])
def test_discrete_table_sums_to_one(model: Independent | Mixture) -> None:
    """But for the share that is kept for levels that no training row has."""
    table = mixed_table(400)
    total = np.exp(model.fit(table).score_samples(every_row(table))).sum()
    seen = np.prod([1 - variable.reserved for variable in model.schema_.variables])
    assert total == pytest.approx(seen, abs=1e-10)


@pytest.mark.parametrize(
    "model",
    [
        Independent(),
        Mixture(random_state=0),
        GMM(random_state=0),
        GMM(n_components=3, pca=1, random_state=0),
        GMM(n_components=1, pca=2, random_state=0),
    ],
)
def test_continuous_density_integrates_to_one_in_the_users_units(model: Independent | Mixture | GMM) -> None:
    X = blobs(500) * [10.0, 0.1] + [100.0, 0.0]
    model.fit(X)
    first, second = np.linspace(20, 210, 400), np.linspace(-1.2, 1.2, 400)
    grid = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    density = np.exp(model.score_samples(grid)).reshape(400, 400)
    total = np.trapezoid(np.trapezoid(density, first, axis=1), second)
    assert total == pytest.approx(1, abs=2e-3)


def test_mixed_table_integrates_to_one() -> None:
    rng = np.random.default_rng(0)
    member = rng.random(400) < 0.3
    X = np.column_stack([member, rng.normal(np.where(member, 5.0, -5.0), 2.0)])
    model = Mixture(random_state=0).fit(X, X_val=X[:100])
    at = np.linspace(-30, 30, 4000)
    total = sum(
        np.trapezoid(np.exp(model.score_samples(np.column_stack([np.full(4000, b), at]))), at) for b in (0, 1)
    )
    assert total == pytest.approx(1, abs=1e-4)


def test_one_full_gaussian_is_the_maximum_likelihood_gaussian() -> None:
    X = blobs(400)
    expected = normal_log_density(X, X[:50])
    for pca in (None, 1, 2):
        # One axis kept and one left: two Gaussians along principal axes are the same full Gaussian.
        model = GMM(n_components=1, pca=pca, regularisation=0.0, random_state=0).fit(X, X_val=X)
        np.testing.assert_allclose(model.score_samples(X[:50]), expected, rtol=1e-4, atol=1e-4)


def test_residual_of_few_rows_is_a_density_over_all_variables() -> None:
    # 30 rows of 40 numbers allow 6 axes; the 34 directions that are left must count, at their own scale.
    rng = np.random.default_rng(0)
    X, fresh = rng.normal(size=(30, 40)), rng.normal(size=(500, 40))
    axes, n_kept = fit_axes(X, fresh[:100], 0.99, 50)
    vectors, deviations = axes.components_, np.sqrt(axes.explained_variance_)
    assert vectors.shape == (6, 40)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(6), atol=1e-10)
    full = np.linalg.svd(vectors)[2]  # the axes completed to a basis: the density by hand
    along, along_axes = (fresh - axes.mean_) @ full.T, (fresh - axes.mean_) @ vectors.T
    by_hand = stats.norm(scale=deviations).logpdf(along_axes).sum(axis=1)
    by_hand += stats.norm(scale=np.sqrt(axes.noise_variance_)).logpdf(along[:, 6:]).sum(axis=1)
    standard = GaussianMixture(1)
    standard.weights_, standard.means_ = np.ones(1), np.zeros((1, n_kept))
    standard.precisions_cholesky_ = np.eye(n_kept)[None]
    np.testing.assert_allclose(PrincipalMixture(axes, standard).log_prob(fresh), by_hand, rtol=1e-10)
    # The residual was measured on rows that the axes were not fitted to.
    assert axes.noise_variance_ == pytest.approx(1, abs=0.1)


def test_gaussian_mixture_beats_one_gaussian_where_there_are_two_blobs() -> None:
    X = blobs(1000)
    chosen = GMM(random_state=0).fit(X)
    assert chosen.n_components_ >= 2
    assert chosen.score(blobs(1000, seed=1)) > normal_log_density(X, blobs(1000, seed=1)).mean() + 0.3


# ------------------------------------------------------------------ dequantisation


def test_dequantised_score_is_a_lower_bound_of_the_models_probabilities() -> None:
    rng = np.random.default_rng(0)
    X = np.clip(rng.normal(4, 1.5, size=(2000, 1)).round(), 0, 8).astype(int)
    model = GMM(n_components=1, regularisation=0.0, random_state=0).fit(X)
    assert model.likelihood_ == "lower bound"
    levels = np.arange(X.min(), X.max() + 1)
    scores = model.score_samples(levels[:, None])
    # The model's own probability of level v is the Gaussian's mass over [v, v + 1).
    y = model.mixture_
    edges = y.axes.transform(np.arange(len(levels) + 1)[:, None] / model._units[0])[:, 0]
    chances = stats.norm.cdf((edges - y.mixture.means_[0, 0]) / np.sqrt(y.mixture.covariances_[0, 0, 0]))
    exact = np.log(np.diff(chances))
    common = np.abs(levels - 4) <= 2
    assert np.all(scores[common] < exact[common] + 0.05)
    assert (np.exp(exact) * (scores - exact)).sum() == pytest.approx(0, abs=0.02)
    assert np.exp(scores).sum() <= 1.01


def test_expected_bound_lies_below_the_truth() -> None:
    # The mean density over very many draws of u is the model's own probability of a row.
    model = GMM(n_components=2, regularisation=0.03, random_state=0).fit(bits(400, 2))
    cells = every_pattern(2)
    bounds = []
    for seed in range(60):
        model._lattice = qmc.LatinHypercube(2, rng=np.random.default_rng(seed)).random(2)
        bounds.append(model.score_samples(cells))
    model._lattice = np.random.default_rng(0).random((2000, 2))
    error = np.std(bounds, axis=0) / np.sqrt(len(bounds))
    assert np.all(np.mean(bounds, axis=0) <= model.score_samples(cells) + 3 * error + 0.02)


def test_draws_of_noise_are_uniform_over_rows_and_columns() -> None:
    X = np.random.default_rng(0).integers(0, 50, size=(4000, 3))
    model = GMM(n_components=1, n_draws=3, random_state=0).fit(X)
    u = (model._lattice[0] + model._moves(np.unique(X, axis=0).astype(np.float32))) % 1.0
    assert min(stats.kstest(column, "uniform").pvalue for column in u.T) > 1e-3
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 0.1


def test_dequantised_score_of_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    X = np.random.default_rng(0).integers(0, 7, size=(300, 3))
    model = GMM(random_state=0).fit(X)
    together = model.score_samples(X)
    alone = np.concatenate([model.score_samples(row[None]) for row in X[:20]])
    np.testing.assert_allclose(alone, together[:20], rtol=1e-12)


def test_dequantised_images_take_principal_axes_and_come_back_as_integers() -> None:
    rng = np.random.default_rng(0)
    X = np.clip(rng.normal(8, 3, size=(400, 1)) + rng.normal(size=(400, 60)), 0, 16).astype(np.uint8)
    model = GMM(n_components=2, random_state=0).fit(X)
    assert model.mixture_.n_kept <= 50
    drawn = model.sample(200, random_state=0)
    assert drawn.dtype == np.uint8 and drawn.min() >= X.min() and drawn.max() <= X.max()
    assert abs(drawn.mean() - X.mean()) < 0.5
    # Far better than independent columns: the common brightness is one axis.
    assert model.score(X) > Independent().fit(X).score(X) + 10


# ------------------------------------------------------------------ samplers


def chi_square(counts: np.ndarray, chances: np.ndarray) -> float:
    """Return the p-value of counts under chances, rare cells put together."""
    expected = chances * counts.sum()
    rare = expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    return float(stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue)


@pytest.mark.parametrize("model", [Independent(), MixtureOfBernoullis(3, random_state=0)])
def test_samples_of_bits_follow_the_probabilities(model: Independent | MixtureOfBernoullis) -> None:
    model.fit(bits(500, 4))
    drawn = model.sample(20_000, random_state=0)
    counts = np.bincount(drawn @ (1 << np.arange(3, -1, -1)), minlength=16)
    assert chi_square(counts, np.exp(model.score_samples(every_pattern(4)))) > 1e-3


def test_samples_of_a_table_follow_the_probabilities() -> None:
    table = mixed_table(600)
    model = Mixture(3, random_state=0).fit(table)
    cells = every_row(table)
    drawn = model.sample(20_000, random_state=0)
    assert isinstance(drawn, pd.DataFrame) and list(drawn.columns) == list(table.columns)
    names = list(table.columns)
    counts = drawn.value_counts().reindex(pd.MultiIndex.from_frame(cells[names]), fill_value=0).to_numpy()
    assert chi_square(counts, np.exp(model.score_samples(cells))) > 1e-3


@pytest.mark.parametrize(
    "model",
    [
        Mixture(3, random_state=0),
        GMM(2, random_state=0),
        GMM(2, pca=1, random_state=0),
    ],
)
def test_samples_of_numbers_follow_the_density(model: Mixture | GMM) -> None:
    model.fit(blobs(600))
    drawn = model.sample(4000, random_state=0)
    grid = np.stack(np.meshgrid(np.linspace(-7, 8, 500), np.linspace(-12, 12, 500)), axis=-1)
    density = np.exp(model.score_samples(grid.reshape(-1, 2))).reshape(500, 500)
    for column, axis, at in ((0, 0, grid[0, :, 0]), (1, 1, grid[:, 0, 1])):
        cumulative = density.sum(axis=axis).cumsum()
        middle = at + (at[1] - at[0]) / 2
        cdf = np.interp(np.sort(drawn[:, column]), middle, cumulative / cumulative[-1])
        assert stats.kstest(cdf, "uniform").pvalue > 1e-3
    # Marginals can agree where the joint does not.
    np.testing.assert_allclose(model.score_samples(drawn).mean(), entropy_of(density, grid), atol=0.08)


def entropy_of(density: np.ndarray, grid: np.ndarray) -> float:
    cell = (grid[0, 1, 0] - grid[0, 0, 0]) * (grid[1, 0, 1] - grid[0, 0, 1])
    return float((density * np.log(np.maximum(density, 1e-300))).sum() * cell)


def test_full_covariance_is_drawn_as_it_is_scored() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3)) @ np.array([[1.0, 0.9, 0], [0, 0.3, 0.5], [0, 0, 2.0]])
    for pca in (None, 1, 3):
        drawn = GMM(1, pca=pca, random_state=0).fit(X).sample(20_000, random_state=1)
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.2)
        np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(X.T), atol=0.04)


# ------------------------------------------------------------------ EM


@settings(max_examples=20, deadline=None)
@given(
    supports=st.lists(st.sampled_from([Reals(), Binary(), Levels(3), Grid(5)]), min_size=1, max_size=5),
    n_components=st.integers(1, 8),
    smoothing=st.floats(0.01, 5),
    seed=st.integers(0, 2**16),
)
def test_em_never_loses_likelihood(
    supports: list[Support], n_components: int, smoothing: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = np.column_stack(
        [rng.integers(s.n_codes, size=80) if s.is_discrete else rng.normal(size=80) for s in supports]
    ).astype(np.float32)
    independent = independent_product(Layout(tuple(supports)), codes)
    options = {"smoothing": smoothing, "tol": 0.0, "max_iter": 30}
    _, trace = fit_by_em(codes, independent, n_components, rng, **options)
    assert np.diff(trace).min(initial=0) > -1e-9


def test_em_trace_is_the_smoothed_likelihood() -> None:
    codes = bits(200, 5).astype(np.float32)
    independent = independent_product(Layout((Binary(),) * 5), codes)
    mixture, trace = fit_by_em(codes, independent, 2, np.random.default_rng(0), smoothing=1e-9, max_iter=50)
    assert trace[-1] == pytest.approx(mixture.log_prob(codes).mean(), abs=1e-3)


def test_em_finds_the_two_coins() -> None:
    model = MixtureOfBernoullis(2, tol=1e-7, max_iter=1000, random_state=0).fit(bits(5000, 8))
    low = np.argmin(model.mixture_.binary.mean(axis=1))
    np.testing.assert_allclose(model.mixture_.binary[low], 0.2, atol=0.05)
    np.testing.assert_allclose(model.mixture_.binary[1 - low], 0.85, atol=0.05)
    assert model.mixture_.weights[1 - low] == pytest.approx(0.4, abs=0.03)


def test_all_rows_are_used_after_the_start_on_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.baselines.em.SUBSET_ROWS", 50)
    monkeypatch.setattr("chainrule.baselines.em.SINGLE_PRECISION_SIZE", 1000)
    monkeypatch.setattr("chainrule.baselines.product_mixture.BATCH_NUMBERS", 1000)
    model = MixtureOfBernoullis(2, random_state=0).fit(bits(2000, 8))
    assert sorted(model.mixture_.binary.mean(axis=1)) == pytest.approx([0.2, 0.85], abs=0.05)
    assert np.exp(model.score_samples(every_pattern(8))).sum() == pytest.approx(1, abs=1e-10)


def test_smoothing_keeps_a_constant_column_possible() -> None:
    X = bits(50, 3)
    X[:, 1] = 0
    X[0] = [1, 0, 0]
    for model in (Independent(), MixtureOfBernoullis(5, random_state=0)):
        assert np.isfinite(model.fit(X).score_samples([[1, 1, 1]])).all()


def test_independent_counts_half_a_row_more() -> None:
    X = np.array([[0], [0], [1], [0]])
    np.testing.assert_allclose(np.exp(Independent().fit(X).score_samples([[1], [0]])), [1.5 / 5, 3.5 / 5])
    colours = pd.DataFrame({"c": ["a", "b", "b", "c", "b"]})
    scores = Independent().fit(colours).score_samples(pd.DataFrame({"c": ["a", "b", "c"]}))
    # One row in six, the five and one more, is left for colours that are still to come.
    np.testing.assert_allclose(np.exp(scores), np.array([1.5, 3.5, 1.5]) / 6.5 * 5 / 6)


def test_independent_gaussian_in_the_users_units() -> None:
    X = blobs(300) * 50 + 7
    expected = stats.norm(X.mean(axis=0), X.std(axis=0)).logpdf(X).sum(axis=1)
    np.testing.assert_allclose(Independent().fit(X).score_samples(X), expected, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------ missing values


def with_missing(codes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return float codes of which about `share` are NaN."""
    incomplete = np.array(codes, dtype=np.float32)
    incomplete[rng.random(incomplete.shape) < share] = np.nan
    return incomplete


@settings(max_examples=20, deadline=None)
@given(
    supports=st.lists(st.sampled_from([Reals(), Binary(), Levels(3), Grid(5)]), min_size=1, max_size=5),
    n_components=st.integers(1, 6),
    share=st.sampled_from([0.02, 0.3, 0.9]),
    seed=st.integers(0, 2**16),
)
def test_em_never_loses_likelihood_with_missing_values(
    supports: list[Support], n_components: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = np.column_stack(
        [rng.integers(s.n_codes, size=80) if s.is_discrete else rng.normal(size=80) for s in supports]
    )
    codes = with_missing(codes, share, rng)
    independent = independent_product(Layout(tuple(supports)), codes)
    mixture, trace = fit_by_em(codes, independent, n_components, rng, tol=0.0, max_iter=30)
    assert np.isfinite(mixture.log_prob(codes)).all()
    assert np.diff(trace).min(initial=0) > -1e-9


@settings(max_examples=20, deadline=None)
@given(
    n_levels=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    n_components=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
def test_scores_of_rows_with_missing_values_are_marginals(
    n_levels: list[int], n_components: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = with_missing(np.column_stack([rng.integers(n, size=60) for n in n_levels]), 0.3, rng)
    layout = Layout(tuple(map(Levels, n_levels)))
    mixture, _ = fit_by_em(codes, independent_product(layout, codes), n_components, rng)
    cells = np.array(list(itertools.product(*map(range, n_levels))), dtype=np.float32)
    probabilities = np.exp(mixture.log_prob(cells))
    for row in codes[:10]:
        agrees = (np.isnan(row) | (cells == row)).all(axis=1)
        assert np.exp(mixture.log_prob(row[None]))[0] == pytest.approx(probabilities[agrees].sum())


def test_a_missing_number_is_integrated_out() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=300)
    X = pd.DataFrame({"a": rng.normal(3.0 * group), "b": rng.normal(-5.0 * group, 2.0), "c": group})
    incomplete = X.mask(rng.random(X.shape) < 0.2)
    model = Mixture(3, random_state=0).fit(incomplete)
    at = np.linspace(-25, 25, 4000)
    grid = pd.DataFrame({"a": 1.5, "b": at, "c": 1})
    whole = np.trapezoid(np.exp(model.score_samples(grid)), at)
    part = model.score_samples(pd.DataFrame({"a": [1.5], "b": [np.nan], "c": [1]}))
    assert np.exp(part[0]) == pytest.approx(whole, rel=1e-4)
    assert model.score_samples(X[:1] * np.nan) == pytest.approx(0, abs=1e-12)


def test_independent_counts_the_rows_that_have_a_value() -> None:
    X = np.array([[0, 1.5], [0, np.nan], [1, 4.0], [np.nan, 6.5], [np.nan, np.nan]])
    model = Independent().fit(X)
    np.testing.assert_allclose(np.exp(model.score_samples([[1, np.nan], [0, np.nan]])), [1.5 / 4, 2.5 / 4])
    numbers = stats.norm(4.0, np.std([1.5, 4.0, 6.5]))
    np.testing.assert_allclose(model.score_samples([[np.nan, 2.0]]), numbers.logpdf(2.0), rtol=1e-5)


def test_missing_values_tell_nothing_where_they_are_at_random() -> None:
    """A mixture of rows of which half the cells are missing comes close to that of the whole rows."""
    X = bits(4000, 8)
    incomplete = with_missing(X, 0.5, np.random.default_rng(0))
    from_some, from_whole = (MixtureOfBernoullis(2, random_state=0).fit(rows) for rows in (incomplete, X))
    fresh = bits(2000, 8, seed=1)
    assert from_some.score(fresh) == pytest.approx(from_whole.score(fresh), abs=0.03)
    assert from_some.score(fresh) > Independent().fit(X).score(fresh) + 0.3


def test_a_column_without_any_value_among_the_training_rows() -> None:
    codes = np.array([[0, np.nan, np.nan, np.nan], [1, np.nan, np.nan, np.nan]], dtype=np.float32)
    independent = independent_product(Layout((Binary(), Binary(), Levels(3), Reals())), codes)
    rows = np.array([[np.nan, 1, np.nan, np.nan], [np.nan, np.nan, 2, np.nan], [np.nan] * 3 + [0.5]])
    expected = [np.log(0.5), np.log(1 / 3), stats.norm.logpdf(0.5)]
    np.testing.assert_allclose(independent.log_prob(rows), expected)


# ------------------------------------------------------------------ choosing


def test_number_of_components_is_chosen_on_validation_rows() -> None:
    X = bits(300, 10)
    model = MixtureOfBernoullis((1, 2, 100), random_state=0).fit(X, X_val=bits(300, 10, seed=1))
    assert model.n_components_ == 2


@pytest.mark.parametrize(
    ("scores", "best", "last"),
    [
        ({1: 0.0, 2: 2.0, 5: 3.0, 10: 1.0, 20: 0.0, 50: 9.0}, 5, 20),
        ({1: 0.0, 2: 2.0, 5: 1.0, 10: 4.0, 20: 3.0, 50: 5.0}, 50, 50),
    ],
)
def test_choice_stops_after_two_numbers_that_do_worse(scores: dict[int, float], best: int, last: int) -> None:
    fitted: list[int] = []

    def fit(k: int) -> int:
        fitted.append(k)
        return k

    assert best_of(list(scores), fit, score=lambda k: scores[k]) == best
    assert fitted[-1] == last


def test_choice_ends_before_a_number_that_would_not_be_done_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    fitted: list[int] = []

    def fit(k: int) -> int:
        nonlocal now
        now += k  # seconds
        fitted.append(k)
        return k

    monkeypatch.setattr(selection, "working_time", lambda: now)
    assert best_of([1, 2, 5, 10], fit, score=float, until=12.0) == 5
    assert fitted == [1, 2, 5]
    assert best_of([7, 8], fit, score=float, until=0.0) == 7


@pytest.mark.parametrize("model", [GMM(max_time=1e-6), Mixture(max_time=1e-6)])
def test_out_of_time_a_mixture_has_one_component(model: GMM | Mixture) -> None:
    assert model.fit(blobs(400)).n_components_ == 1
    with pytest.raises(ParameterError, match="max_time"):
        clone(model).set_params(max_time=0.0).fit(blobs(400))


def test_a_mixture_of_few_rows_knows_the_levels_of_all() -> None:
    table = pd.DataFrame({"x": ["common"] * 999 + ["rare"], "y": np.arange(1000) % 2})
    few, all_rows = (Mixture(max_rows=most, random_state=0).fit(table) for most in (20, None))
    assert few.schema_.to_dict() == all_rows.schema_.to_dict()
    assert few.n_components_ <= 2  # of 20 rows
    other = Mixture(max_rows=20, random_state=1).fit(table)
    assert not np.array_equal(few.score_samples(table), other.score_samples(table))
    every = pd.DataFrame({"x": ["common", "common", "rare", "rare"], "y": [0, 1, 0, 1]})
    # A level never seen has a share, too.
    assert np.exp(few.score_samples(every)).sum() == pytest.approx(1000 / 1001)


def test_without_validation_rows_the_information_criterion_chooses() -> None:
    model = MixtureOfBernoullis((1, 2, 50), validation_fraction=0.0, random_state=0).fit(bits(400, 10))
    assert model.n_components_ == 2
    assert GMM((1, 2, 10), validation_fraction=0.0, random_state=0).fit(blobs(400)).n_components_ == 2


def test_candidates() -> None:
    assert candidates(None, 12.3) == [1, 2, 5, 10]
    assert candidates(None, 0.2) == [1]
    assert candidates((5, 3, 5), 1) == [3, 5]
    for bad in (0, (), (1, 0), True, "many"):
        with pytest.raises(ValueError, match="n_components"):
            candidates(bad, 10)


# ------------------------------------------------------------------ the interface


@pytest.mark.parametrize(
    ("model", "X"),
    [
        (Independent(), mixed_table(100)),
        (Mixture(2, random_state=0), mixed_table(100).assign(height=np.linspace(150, 200, 100) + 0.123)),
        (MixtureOfBernoullis(random_state=0), bits(100, 4)),
        (Mixture(2, random_state=0), with_missing(bits(100, 4), 0.2, np.random.default_rng(0))),
        (GMM(random_state=0), blobs(100)),
        (GMM(2, pca=1, random_state=0), np.random.default_rng(0).integers(0, 9, (100, 3))),
    ],
)
def test_saved_model_is_bit_equal(
    model: Independent | Mixture | GMM, X: np.ndarray | pd.DataFrame, tmp_path: Path
) -> None:
    model.fit(X).save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    same = again.sample(50, random_state=3), model.sample(50, random_state=3)
    np.testing.assert_array_equal(np.asarray(same[0]), np.asarray(same[1]))
    metadata = [(m.n_components_, m.n_parameters_, m.likelihood_) for m in (again, model)]
    assert metadata[0] == metadata[1]


def test_same_seed_same_model() -> None:
    X = bits(200, 6)
    first, second = (MixtureOfBernoullis(random_state=5).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
    Y = blobs(200)
    first, second = (GMM(random_state=5).fit(Y) for _ in range(2))
    np.testing.assert_array_equal(first.score_samples(Y), second.score_samples(Y))


def test_parameters_are_counted() -> None:
    assert Independent().fit(bits(50, 6)).n_parameters_ == 6
    assert MixtureOfBernoullis(3).fit(bits(50, 6)).n_parameters_ == 2 + 3 * 6
    assert Mixture(2).fit(mixed_table(100)).n_parameters_ == 1 + 2 * (1 + 2 + 4)
    X = np.random.default_rng(0).normal(size=(200, 4))
    # One Gaussian is one Gaussian, on whatever axes it is written down.
    assert {GMM(1, pca=pca).fit(X).n_parameters_ for pca in (None, 1, 2, 4)} == {4 + 10}
    assert GMM(3, pca=2).fit(X).n_parameters_ == 14 + 2 * (1 + 2 + 3)


def test_kinds_that_a_model_cannot_model_are_refused() -> None:
    with pytest.raises(KindError, match="MixtureOfBernoullis cannot model"):
        MixtureOfBernoullis().fit(blobs(20))
    with pytest.raises(KindError, match="'colour'.*categorical"):
        GMM().fit(mixed_table(50))


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (Mixture(smoothing=0), "smoothing"),
        (Mixture(max_iter=0), "max_iter"),
        (Mixture(0), "n_components"),
        (GMM(pca=1.5), "pca"),
        (GMM(pca="some"), "pca"),
        (GMM(n_draws=0), "n_draws"),
        (GMM(regularisation=-1), "regularisation"),
    ],
)
def test_bad_arguments_are_named(model: Mixture | GMM, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        model.fit(bits(50, 3))


def test_more_gaussians_than_rows_are_refused() -> None:
    with pytest.raises(DataError, match="ask for fewer"):
        GMM(50).fit(blobs(20))


@pytest.mark.parametrize("model", [Independent(), Mixture(), GMM()])
def test_two_rows_and_one_column_are_enough(model: Independent | Mixture | GMM) -> None:
    X = np.array([[0.5], [2.25]])
    assert np.isfinite(model.fit(X).score_samples(X)).all()


def test_mixture_reaches_the_published_level_on_binarized_mnist(data_folder: Path) -> None:
    from chainrule.datasets import load_dataset

    dataset = load_dataset("binarized-mnist")
    model = MixtureOfBernoullis(10, random_state=0).fit(dataset.train[:20_000], X_val=dataset.valid[:1000])
    # Ten components are reported at 168.95 nats, fitted to all 50,000 rows.
    assert model.score(dataset.test[::5]) > -170


def test_smoothing_is_chosen_on_the_validation_rows_where_levels_are_many() -> None:
    rng = np.random.default_rng(0)
    group = rng.random(400) < 0.5
    X = np.column_stack([group, rng.poisson(np.where(group, 60, 90)), rng.integers(0, 150, 400)])
    train, valid = X[:300], X[300:]
    little = Mixture(smoothing=0.5, random_state=0).fit(train, X_val=valid)
    chosen = Mixture(random_state=0).fit(train, X_val=valid)
    assert chosen.score(valid) > little.score(valid) + 0.1
    assert chosen.score(valid) >= Independent().fit(train).score(valid)
    bits = (rng.random((300, 6)) < np.where(rng.random((300, 1)) < 0.5, 0.8, 0.2)).astype(int)
    fits = [Mixture(smoothing=s, random_state=0).fit(bits[:200], X_val=bits[200:]) for s in (0.5, None)]
    assert fits[0].score(bits) == fits[1].score(bits)
