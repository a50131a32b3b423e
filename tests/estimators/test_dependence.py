"""Mutual information between columns from fitted models, and what to ask next."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from chainrule import MADE, Ensemble, Independent, OrderlessNADE
from chainrule.errors import DataError, ParameterError, QueryError

LEVELS = {"bit": 2, "three": 3, "four": 4, "other": 2}


def levels(n=400, seed=0):
    """Columns of names and numbers that depend on each other."""
    rng = np.random.default_rng(seed)
    bit = rng.integers(0, 2, n)
    three = (bit + rng.integers(0, 2, n)) % 3
    four = (three + rng.integers(0, 2, n)).clip(0, 3)
    frame = {
        "bit": bit,
        "three": np.array(["a", "b", "c"])[three],
        "four": four,
        "other": rng.integers(0, 2, n),
    }
    return pd.DataFrame(frame)


def fitted(X, **parameters):
    settings = {"hidden_sizes": (12,), "max_epochs": 4, "validation_fraction": 0, "learning_rate": 0.02}
    return OrderlessNADE(**settings | {"random_state": 0} | parameters).fit(X)


def directed(model, a, b, given=None):
    """Return the table p(a) p(b | a) of two columns of levels, asked for one by one."""
    given = given or {}
    (weights,) = model.conditional(given, a).probabilities
    values = model.conditional(given, a).levels
    rows = [model.conditional(given | {a: value}, b).probabilities[0] for value in values]
    return weights[:, None] * np.array(rows)


def information(joint):
    outer = joint.sum(1, keepdims=True) * joint.sum(0)
    return float((joint * np.log(joint / outer)).sum())


@pytest.fixture(scope="module", params=["columns", "shared"])
def small(request):
    return fitted(levels(), network=request.param, kinds={"four": "ordinal"})


@pytest.fixture(scope="module")
def copies():
    """Columns 0 and 1 are the same, of three levels; 2 is noise; 3 is a noisy copy."""
    rng = np.random.default_rng(3)
    first, noise = rng.choice(3, 3000, p=[0.5, 0.3, 0.2]), rng.integers(0, 2, 3000)
    noisy = np.where(rng.random(3000) < 0.7, first, rng.integers(0, 3, 3000))
    X = np.array(["a", "b", "c"])[np.stack([first, first, noise, noisy], axis=1)]
    return fitted(X, max_epochs=30, hidden_sizes=(16,)), first


@pytest.fixture(scope="module")
def gaussian():
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([1.0, -2.0], [[4.0, 1.6], [1.6, 1.0]], 6000)  # correlation 0.8
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "flag": (X[:, 0] + rng.normal(0, 1, 6000)) > 1})
    return fitted(frame, max_epochs=40, hidden_sizes=(32,), n_components=3, learning_rate=0.01)


def test_information_is_that_of_the_tables_of_the_models_own_answers(small):
    found = small.dependence()
    for i, a in enumerate(LEVELS):
        for j, b in enumerate(LEVELS):
            if i < j:
                there, back = information(directed(small, a, b)), information(directed(small, b, a))
                assert found.mutual_information[i, j] == pytest.approx((there + back) / 2, abs=1e-7)
                assert found.standard_error[i, j] == pytest.approx(abs(there - back) / 2, abs=1e-7)
    assert not found.sampling_error.any()
    np.testing.assert_array_equal(found.mutual_information, found.mutual_information.T)


def test_the_diagonal_is_the_entropy_of_levels(small):
    found = small.dependence()
    for d, name in enumerate(LEVELS):
        (p,) = small.conditional({}, name).probabilities
        assert found.mutual_information[d, d] == pytest.approx(-(p * np.log(p)).sum(), abs=1e-7)


def test_normalised_is_on_the_scale_of_a_correlation(small):
    found = small.dependence()
    nats, h = found.mutual_information, np.diag(found.mutual_information)
    most = np.minimum(h[:, None], h)
    expected = np.sqrt((1 - np.exp(-2 * nats)) / (1 - np.exp(-2 * most)))
    np.testing.assert_allclose(found.normalised, expected, atol=1e-9)
    assert (found.normalised >= 0).all() and (found.normalised <= 1).all()


def test_a_copied_column_tells_its_entropy_and_noise_nothing(copies):
    model, first = copies
    found = model.dependence()
    share = np.bincount(first) / len(first)
    assert found.mutual_information[0, 1] == pytest.approx(-(share * np.log(share)).sum(), abs=0.06)
    assert found.normalised[0, 1] > 0.95
    assert found.mutual_information[2, [0, 1, 3]].max() < 0.01
    assert {found.pairs()[0].first, found.pairs()[0].second} == {"x1", "x2"}


def test_a_gaussian_pair_has_the_information_of_its_correlation(gaussian):
    found = gaussian.dependence()
    assert found.mutual_information[0, 1] == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=0.05)
    assert found.normalised[0, 1] == pytest.approx(0.8, abs=0.03)
    assert np.isnan(found.mutual_information[[0, 1], [0, 1]]).all()


def test_cells_of_continuous_columns_lose_little_of_the_densities_information(gaussian):
    """Against the mean log-ratio of the model's own densities, over values drawn in strata."""
    n = 500
    middle = (np.arange(n) + 0.5) / n
    u = np.random.default_rng(0).permutation(middle)
    both = []
    for a, b in (("a", "b"), ("b", "a")):
        nothing = pd.DataFrame({"a": [np.nan] * n, "b": [np.nan] * n, "flag": [None] * n})
        drawn = gaussian.conditional(nothing, a).quantile(middle)
        given = gaussian.conditional(nothing.assign(**{a: drawn}), b)
        second = given.quantile(u)
        every = np.array([given.log_prob(value) for value in second])  # of each second value given each first
        both.append((np.diag(every) - logsumexp(every, axis=1) + np.log(n)).mean())
    assert gaussian.dependence().mutual_information[0, 1] == pytest.approx(np.mean(both), abs=0.015)


def test_errors_of_draws_are_as_large_as_estimates_scatter(gaussian):
    pairs = np.triu_indices(3, 1)
    truth = gaussian.dependence(n_rows=4000).mutual_information[pairs]
    found = [gaussian.dependence(n_rows=40, random_state=seed) for seed in range(40)]
    off = np.array([each.mutual_information[pairs] - truth for each in found])
    errors = np.array([each.sampling_error[pairs] for each in found])
    assert (errors > 0).all()
    spread = np.sqrt((off**2).mean(axis=0)) / np.sqrt((errors**2).mean(axis=0))
    assert ((spread > 0.6) & (spread < 1.6)).all()
    assert (np.abs(off) < 2 * errors).mean() > 0.8


def test_levels_beyond_the_number_of_rows_are_drawn():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 30, 800)
    second = np.array(["low", "middle", "high", "top"])[(first + rng.integers(0, 8, 800)) // 10]
    model = fitted(pd.DataFrame({"a": first, "b": second}), max_epochs=15)
    exact, drawn = model.dependence(), model.dependence(n_rows=20)
    assert not exact.sampling_error.any()
    off = np.abs(exact.mutual_information - drawn.mutual_information)[0, 1]
    assert 0 < off < 4 * drawn.sampling_error[0, 1]


def test_the_same_seed_gives_the_same_and_draws_differ(gaussian):
    first, again = (gaussian.dependence(n_rows=50, random_state=4) for _ in range(2))
    np.testing.assert_array_equal(first.mutual_information, again.mutual_information)
    other = gaussian.dependence(n_rows=50, random_state=5)
    assert first.mutual_information[0, 1] != other.mutual_information[0, 1]


def test_columns_of_every_kind(recwarn):
    rng = np.random.default_rng(0)
    n = 500
    wide = rng.lognormal(6, 1, n).astype(int)
    X = pd.DataFrame(
        {
            "wide": wide,
            "masses": np.where(rng.random(n) < 0.5, 0.0, wide / 7.0 + rng.random(n)),
            "visits": rng.poisson(wide / 500),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(wide // 10, "D"),
            "name": np.where(wide > 400, "much", "little"),
        }
    )
    found = fitted(X, kinds={"visits": "count"}, max_epochs=15).dependence(n_rows=200)
    beside = ~np.eye(5, dtype=bool)
    assert np.isfinite(found.mutual_information[beside]).all()
    assert (found.normalised >= 0).all() and (found.normalised <= 1).all()
    assert found.mutual_information[0, 4] > 0.2


def test_an_ensemble_answers_with_the_mean_of_its_members():
    X = levels()
    members = OrderlessNADE((8,), max_epochs=4, validation_fraction=0, learning_rate=0.02)
    model = Ensemble(members, n_members=3, random_state=0, validation_fraction=0).fit(X)
    found = model.dependence()
    there, back = (directed(model, *pair) for pair in (("bit", "three"), ("three", "bit")))
    assert found.mutual_information[0, 1] == pytest.approx(
        (information(there) + information(back)) / 2, abs=1e-7
    )
    assert found.standard_error[0, 1] > abs(information(there) - information(back)) / 2
    assert found.sampling_error[0, 1] == 0


def test_context_changes_what_columns_have_in_common():
    rng = np.random.default_rng(0)
    same, first, second = rng.integers(0, 2, (3, 1000))
    X = np.stack([first, np.where(same, first, second)], axis=1)
    model = OrderlessNADE((16,), max_epochs=15, learning_rate=0.02, random_state=0, validation_fraction=0)
    model.fit(X, context=same)
    apart, together = (model.dependence(context=[value]).mutual_information[0, 1] for value in (0, 1))
    assert apart < 0.05 and together > 0.5
    with pytest.raises(DataError, match="context"):
        model.dependence()


def test_questions_are_ranked_by_what_they_tell(copies):
    model, _ = copies
    questions = model.next_question("x1")
    assert [question.column for question in questions] == ["x2", "x4", "x3"]
    assert questions[0].information > 0.9 and abs(questions[-1].information) < 0.01
    matrix = model.dependence()
    for question in questions:
        d = int(question.column[1:]) - 1
        assert question.information == pytest.approx(matrix.mutual_information[0, d])
        assert question.standard_error == pytest.approx(matrix.standard_error[0, d])


def test_what_is_given_is_left_out_and_taken_into_account(small):
    questions = small.next_question("four", given={"three": "a"})
    assert {question.column for question in questions} == {"bit", "other"}
    for question in questions:
        given = {"three": "a"}
        both = (
            directed(small, question.column, "four", given),
            directed(small, "four", question.column, given),
        )
        expected = np.mean([information(joint) for joint in both])
        assert question.information == pytest.approx(expected, abs=1e-7)


def test_once_the_copy_is_known_there_is_nothing_to_ask(copies):
    model, _ = copies
    assert all(question.information < 0.02 for question in model.next_question(0, given={1: "a"}))


def test_words_and_json(small):
    found = small.dependence()
    assert "bit" in repr(found) and "nats" in repr(found)
    document = json.loads(json.dumps(found.to_dict()))
    assert document["names"] == list(LEVELS)
    np.testing.assert_allclose(document["normalised"], found.normalised)
    strengths = [pair.normalised for pair in found.pairs()]
    assert len(strengths) == 6 and strengths == sorted(strengths, reverse=True)


def test_other_models_refuse_in_one_line(small):
    made = MADE((8,), max_epochs=1, random_state=0).fit(levels())
    for ask in (made.dependence, lambda: made.next_question("bit")):
        with pytest.raises(QueryError, match="fixed order.*OrderlessNADE") as error:
            ask()
        assert "\n" not in str(error.value)
    assert not hasattr(Independent(), "dependence")
    with pytest.raises(QueryError, match="'bit' is given"):
        small.next_question("bit", given={"bit": 1})
    with pytest.raises(DataError, match="no column"):
        small.next_question("bits")
    with pytest.raises(DataError, match="mapping"):
        small.next_question("bit", given=["three"])
    for n_rows in (1, 2.5, "many"):
        with pytest.raises(ParameterError, match="n_rows"):
            small.dependence(n_rows=n_rows)
