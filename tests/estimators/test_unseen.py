"""Levels that the training rows lack: a reserved share of probability, and a warning that counts them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from chainrule import MADE, NADE, Ensemble, Independent, Mixture, OrderlessNADE, load
from chainrule.errors import DataError, QueryError
from chainrule.estimators import unseen
from chainrule.estimators.unseen import score_summed_over_unseen
from chainrule.schema import UNSEEN

QUICK = {"max_epochs": 2, "random_state": 0}
EXACT = {
    "Independent": Independent(),
    "Mixture": Mixture(n_components=2, random_state=0),
    "NADE": NADE(hidden_size=8, **QUICK),
    "MADE": MADE(hidden_sizes=(8,), n_orderings=2, **QUICK),
    "Ensemble": Ensemble(MADE(hidden_sizes=(8,), **QUICK), n_members=2),
}
ANY_ORDER = {
    "OrderlessNADE": OrderlessNADE(hidden_sizes=(8,), **QUICK),
    "MADE any": OrderlessNADE(hidden_sizes=(8,), network="shared", **QUICK),
}

pytestmark = pytest.mark.filterwarnings("ignore:.* cells hold a level")


def table(n=60):
    rng = np.random.default_rng(0)
    word = rng.choice(["a", "b", "c"], n)
    return pd.DataFrame(
        {"word": word, "two": np.where(word == "a", "yes", "no"), "bit": rng.integers(0, 2, n)}
    )


def every_row():
    """Return all rows that there are, with one level more of each column that can have others."""
    return pd.DataFrame(
        list(itertools.product(["a", "b", "c", "new"], ["yes", "no", "new"], [0, 1])),
        columns=["word", "two", "bit"],
    )


@pytest.mark.parametrize("name", EXACT)
def test_probabilities_sum_to_one_with_what_is_reserved(name):
    rows, model = every_row(), EXACT[name].fit(table())
    scores = model.score_samples(rows)
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)
    new = (rows["word"] == "new").to_numpy()
    assert np.exp(scores[new]).sum() == pytest.approx(1 / 61, rel=1e-4)


@pytest.mark.parametrize("name", [*EXACT, *ANY_ORDER])
def test_an_unseen_level_costs_the_log_of_its_share(name):
    model = (EXACT | ANY_ORDER)[name].fit(table())
    new = model.score_samples(pd.DataFrame({"word": ["new"], "two": ["new"], "bit": [1]}))
    rows = every_row()
    seen = rows[(rows["word"] != "new") & (rows["two"] != "new") & (rows["bit"] == 1)]
    rest = np.logaddexp.reduce(model.score_samples(seen)) - 2 * math.log(60 / 61)
    tolerance = 0.2 if name in ANY_ORDER else 1e-4  # orders differ a little
    assert new[0] == pytest.approx(2 * math.log(1 / 61) + rest, abs=tolerance)


def test_a_warning_counts_them():
    model = Independent().fit(table())
    rows = pd.DataFrame({"word": ["new", "a", "newer"], "two": ["yes", "no", "perhaps"], "bit": [0, 1, 1]})
    with pytest.warns(
        UserWarning, match=r"3 cells hold a level that .* lack: 'word' \(2\), 'two' \(1\)"
    ) as seen:
        model.score_samples(rows)
    assert len(seen) == 1


def test_0_and_1_are_all_that_a_bit_can_be():
    with pytest.raises(DataError, match="'bit' holds 2 in row 1: an unseen level"):
        Independent().fit(table()).score_samples(table()[:1].assign(bit=2))


def test_a_constant_has_probability_one():
    frame = table()[["bit"]]
    alone = Independent().fit(frame).score_samples(frame)
    more = (
        Independent()
        .fit(frame.assign(same="all", number=7.5))
        .score_samples(frame.assign(same="all", number=7.5))
    )
    np.testing.assert_allclose(more, alone, atol=1e-5)
    other = Independent().fit(frame.assign(same="all")).score_samples(frame.assign(same="other"))
    np.testing.assert_allclose(other, alone + math.log(1e-6), atol=1e-5)


@pytest.mark.parametrize("name", [*EXACT, *ANY_ORDER])
def test_validation_rows_may_hold_them(name):
    strange = table()[:20].assign(word=["new", "a"] * 10)
    model = (EXACT | ANY_ORDER)[name].fit(table(), X_val=strange)
    assert np.isfinite(model.score_samples(strange)).all()
    assert np.isfinite(model.offset_)
    (EXACT | ANY_ORDER)[name].fit(table(), X_val=strange.assign(word="new"))


def test_questions_take_them_for_missing():
    model = ANY_ORDER["OrderlessNADE"].fit(table())
    rows = pd.DataFrame({"word": ["new"], "two": ["yes"], "bit": [1]})
    hole = rows.assign(word=None)
    assert model.score_samples(rows, of="bit", given="word") == pytest.approx(
        model.score_samples(hole, of="bit", given="word")
    )
    assert model.score_samples(rows, of="word", given="two") == pytest.approx(math.log(1 / 61))
    fixed = EXACT["NADE"].fit(table())
    with pytest.raises(QueryError, match="levels of column 'word' that the training rows lack"):
        fixed.score_samples(rows, of="bit", given=["word", "two"])


def test_a_saved_model_keeps_the_share(tmp_path):
    model = EXACT["MADE"].fit(table())
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(
        load(tmp_path / "model").score_samples(every_row()), model.score_samples(every_row())
    )


def test_very_many_combinations_are_drawn(monkeypatch):
    monkeypatch.setattr(unseen, "_MAX_COMBINATIONS", 1000)
    weights = np.random.default_rng(0).random((50, 50))
    codes = np.array([[UNSEEN, UNSEEN, 3.0]])
    scores = score_summed_over_unseen(
        lambda x, _: np.log(weights[x[:, 0].astype(int), x[:, 1].astype(int)]), codes, None, [50, 50, 9]
    )
    assert scores[0] == pytest.approx(math.log(weights.sum()), abs=0.1)
