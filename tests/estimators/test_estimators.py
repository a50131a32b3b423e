"""NADE and MADE as scikit-learn estimators."""

from __future__ import annotations

import inspect
import itertools
import math
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from chainrule import MADE, NADE, OrderlessNADE, load
from chainrule.errors import DataError, ParameterError

QUICK = {"max_epochs": 3, "random_state": 0}


def estimators(**parameters):
    parameters = QUICK | parameters
    return [NADE(8, **parameters), MADE((8, 8), dropout=0.1, **parameters)]


each = pytest.mark.parametrize("estimator", estimators(), ids=["NADE", "MADE"])


def bits(n=200, n_variables=4, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n, n_variables)) < 0.4).astype(np.uint8)


def gaussians(n=200, n_variables=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_variables)) @ rng.normal(size=(n_variables, n_variables))


# ---------------------------------------------------------------- 5: a known distribution


@pytest.fixture(scope="module")
def known():
    """A random table over 6 bits, and rows drawn from it."""
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet(np.full(64, 0.5))
    cells = np.array(list(itertools.product([0, 1], repeat=6)))
    drawn = [cells[rng.choice(64, size=n, p=probabilities)] for n in (5000, 1000, 5000)]
    return cells, probabilities, drawn


@pytest.mark.parametrize(
    "estimator",
    [
        NADE(32, learning_rate=0.01, max_epochs=40, random_state=0),
        MADE((64,), dropout=0.0, learning_rate=0.01, max_epochs=40, random_state=0),
        MADE((48,), n_orderings=2, n_masks=2, dropout=0.0, learning_rate=0.01, max_epochs=40, random_state=0),
    ],
    ids=["NADE", "MADE", "ensemble"],
)
def test_nll_comes_close_to_the_entropy_and_never_below_it(estimator, known):
    cells, probabilities, (train, valid, test) = known
    model = estimator.fit(train, X_val=valid)
    scores = model.score_samples(test)
    # Compared with the true log-probability of the same rows, most of the sampling error is gone.
    truth = np.log(probabilities[test @ (2 ** np.arange(6)[::-1])])
    regret = truth - scores
    error = regret.std() / math.sqrt(len(test))
    assert regret.mean() > -4 * error
    assert regret.mean() < 0.06
    # The exact expectation: the entropy plus the divergence from the truth, which is never negative.
    log_prob = model.score_samples(cells)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-5)
    assert 0 < probabilities @ (np.log(probabilities) - log_prob) < 0.06
    # And the samples follow the model's own table.
    samples = model.sample(20_000, random_state=0)
    counts = np.bincount(samples @ (2 ** np.arange(6)[::-1]), minlength=64)
    expected = np.exp(log_prob) * 20_000
    common = expected >= 5
    observed = np.append(counts[common], counts[~common].sum() + 1e-9)
    wanted = np.append(expected[common], expected[~common].sum() + 1e-9)
    assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-4


def test_a_known_continuous_distribution():
    """Correlated normals: the score comes close to minus the differential entropy, not above it."""
    rng = np.random.default_rng(0)
    mix = np.array([[2.0, 0.0], [1.5, 0.5]])
    draw = lambda n: rng.normal(size=(n, 2)) @ mix.T + 10  # noqa: E731
    model = NADE(24, n_components=2, learning_rate=0.01, max_epochs=40, random_state=0)
    model.fit(draw(4000), X_val=draw(1000))
    test = draw(4000)
    regret = stats.multivariate_normal([10, 10], mix @ mix.T).logpdf(test) - model.score_samples(test)
    assert -4 * regret.std() / math.sqrt(4000) < regret.mean() < 0.06


# ---------------------------------------------------------------- scores


@each
@pytest.mark.parametrize("X", [bits(), gaussians()], ids=["bits", "continuous"])
def test_scores_are_double_precision_one_per_row(estimator, X):
    model = estimator.fit(X)
    scores = model.score_samples(X[:7])
    assert scores.dtype == np.float64
    assert scores.shape == (7,)
    assert np.isfinite(scores).all()
    assert model.score(X[:7]) == pytest.approx(scores.mean())


@each
@pytest.mark.parametrize(("factor", "shift"), [(4.0, 0.0), (0.01, 3.0), (1e4, -5e4)])
def test_rescaling_a_continuous_table_moves_scores_by_the_log_determinant(estimator, factor, shift):
    X = gaussians()
    plain = estimator.fit(X).score_samples(X)
    scaled = estimator.fit(factor * X + shift).score_samples(factor * X + shift)
    np.testing.assert_allclose(scaled, plain - 3 * math.log(factor), atol=0.01)


@each
def test_only_continuous_columns_bear_a_unit(estimator):
    X = pd.DataFrame({"height": gaussians()[:, 0], "smokes": bits()[:, 0].astype(bool)})
    taller = X.assign(height=100 * X["height"])
    difference = estimator.fit(taller).score_samples(taller) - estimator.fit(X).score_samples(X)
    np.testing.assert_allclose(difference, -math.log(100), atol=0.01)


@each
def test_one_continuous_column_integrates_to_one_in_its_own_units(estimator):
    X = 1000 + 50 * np.random.default_rng(0).normal(size=(300, 1))
    grid = np.linspace(0, 2000, 40_001)[:, None]
    density = np.exp(estimator.fit(X).score_samples(grid))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1, abs=1e-3)


# ---------------------------------------------------------------- samples


@each
def test_samples_come_in_the_container_of_the_data(estimator):
    rng = np.random.default_rng(0)
    columns = {
        "colour": rng.choice(["blue", "red", "white"], 80),
        "height": rng.normal(170, 10, 80),
        "smokes": rng.random(80) < 0.5,
        "children": rng.integers(0, 5, 80),
    }
    for X in (pd.DataFrame(columns), pl.DataFrame(columns), pl.DataFrame(columns).to_arrow()):
        model = estimator.fit(X)
        samples = model.sample(30, random_state=0)
        assert type(samples) is type(X)
        frame = samples if isinstance(X, pl.DataFrame) else pl.DataFrame(samples)
        assert frame.columns == list(columns)
        assert set(frame["colour"]) <= {"blue", "red", "white"}
        assert frame["smokes"].dtype == pl.Boolean
        assert frame["children"].is_between(0, 4).all()
        assert np.isfinite(model.score_samples(samples)).all()


@each
def test_the_same_seed_gives_the_same_model_and_samples(estimator):
    X = bits()
    models = [clone(estimator).fit(X) for _ in range(2)]
    other = clone(estimator).set_params(random_state=1).fit(X)
    np.testing.assert_array_equal(models[0].score_samples(X), models[1].score_samples(X))
    assert not np.array_equal(models[0].score_samples(X), other.score_samples(X))
    samples = [m.sample(50, random_state=5) for m in models]
    np.testing.assert_array_equal(*samples)
    assert not np.array_equal(models[0].sample(50, random_state=6), samples[0])
    assert not np.array_equal(models[0].sample(50), models[0].sample(50)), "None must draw anew"


@pytest.mark.parametrize(
    "seed", [lambda: 3, lambda: np.random.default_rng(3), lambda: np.random.RandomState(3)]
)
def test_seeds_of_every_kind_are_taken(seed):
    fits = [NADE(4, max_epochs=1, random_state=seed()).fit(bits()) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].score_samples(bits()), fits[1].score_samples(bits()))
    np.testing.assert_array_equal(*(fits[0].sample(9, random_state=seed()) for _ in range(2)))


# ---------------------------------------------------------------- context


@pytest.fixture(scope="module")
def conditioned():
    """Bits that are 1 with probability 0.9 or 0.1, as the context says; the first one included."""
    rng = np.random.default_rng(0)
    group = rng.choice(["high", "low"], 1500)
    X = (rng.random((1500, 3)) < np.where(group == "high", 0.9, 0.1)[:, None]).astype(int)
    return X, pd.DataFrame({"group": group})


@pytest.mark.parametrize(
    "estimator",
    [
        NADE(16, learning_rate=0.01, max_epochs=15, random_state=0),
        MADE((64,), learning_rate=0.01, max_epochs=40, random_state=0),
    ],
    ids=["NADE", "MADE"],
)
def test_context_changes_the_distribution(estimator, conditioned):
    X, context = conditioned
    model = estimator.fit(X, context=context)
    cells = np.array(list(itertools.product([0, 1], repeat=3)))
    for group, p in (("high", 0.9), ("low", 0.1)):
        given = pd.DataFrame({"group": [group] * 8})
        probabilities = np.exp(model.score_samples(cells, context=given))
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(probabilities @ cells, p, atol=0.06)
        samples = model.sample(2000, context=given[:1], random_state=0)
        np.testing.assert_allclose(samples.mean(0), p, atol=0.06)
    rows = model.sample(1500, context=context, random_state=0)
    high = (context["group"] == "high").to_numpy()
    assert (rows[high].mean(0) > 0.8).all()
    assert (rows[~high].mean(0) < 0.2).all()


@each
def test_context_of_the_wrong_length_width_or_absence_is_refused(estimator):
    X, context = bits(), gaussians(n_variables=2)
    plain = clone(estimator).fit(X)
    model = estimator.fit(X, context=context)
    for call, message in [
        (lambda: plain.score_samples(X, context=context), "expects no context"),
        (lambda: plain.sample(3, context=context[:3]), "expects no context"),
        (lambda: model.score_samples(X), "expects a context, as in fit"),
        (lambda: model.sample(3), "expects a context, as in fit"),
        (lambda: model.score_samples(X, context=context[:5]), "context has 5 rows, expected 200"),
        (lambda: model.score_samples(X, context=context[:, :1]), "1 features, but .* expecting 2"),
        (lambda: model.sample(3, context=context[:2]), "context has 2 rows, expected 1 or n_samples = 3"),
        (lambda: clone(estimator).fit(X, context=context[:5]), "context has 5 rows, expected 200"),
        (lambda: clone(estimator).fit(X, context=context, X_val=X), "context and context_val go together"),
        (
            lambda: clone(estimator).fit(X, X_val=X, context_val=context),
            "context and context_val go together",
        ),
    ]:
        with pytest.raises(DataError, match=message):
            call()


@each
def test_a_list_or_a_vector_is_a_context_of_one_column(estimator):
    X, context = bits(), gaussians(n_variables=1)
    scores = [
        clone(estimator).fit(X, context=c).score_samples(X, context=c)
        for c in (context, context[:, 0], context[:, 0].tolist())
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


# ---------------------------------------------------------------- wrong parameters

WRONG = [
    (NADE(0), "'hidden_size' parameter of NADE must be an int .* Got 0"),
    (NADE(4.0), "'hidden_size' parameter of NADE must be an int .* Got 4.0"),
    (NADE("4"), "'hidden_size' parameter of NADE must be an int .* Got '4'"),
    (NADE(activation="swish"), "'activation' parameter of NADE must be a str among .* Got 'swish'"),
    (NADE(ordering="backwards"), "'ordering' parameter of NADE must be .* Got 'backwards'"),
    (NADE(ordering=[0, 0, 1, 2]), r"an ordering must be a permutation of 0\.\.3, got \[0, 0, 1, 2\]"),
    (NADE(ordering=[0, 1, 2]), "an ordering must be a permutation"),
    (NADE(ordering=[0.5, 1, 2, 3]), "an ordering must be a permutation"),
    (NADE(n_orderings=0), "'n_orderings' parameter of NADE must be an int .* Got 0"),
    (NADE(n_orderings=1.5), "'n_orderings' parameter of NADE must be an int .* Got 1.5"),
    (NADE(mixture="cauchy"), "'mixture' parameter of NADE must be a str among .* Got 'cauchy'"),
    (NADE(encoding="dense"), "'encoding' parameter of NADE must be a str among .* Got 'dense'"),
    (NADE(n_components=0), "'n_components' parameter of NADE must be an int .* Got 0"),
    (NADE(batch_size=0), "'batch_size' parameter of NADE must be an int .* Got 0"),
    (NADE(batch_size=2.5), "'batch_size' parameter of NADE must be an int .* Got 2.5"),
    (NADE(max_epochs=0), "'max_epochs' parameter of NADE must be an int .* Got 0"),
    (NADE(patience=-1), "'patience' parameter of NADE must be an int .* Got -1"),
    (NADE(resample_every=0), "'resample_every' parameter of NADE must be an int .* Got 0"),
    (NADE(learning_rate=0), "'learning_rate' parameter of NADE must be a float .* Got 0"),
    (NADE(learning_rate=math.nan), "'learning_rate' parameter of NADE must be a float .* Got nan"),
    (NADE(learning_rate="fast"), "'learning_rate' parameter of NADE must be a float .* Got 'fast'"),
    (NADE(weight_decay=-1), "'weight_decay' parameter of NADE must be a float .* Got -1"),
    (NADE(validation_fraction=1.0), "'validation_fraction' parameter of NADE must be a float .* Got 1.0"),
    (NADE(device="tpu9"), "device 'tpu9' cannot be used here"),
    (NADE(kinds="blue"), "blue"),
    (MADE(()), r"hidden_sizes must name whole numbers of units, one per layer, got \(\)"),
    (MADE((5, 0)), r"hidden_sizes must name whole numbers of units, one per layer, got \(5, 0\)"),
    (MADE((4.5,)), r"hidden_sizes must name whole numbers of units, one per layer, got \(4.5,\)"),
    (MADE(16), "'hidden_sizes' parameter of MADE must be an array-like. Got 16"),
    (MADE(n_masks=0), "'n_masks' parameter of MADE must be an int .* Got 0"),
    (MADE(degrees="odd"), "'degrees' parameter of MADE must be a str among .* Got 'odd'"),
    (MADE(dropout=1.0), "'dropout' parameter of MADE must be a float .* Got 1.0"),
    (MADE((4, 5), residual=True), r"residual layers need equal hidden_sizes, got \(4, 5\)"),
]


@pytest.mark.parametrize(("estimator", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_a_wrong_parameter_is_named(estimator, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(bits())


@each
def test_a_wrong_number_of_samples_is_refused(estimator):
    model = estimator.fit(bits())
    for wrong in (0, 2.5):
        with pytest.raises(
            ParameterError, match=f"n_samples must be a whole number of at least 1, got {wrong}"
        ):
            model.sample(wrong)


def test_a_failed_refit_leaves_the_fitted_model_alone():
    model = NADE(4, max_epochs=1, random_state=0).fit(bits())
    scores = model.score_samples(bits())
    with pytest.raises(ParameterError):
        model.set_params(ordering=[0, 0, 0, 0]).fit(bits()[:, :3])
    assert (model.score_samples(bits()) == scores).all()


def test_kinds_by_column_number_survive_saving(tmp_path):
    model = NADE(4, kinds={0: "ordinal"}, max_epochs=1, random_state=0).fit(bits())
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").get_params()["kinds"] == {0: "ordinal"}


def test_validation_context_needs_validation_rows():
    with pytest.raises(DataError, match="context_val belongs to X_val"):
        NADE(4).fit(bits(), context=bits()[:, :1], context_val=bits()[:, :1])


# ---------------------------------------------------------------- the face of scikit-learn


@each
def test_unfitted_estimators_say_so(estimator):
    fresh = clone(estimator)
    for call in (lambda: fresh.score_samples(bits()), fresh.sample, lambda: fresh.save("nowhere")):
        with pytest.raises(NotFittedError):
            call()


@each
def test_clones_carry_parameters_only(estimator):
    fitted = estimator.fit(bits())
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "schema_")


@each
def test_fitting_changes_no_parameter_and_no_data(estimator):
    X = bits()
    before, parameters = X.copy(), estimator.get_params()
    estimator.fit(X, X_val=X)
    estimator.score(X)
    assert np.array_equal(X, before)
    assert estimator.get_params() == parameters


@each
def test_fitted_attributes(estimator):
    model = clone(estimator).fit(bits())
    assert model.n_features_in_ == 4
    assert model.n_parameters_ == model.model_.conditioner.n_free_parameters() > 0
    assert model.history_.epochs == len(model.history_.valid) == 3
    assert model.likelihood_ == "exact"
    assert model.fit(pd.DataFrame(bits(), columns=list("abcd"))) is model
    assert list(model.feature_names_in_) == list("abcd")
    assert model.schema_.kinds == ("binary",) * 4
    # Names do not outlive a fit to rows without them.
    assert not hasattr(model.fit(bits()), "feature_names_in_")


@each
@pytest.mark.parametrize("with_context", [False, True])
def test_a_pickled_estimator_scores_and_samples_alike(estimator, with_context):
    X = gaussians()
    given = {"context": bits(n_variables=2)} if with_context else {}
    model = estimator.fit(X, **given)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.score_samples(X, **given), model.score_samples(X, **given))
    samples = [m.sample(200, random_state=0, **given) for m in (model, other)]
    np.testing.assert_array_equal(*samples)


@each
def test_a_second_fit_forgets_the_first(estimator):
    model = clone(estimator).fit(gaussians())
    again = model.fit(bits()).score_samples(bits())
    np.testing.assert_array_equal(again, clone(estimator).fit(bits()).score_samples(bits()))


@each
def test_validation_rows_are_set_aside_by_the_seed(estimator):
    X = bits()
    with_all = clone(estimator).set_params(validation_fraction=0.0).fit(X)
    assert with_all.history_.valid == []
    assert with_all.history_.epochs == 3
    given = clone(estimator).fit(X[:150], X_val=X[150:])
    assert given.history_.valid[-1] > 0


def test_the_ordering_is_the_one_that_was_asked_for():
    X = bits()
    orders = {
        "natural": NADE(4, **QUICK).fit(X).model_.conditioner.order(0).tolist(),
        "given": NADE(4, ordering=[2, 0, 3, 1], **QUICK).fit(X).model_.conditioner.order(0).tolist(),
    }
    assert orders == {"natural": [0, 1, 2, 3], "given": [2, 0, 3, 1]}
    several = NADE(4, ordering="random", n_orderings=3, **QUICK).fit(bits(n_variables=12)).model_
    assert len({tuple(several.conditioner.order(k).tolist()) for k in range(3)}) == 3


@each
def test_rows_that_may_not_be_written_to_are_fine_and_silent(estimator):
    X, context = gaussians().astype(np.float32), gaussians(n_variables=1)
    for array in (X, context):
        array.flags.writeable = False
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = estimator.fit(X, context=context)
            model.score_samples(X, context=context)
            model.sample(len(X), context=context)
            model.sample(5, context=context[:1])
    finally:
        torch.set_warn_always(False)


@each
def test_two_rows_are_enough(estimator):
    assert np.isfinite(estimator.fit(np.array([[0, 1], [1, 0]])).score(np.array([[0, 1]])))


def test_dependencies_that_are_lost_are_told_once():
    with pytest.warns(UserWarning, match="have no path through these hidden layers; widen them") as caught:
        MADE((2,), direct_connections=False, **QUICK).fit(bits(n_variables=6))
    assert len(caught) == 1


@pytest.mark.filterwarnings("ignore:.* dependencies between variables")
def test_direct_connections_are_left_out_where_they_are_dear(monkeypatch):
    """They are dear when many, and more than twice as many as the weights of the output layer."""
    assert MADE((1,), **QUICK).fit(bits()).model_.conditioner.direct is not None
    monkeypatch.setattr("chainrule.estimators.made._MAX_DIRECT_WEIGHTS", 10)
    assert MADE((1,), **QUICK).fit(bits()).model_.conditioner.direct is None
    assert MADE((2,), **QUICK).fit(bits()).model_.conditioner.direct is not None
    assert MADE((1,), direct_connections=True, **QUICK).fit(bits()).model_.conditioner.direct is not None


@each
def test_progress_is_shown_when_asked_for(estimator, capsys):
    clone(estimator).fit(bits())
    assert capsys.readouterr() == ("", "")
    clone(estimator).set_params(verbose=True).fit(bits())
    assert f"{type(estimator).__name__}" in capsys.readouterr().err


# ---------------------------------------------------------------- devices


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each
def test_devices_agree(estimator, tmp_path):
    X = gaussians()
    on_cpu = clone(estimator).set_params(device="cpu").fit(X)
    on_gpu = pickle.loads(pickle.dumps(on_cpu)).set_params(device="cuda")
    on_gpu.model_.to("cuda")
    np.testing.assert_allclose(on_gpu.score_samples(X), on_cpu.score_samples(X), rtol=1e-4, atol=1e-4)
    fitted = clone(estimator).set_params(device="cuda").fit(X)
    assert np.isfinite(fitted.score(X))
    assert np.isfinite(fitted.sample(10, random_state=0)).all()


@pytest.mark.parametrize("estimator", [NADE, MADE, OrderlessNADE])
def test_every_constructor_argument_is_documented_by_the_class_itself(estimator):
    for name in inspect.signature(estimator).parameters:
        assert f"\n    {name} : " in estimator.__doc__, name
    assert "**" not in estimator.__doc__ and "As in `NADE`" not in estimator.__doc__
