"""Ensembles: the mean of the probabilities of independently fitted members."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from chainrule import (
    GMM,
    MADE,
    NADE,
    Ensemble,
    Independent,
    Mixture,
    MixtureOfBernoullis,
    OrderlessNADE,
    load,
)
from chainrule.errors import DataError, FitInterrupted, KindError, ParameterError
from chainrule.training import Trainer

QUICK = {"max_epochs": 2, "learning_rate": 0.05}
MEMBERS = {
    "MADE": MADE((8, 8), n_masks=2, **QUICK),
    "NADE": NADE(6, n_orderings=2, **QUICK),
    "Mixture": Mixture(2),
    "any order": OrderlessNADE((8,), **QUICK),
    "Ensemble": Ensemble(NADE(4, **QUICK), 2),
}

each = pytest.mark.parametrize("estimator", MEMBERS.values(), ids=MEMBERS.keys())


def bits(n=120, n_variables=4, seed=0, share=0.4):
    rng = np.random.default_rng(seed)
    return (rng.random((n, n_variables)) < share).astype(np.uint8)


def gaussians(n=120, n_variables=3, seed=0):
    rng = np.random.default_rng(seed)
    return 5 + 3 * rng.normal(size=(n, n_variables)) @ rng.normal(size=(n_variables, n_variables))


def table(n=80):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "colour": rng.choice(["blue", "green", "red"], n),
            "smokes": rng.random(n) < 0.3,
            "n": rng.integers(0, 4, n),
        }
    )


def every(*levels):
    return list(itertools.product(*levels))


def unlike_members():
    """Return an ensemble whose members disagree, so that no member's distribution is near to the mean."""
    model = Ensemble(Independent(), 3, random_state=0).fit(bits())
    model.members_ = [Independent().fit(bits(share=share)) for share in (0.1, 0.5, 0.9)]
    return model


# ---------------------------------------------------------------- the distribution


@each
def test_probabilities_of_all_rows_sum_to_one(estimator):
    model = Ensemble(estimator, 3, random_state=0).fit(bits())
    cells = np.array(every(*[[0, 1]] * 4), dtype=np.uint8)
    assert np.exp(model.score_samples(cells)).sum() == pytest.approx(1, abs=1e-6)


@each
def test_probabilities_of_a_table_of_several_kinds_sum_to_one(estimator):
    model = Ensemble(estimator, 2, random_state=0).fit(table())
    cells = every(["blue", "green", "red"], [False, True], range(4))
    frame = pd.DataFrame(cells, columns=["colour", "smokes", "n"])
    # But for the share that is kept for levels that no training row has.
    seen = np.prod([1 - variable.reserved for variable in model.schema_.variables])
    assert np.exp(model.score_samples(frame)).sum() == pytest.approx(seen, abs=1e-6)


@each
@pytest.mark.parametrize("X", [bits(), gaussians()], ids=["bits", "continuous"])
def test_scores_are_the_log_mean_of_the_members_probabilities(estimator, X):
    model = Ensemble(estimator, 3, random_state=0).fit(X)
    scores = model.member_scores(X)
    assert scores.shape == (3, len(X))
    assert scores.dtype == model.score_samples(X).dtype == np.float64
    assert (np.ptp(scores, axis=0) > 0).any()
    np.testing.assert_array_equal(scores, [member.score_samples(X) for member in model.members_])
    np.testing.assert_allclose(model.score_samples(X), logsumexp(scores, axis=0) - np.log(3), rtol=1e-13)


def test_the_mean_is_above_its_geometric_counterpart():
    model, X = unlike_members(), bits()
    scores = model.member_scores(X)
    assert (model.score_samples(X) > scores.mean(axis=0) + 0.1).all()
    assert (model.score_samples(X) < scores.max(axis=0)).all()


def test_a_row_that_all_but_one_member_exclude_keeps_its_share(monkeypatch):
    model = unlike_members()
    monkeypatch.setattr(model.members_[0], "_score_codes", lambda codes, context: np.zeros(len(codes)))
    for member in model.members_[1:]:
        monkeypatch.setattr(member, "_score_codes", lambda codes, context: np.full(len(codes), -np.inf))
    np.testing.assert_allclose(model.score_samples(bits()), -np.log(3))
    model.members_ = model.members_[1:]
    with pytest.raises(FloatingPointError, match="log p of -inf"):
        model.score_samples(bits())


def test_samples_follow_the_density():
    model = unlike_members()
    cells = np.array(every(*[[0, 1]] * 4), dtype=np.uint8)
    expected = np.exp(model.score_samples(cells))
    assert np.abs(expected - np.exp(model.member_scores(cells))).sum(axis=1).min() > 0.2
    drawn = model.sample(20_000, random_state=0) @ [8, 4, 2, 1]
    observed = np.bincount(drawn, minlength=16)
    assert stats.chisquare(observed, 20_000 * expected).pvalue > 1e-3


def test_samples_do_not_come_sorted_by_member():
    sums = unlike_members().sample(3000, random_state=0).sum(axis=1)
    halves = sums[:1500].mean(), sums[1500:].mean()
    assert halves[0] == pytest.approx(halves[1], abs=0.2)


def test_scoring_needs_no_memory_per_member():
    model, X = unlike_members(), bits(40_000)
    model.score_samples(X[:10])
    peaks = []
    for copies in (1, 10):
        model.members_ = model.members_[:1] * copies
        tracemalloc.start()
        model.score_samples(X)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3 * len(X) * 8


# ---------------------------------------------------------------- missing values


@pytest.mark.parametrize(
    "estimator", [OrderlessNADE((8,), **QUICK), OrderlessNADE((8,), network="shared", **QUICK)]
)
def test_members_of_any_order_leave_missing_values_out(estimator):
    X = gaussians()
    X[::3, 1] = X[1::4, 0] = np.nan
    model = Ensemble(estimator, 2, random_state=0).fit(X)
    scores = model.member_scores(X)
    np.testing.assert_array_equal(scores, [member.score_samples(X) for member in model.members_])
    np.testing.assert_allclose(model.score_samples(X), logsumexp(scores, axis=0) - np.log(2), rtol=1e-13)


def test_probabilities_of_what_is_there_sum_to_one():
    model = Ensemble(OrderlessNADE((8,), **QUICK), 2, random_state=0).fit(bits().astype(float))
    cells = np.array(every([0, 1], [np.nan], [0, 1], [0, 1]))
    assert np.exp(model.score_samples(cells)).sum() == pytest.approx(1, abs=1e-6)


def test_members_of_fixed_order_refuse_missing_values():
    X = gaussians()
    model = Ensemble(NADE(4, **QUICK), 2, random_state=0).fit(X)
    X[3, 1] = np.nan
    for call in (model.score_samples, model.member_scores, clone(model).fit):
        with pytest.raises(DataError, match="missing"):
            call(X)


# ---------------------------------------------------------------- context


@pytest.fixture(scope="module")
def conditioned():
    context = bits(300, 1, seed=1)
    X = bits(300, 3) ^ context
    estimator = NADE(6, max_epochs=3, learning_rate=0.05)
    return Ensemble(estimator, 2, random_state=0).fit(X, context=context)


@pytest.mark.parametrize("value", [0, 1])
def test_probabilities_given_a_context_sum_to_one(conditioned, value):
    cells = np.array(every(*[[0, 1]] * 3), dtype=np.uint8)
    scores = conditioned.score_samples(cells, context=np.full((8, 1), value))
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-6)


def test_each_sample_follows_its_own_context(conditioned):
    context = np.tile([[0], [1], [1]], (4000, 1))
    drawn = conditioned.sample(12_000, context=context, random_state=0) @ [4, 2, 1]
    cells = np.array(every(*[[0, 1]] * 3), dtype=np.uint8)
    for value, n in ((0, 4000), (1, 8000)):
        expected = np.exp(conditioned.score_samples(cells, context=np.full((8, 1), value)))
        observed = np.bincount(drawn[context[:, 0] == value], minlength=8)
        assert stats.chisquare(observed, n * expected / expected.sum()).pvalue > 1e-3


def test_context_is_asked_for_and_checked(conditioned):
    for call in (conditioned.score_samples, conditioned.member_scores):
        with pytest.raises(DataError, match="this Ensemble expects a context, as in fit"):
            call(bits(5, 3))
    with pytest.raises(DataError, match="Independent takes no context; NADE and MADE do"):
        Ensemble(Independent()).fit(bits(), context=bits())


# ---------------------------------------------------------------- the members


def test_a_member_is_what_it_would_be_if_fitted_alone():
    X, X_val = bits(), bits(40, seed=1)
    model = Ensemble(MADE((6,), **QUICK), 3, random_state=0).fit(X, X_val=X_val)
    assert len({member.random_state for member in model.members_}) == 3
    for member in model.members_:
        alone = clone(member).fit(X, X_val=X_val)
        np.testing.assert_array_equal(alone.score_samples(X), member.score_samples(X))
    assert model.n_parameters_ == sum(member.n_parameters_ for member in model.members_)
    assert model.n_parameters_ > model.members_[0].n_parameters_ > 0


def orders_of(estimator, n_members=4):
    model = Ensemble(estimator, n_members, random_state=0).fit(bits(n_variables=5))
    return [tuple(member.model_.conditioner.order(0).tolist()) for member in model.members_]


@pytest.mark.parametrize("estimator", [MADE((6,), max_epochs=1), NADE(4, max_epochs=1)], ids=["MADE", "NADE"])
def test_members_take_different_orders(estimator):
    orders = orders_of(estimator)
    assert orders[0] == (0, 1, 2, 3, 4)
    assert len(set(orders)) == 4
    drawn = orders_of(clone(estimator).set_params(ordering="random"))
    assert len(set(drawn)) == 4


def test_an_order_that_is_given_is_the_order_of_all_members():
    for order in ([2, 0, 4, 3, 1], np.array([2, 0, 4, 3, 1])):
        assert orders_of(NADE(4, ordering=order, max_epochs=1)) == [(2, 0, 4, 3, 1)] * 4


def test_members_of_any_order_stay_any_order_models():
    ensemble = Ensemble(OrderlessNADE(network="shared"))
    assert ensemble.is_any_order
    assert all(ensemble._new_member(number, seed=0).is_any_order for number in range(2))


class Recorder(Independent):
    """Keeps what it was fitted to."""

    def _fit_codes(self, train, valid, generator):
        self.codes_, self.codes_val_ = train.codes, None if valid is None else valid.codes
        super()._fit_codes(train, valid, generator)


def sorted_rows(*parts):
    rows = np.concatenate(parts)
    return rows[np.lexsort(rows.T)]


def test_members_share_rows_and_schema():
    X = gaussians()
    first, *others = Ensemble(Recorder(), 3, validation_fraction=0.25, random_state=0).fit(X).members_
    assert len(first.codes_) == 90
    assert len(first.codes_val_) == 30
    for member in others:
        np.testing.assert_array_equal(member.codes_, first.codes_)
        np.testing.assert_array_equal(member.codes_val_, first.codes_val_)
        assert member.schema_ is first.schema_
    assert Ensemble(Recorder(), 1, validation_fraction=0).fit(X).members_[0].codes_val_ is None


@pytest.mark.parametrize("is_given", [True, False])
def test_members_can_draw_validation_rows_of_their_own_from_all_rows(is_given):
    X, X_val = gaussians(), gaussians(seed=1)[:40]
    pooled = Ensemble(Recorder(), 3, validation_fraction=0.25, pool_validation=True, random_state=0)
    model = pooled.fit(X, X_val=X_val if is_given else None)
    given = [model.encode_rows(X_val)[0]] if is_given else []
    whole = sorted_rows(model.encode_rows(X)[0], *given)
    for member in model.members_:
        assert len(member.codes_val_) == len(whole) // 4
        np.testing.assert_array_equal(sorted_rows(member.codes_, member.codes_val_), whole)
        assert member.schema_ is model.schema_
    first, second, third = (sorted_rows(member.codes_val_) for member in model.members_)
    assert (first != second).any()
    assert (second != third).any()


def test_context_goes_with_the_rows_that_a_member_draws():
    rows = np.arange(40.0)[:, None] * [1.0, 2.0]

    class ContextRecorder(Recorder):
        def _check_context_use(self, context, context_val, X_val):
            pass

        def _fit_codes(self, train, valid, generator):
            self.context_, self.context_val_ = train.context, valid.context
            super()._fit_codes(train, valid, generator)

    pooled = Ensemble(ContextRecorder(), 2, pool_validation=True, random_state=0)
    for member in pooled.fit(rows, context=rows[:, :1]).members_:
        for codes, context in (
            (member.codes_, member.context_),
            (member.codes_val_, member.context_val_),
        ):
            order = np.argsort(codes[:, 0])
            assert (np.argsort(context[:, 0]) == order).all()


def test_the_default_members_are_made():
    model = Ensemble(n_members=1, random_state=0)
    assert type(model._new_member(0, 0)) is MADE
    assert Ensemble().n_members == 8


def test_kinds_are_those_of_the_estimator_unless_set():
    X = bits()
    estimator = Independent(kinds="ordinal")
    assert set(Ensemble(estimator, 2).fit(X).schema_.kinds) == {"ordinal"}
    model = Ensemble(estimator, 2, kinds="categorical").fit(X)
    assert set(model.schema_.kinds) == set(model.members_[1].schema_.kinds) == {"categorical"}
    assert model.members_[1].kinds == "categorical"
    assert estimator.kinds == "ordinal"


def test_the_likelihood_is_that_of_the_members():
    assert Ensemble(Independent(), 2).fit(bits()).likelihood_ == "exact"
    assert Ensemble(GMM(1), 2).fit(bits()).likelihood_ == "lower bound"


def test_the_same_seed_gives_the_same_ensemble():
    X = bits()
    scores = [Ensemble(NADE(4, **QUICK), 2, random_state=s).fit(X).score_samples(X) for s in (3, 3, 4)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_each_member_has_its_own_checkpoint(tmp_path):
    X = bits()
    estimator = MADE((6,), checkpoint=tmp_path / "fit.pt", **QUICK)
    model = Ensemble(estimator, 2, random_state=0).fit(X)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.pt.0", "fit.pt.1"]
    (tmp_path / "fit.pt.1").unlink()
    again = clone(model).fit(X)
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))


def test_a_resumed_ensemble_takes_the_members_that_are_done(monkeypatch, tmp_path):
    X, whole = bits(), Ensemble(MADE((6,), **QUICK), 3, random_state=0).fit(bits())
    step, steps = Trainer.train_step, []

    def interrupted(trainer, batch):
        steps.append(trainer.step)
        if len(steps) == stop_at:
            raise KeyboardInterrupt
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    per_member, stop_at = len(whole.members_[0].batch_nll_), 0
    model = Ensemble(MADE((6,), checkpoint=tmp_path / "fit.pt", **QUICK), 3, random_state=0)
    stop_at = 2 * per_member - 1
    with pytest.raises(FitInterrupted):
        clone(model).fit(X)
    steps.clear()
    stop_at = 0
    resumed = clone(model).fit(X)
    assert len(steps) < 2 * per_member + 1, "the first member was fitted again"
    np.testing.assert_array_equal(resumed.score_samples(X), whole.score_samples(X))


def test_the_checkpoints_of_an_ensemble_need_its_seed(tmp_path):
    with pytest.raises(ParameterError, match="needs a random_state"):
        Ensemble(MADE(checkpoint=tmp_path / "fit.pt"), 2).fit(bits())


def test_an_interrupted_fit_keeps_the_members_that_it_has(monkeypatch, tmp_path):
    train_epoch, calls = Trainer.train_epoch, []

    def interrupted(trainer):
        calls.append(trainer)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train_epoch(trainer)

    monkeypatch.setattr(Trainer, "train_epoch", interrupted)
    model = Ensemble(NADE(4, **QUICK), 3, random_state=0)
    with pytest.raises(FitInterrupted):
        model.fit(bits())
    assert [member.history_.epochs for member in model.members_] == [2, 1]
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").score_samples(bits()), model.score_samples(bits()))


def test_a_failed_refit_leaves_the_fitted_ensemble_alone(monkeypatch):
    X = bits()
    model = Ensemble(NADE(4, **QUICK), 2, random_state=0).fit(X)
    scores = model.score_samples(X)

    def fail(trainer):
        raise FloatingPointError("the training NLL became nan")

    monkeypatch.setattr(Trainer, "train_epoch", fail)
    with pytest.raises(FloatingPointError):
        model.fit(X[:, :3])
    np.testing.assert_array_equal(model.score_samples(X), scores)


# ---------------------------------------------------------------- saving


def learned_alike(first, second):
    assert type(first) is type(second)
    assert first.n_parameters_ == second.n_parameters_
    if isinstance(first, Ensemble):
        return all(learned_alike(*pair) for pair in zip(first.members_, second.members_, strict=True))
    return first.get_params() == second.get_params() and first.history_ == second.history_


SAVED = [(name, False) for name in MEMBERS] + [(name, True) for name in MEMBERS if name != "Mixture"]


@pytest.mark.parametrize(("name", "with_context"), SAVED)
def test_a_loaded_ensemble_is_bit_equal(name, with_context, tmp_path):
    X, given = table(), {"context": gaussians(80, 2)} if with_context else {}
    model = Ensemble(MEMBERS[name], 2, random_state=0).fit(X, **given)
    model.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    other = load(tmp_path / "model")
    np.testing.assert_array_equal(other.score_samples(X, **given), model.score_samples(X, **given))
    pd.testing.assert_frame_equal(*[m.sample(80, random_state=7, **given) for m in (model, other)])
    assert learned_alike(model, other)
    assert repr(other) == repr(model)
    assert list(other.members_[1].feature_names_in_) == ["colour", "smokes", "n"]


def test_the_parameters_of_the_estimator_are_saved(tmp_path):
    estimator = NADE(3, kinds={0: "ordinal"}, ordering=(2, 0, 3, 1), **QUICK)
    Ensemble(estimator, 2, random_state=0).fit(bits()).save(tmp_path / "model")
    saved = load(tmp_path / "model").estimator
    assert type(saved) is NADE
    assert saved.get_params() == estimator.get_params()
    refitted = clone(load(tmp_path / "model")).fit(bits())
    np.testing.assert_array_equal(
        refitted.score_samples(bits()), load(tmp_path / "model").score_samples(bits())
    )


def test_no_estimator_stays_no_estimator_when_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.estimators.ensemble.MADE", lambda: MADE((4,), max_epochs=1))
    Ensemble(n_members=1, random_state=0).fit(bits()).save(tmp_path / "model")
    assert load(tmp_path / "model").estimator is None


def test_a_pickled_ensemble_scores_alike():
    model = Ensemble(MADE((4,), **QUICK), 2, random_state=0).fit(bits())
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.score_samples(bits()), model.score_samples(bits()))


# ---------------------------------------------------------------- the face of scikit-learn


def test_parameters_of_the_estimator_are_nested():
    model = Ensemble(MADE((4,), max_epochs=1), 2, random_state=0)
    assert model.get_params()["estimator__hidden_sizes"] == (4,)
    model.set_params(estimator__hidden_sizes=(7,), n_members=1).fit(bits())
    assert model.members_[0].hidden_sizes == (7,)


def test_a_clone_is_unfitted_and_shares_nothing():
    model = Ensemble(MADE((4,), max_epochs=1), 2, random_state=0).fit(bits())
    copy = clone(model)
    assert repr(copy.get_params(deep=False)) == repr(model.get_params(deep=False))
    assert copy.estimator is not model.estimator
    assert not hasattr(copy, "members_")
    with pytest.raises(NotFittedError):
        copy.member_scores(bits())


def test_fitting_leaves_the_estimator_as_it_was():
    estimator = MADE((4,), max_epochs=1)
    before = estimator.get_params()
    Ensemble(estimator, 2, verbose=True, kinds="binary", random_state=0).fit(bits())
    assert estimator.get_params() == before
    assert not hasattr(estimator, "schema_")


def test_a_grid_search_reaches_both_levels():
    grid = {"estimator__n_components": [1, 2], "n_members": [1, 2]}
    search = GridSearchCV(Ensemble(MixtureOfBernoullis(), random_state=0), grid, cv=2).fit(bits())
    best = search.best_estimator_
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(best.members_) == search.best_params_["n_members"]
    assert best.members_[0].n_components_ == search.best_params_["estimator__n_components"]


def test_progress_is_shown_when_asked_for(capsys):
    for verbose in (False, True):
        Ensemble(NADE(4, max_epochs=9, batch_size=20), 2, verbose=verbose, random_state=0).fit(bits())
        assert ("NADE: about a second" in capsys.readouterr().err) is verbose
    Ensemble(Independent(), 2, verbose=True).fit(bits())


# ---------------------------------------------------------------- errors


WRONG = [
    (Ensemble(n_members=0), "'n_members' parameter of Ensemble must be an int .* Got 0"),
    (Ensemble(n_members=2.5), "'n_members' parameter of Ensemble must be an int .* Got 2.5"),
    (
        Ensemble("made"),
        "'estimator' parameter of Ensemble must be an instance of .*DensityEstimator.* 'made'",
    ),
    (Ensemble(MADE), "'estimator' parameter of Ensemble must be an instance of .* Got <class .*MADE'>"),
    (Ensemble(validation_fraction=1.0), "'validation_fraction' parameter of Ensemble .* Got 1.0"),
    (Ensemble(MADE(dropout=1.0)), "'dropout' parameter of MADE .* Got 1.0"),
    (Ensemble(MADE((4, 0))), r"hidden_sizes must name whole numbers of units, one per layer, got \(4, 0\)"),
]


@pytest.mark.parametrize(("model", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_a_wrong_parameter_is_named(model, message):
    with pytest.raises(ParameterError, match=message):
        model.fit(bits())


def test_kinds_that_the_members_cannot_model_are_refused():
    with pytest.raises(KindError, match="MixtureOfBernoullis cannot model column .*, which is continuous"):
        Ensemble(MixtureOfBernoullis(), 2).fit(gaussians())


def test_an_altered_class_of_a_member_is_refused(tmp_path):
    Ensemble(NADE(4, **QUICK), 2, random_state=0).fit(bits()).save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(path.read_text().replace('"class": "NADE"', '"class": "os.system"'))
    with pytest.raises(ValueError, match="unknown class 'os.system'"):
        load(tmp_path / "model")


def test_members_fitted_in_several_processes_are_the_same():
    X = np.random.default_rng(0).integers(0, 2, (200, 3))
    ensemble = Ensemble(NADE(4, max_epochs=2), n_members=3, random_state=0)
    alone = ensemble.fit(X).member_scores(X)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        shared = ensemble.fit(X).member_scores(X)
    np.testing.assert_array_equal(alone, shared)
