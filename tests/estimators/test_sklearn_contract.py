"""The contract of scikit-learn: its own checks, and the tools that people use on top of it."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Binarizer, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_outlier_contamination,
    check_outliers_fit_predict,
    check_outliers_train,
    parametrize_with_checks,
)

from chainrule import (
    GMM,
    MADE,
    NADE,
    ConvNADE,
    Ensemble,
    Independent,
    Mixture,
    MixtureOfBernoullis,
    OrderlessNADE,
    PixelCNN,
)
from chainrule.errors import DataError

SMALL = {"hidden_sizes": (8,), "max_epochs": 2, "n_components": 2}
ESTIMATORS = [
    Independent(),
    GMM(n_components=2),
    Mixture(n_components=2),
    NADE(hidden_size=8, max_epochs=2, n_components=2),
    MADE(**SMALL),
    PixelCNN(n_filters=8, n_layers=1, max_epochs=2, n_components=2),
    OrderlessNADE(network="shared", **SMALL),
    OrderlessNADE(**SMALL),
    ConvNADE(4, n_hidden=8, n_blocks=1, max_epochs=2, n_components=2),
    Ensemble(MADE(**SMALL), n_members=2),
]
BINARY = MixtureOfBernoullis(n_components=2)
# Nearly all checks fit real numbers, and no tag says that an estimator takes two values only; the same checks
# pass behind a Binarizer.
ONLY_TWO_VALUES = (
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
)
FITTED_IN_PLACE = ("check_dont_overwrite_parameters", "check_estimators_overwrite_params")


def expected_failures(estimator):
    """Return the checks that must fail, and why."""
    if isinstance(estimator, MixtureOfBernoullis):
        return dict.fromkeys(ONLY_TWO_VALUES, "fits real numbers; this estimator takes two values")
    if isinstance(estimator, Pipeline):
        return dict.fromkeys(FITTED_IN_PLACE, "a Pipeline of scikit-learn fits its steps in place")
    return {}


each = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


@pytest.mark.arithmetic
@parametrize_with_checks(
    [*ESTIMATORS, BINARY, make_pipeline(Binarizer(threshold=0.5), BINARY)],
    expected_failed_checks=expected_failures,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@each
def test_checks_of_outlier_detectors(estimator):
    name = type(estimator).__name__
    check_outlier_contamination(name, estimator)
    check_outliers_train(name, estimator)
    check_outliers_train(name, estimator, readonly_memmap=False)
    check_outliers_fit_predict(name, estimator)


def test_every_public_estimator_is_checked():
    import chainrule
    from chainrule.estimators import DensityEstimator

    public = [getattr(chainrule, name) for name in chainrule.__all__]
    classes = {cls for cls in public if isinstance(cls, type) and issubclass(cls, DensityEstimator)}
    checked = {type(estimator) for estimator in [*ESTIMATORS, BINARY]}
    assert {cls for cls in classes if not inspect.isabstract(cls)} == checked


# ---------------------------------------------------------------- tools on top


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    return pd.DataFrame({"x": x, "y": 10 * x + rng.normal(size=120), "n": rng.integers(0, 30, 120)})


@pytest.fixture
def numbers():
    x = np.random.default_rng(0).normal(size=(120, 1))
    return np.hstack([x, x + 0.1 * x**2]) * [1.0, 50.0]


def seeded(estimator):
    return clone(estimator).set_params(random_state=0)


@each
def test_tags(estimator):
    tags = get_tags(estimator)
    assert tags.estimator_type == "density_estimator"
    assert tags.input_tags.allow_nan == estimator.supports_missing
    assert not tags.target_tags.required


@each
def test_a_pipeline_scores_flags_and_draws(estimator, numbers):
    pipeline = make_pipeline(StandardScaler(), seeded(estimator)).fit(numbers)
    scaled = StandardScaler().fit_transform(numbers)
    alone = seeded(estimator).fit(scaled)
    np.testing.assert_allclose(pipeline.score_samples(numbers), alone.score_samples(scaled))
    np.testing.assert_array_equal(pipeline.predict(numbers), alone.predict(scaled))
    assert pipeline.score(numbers) == pytest.approx(alone.score(scaled))
    drawn = pipeline[:-1].inverse_transform(pipeline[-1].sample(5, random_state=0))
    assert drawn.shape == (5, 2)


@each
def test_cross_validation_is_the_score_of_rows_left_out(estimator, table):
    folds = KFold(3)
    scores = cross_val_score(seeded(estimator), table, cv=folds, error_score="raise")
    for score, (train, test) in zip(scores, folds.split(table), strict=True):
        assert score == pytest.approx(seeded(estimator).fit(table.iloc[train]).score(table.iloc[test]))


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (Mixture(random_state=0), {"n_components": [1, 8]}),
        (GMM(random_state=0), {"n_components": [1, 3]}),
        (NADE(8, random_state=0), {"max_epochs": [1, 20]}),
        (MADE((8,), random_state=0), {"max_epochs": [1, 20]}),
        (OrderlessNADE((8,), random_state=0), {"max_epochs": [1, 20]}),
        (Ensemble(MADE((8,)), n_members=2, random_state=0), {"estimator__max_epochs": [1, 20]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_grid_search_finds_the_best_and_fits_it_again(estimator, grid, numbers):
    search = GridSearchCV(estimator, grid, cv=3, error_score="raise").fit(numbers)
    ((name, values),) = grid.items()
    means = search.cv_results_["mean_test_score"]
    assert search.best_params_[name] == values[int(np.argmax(means))]
    assert search.best_score_ == means.max()
    best = clone(estimator).set_params(**search.best_params_).fit(numbers)
    np.testing.assert_array_equal(search.score_samples(numbers), best.score_samples(numbers))
    np.testing.assert_array_equal(search.predict(numbers), best.predict(numbers))


def test_context_is_routed(numbers):
    context = (numbers[:, 0] > 0).astype(float)
    with config_context(enable_metadata_routing=True):
        model = NADE(8, max_epochs=2, random_state=0)
        model.set_fit_request(context=True).set_score_request(context=True)
        result = cross_validate(model, numbers, cv=3, params={"context": context}, error_score="raise")
    assert np.isfinite(result["test_score"]).all()


@each
@pytest.mark.parametrize("carry", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_copies_of_a_fitted_model_do_what_it_does(estimator, carry, table):
    model = seeded(estimator).fit(table)
    other = carry(model)
    np.testing.assert_array_equal(other.score_samples(table), model.score_samples(table))
    np.testing.assert_array_equal(other.predict(table), model.predict(table))
    pd.testing.assert_frame_equal(other.sample(5, random_state=1), model.sample(5, random_state=1))
    assert str(other.get_params()) == str(model.get_params())


@each
def test_columns_are_known_by_their_names(estimator, table):
    model = seeded(estimator).fit(table)
    assert list(model.feature_names_in_) == ["x", "y", "n"]
    assert model.n_features_in_ == 3
    np.testing.assert_array_equal(model.score_samples(table[["n", "x", "y"]]), model.score_samples(table))
    np.testing.assert_array_equal(model.predict(table[["n", "x", "y"]]), model.predict(table))
    with pytest.raises(DataError, match="it lacks 'n'"):
        model.predict(table[["x", "y"]])


@each
@pytest.mark.parametrize(
    "seed", [lambda: 7, lambda: np.random.RandomState(7), lambda: np.random.default_rng(7)]
)
def test_seeds_of_every_kind_repeat_a_fit(estimator, seed, numbers):
    first, second = (clone(estimator).set_params(random_state=seed()).fit(numbers) for _ in range(2))
    np.testing.assert_array_equal(first.score_samples(numbers), second.score_samples(numbers))
    assert first.offset_ == second.offset_
