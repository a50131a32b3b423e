"""Latent codes: the activations of the last hidden layer, and the NLL of each minibatch of a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from chainrule import MADE, NADE, load
from chainrule.errors import DataError, ParameterError

ROWS = np.random.default_rng(0).integers(0, 2, (60, 6))


def fitted(estimator, **rows):
    return estimator.set_params(max_epochs=2, random_state=0).fit(ROWS, **rows)


def made(**parameters):
    return fitted(MADE(**{"hidden_sizes": (16, 12), "residual": False, **parameters}))


MADES = {
    "plain": {},
    "random order": {"ordering": "random"},
    "no direct connections": {"direct_connections": False},
    "residual": {"hidden_sizes": (12, 12), "residual": True},
    "masks": {"n_masks": 3, "n_orderings": 2, "resample_every": 2},
}


@pytest.mark.parametrize("parameters", MADES.values(), ids=MADES)
def test_outputs_follow_from_the_codes_of_made(parameters):
    model = made(**parameters)
    conditioner = model.model_.conditioner
    x = torch.from_numpy(ROWS).float()
    for member in range(model.model_.n_members):
        codes = torch.from_numpy(model.embed(ROWS, member=member))
        assert codes.shape == (60, 12)
        layers = conditioner.effective(member)
        weight, bias = layers[conditioner.n_layers]
        outputs = codes @ weight.T + bias
        if conditioner.is_direct:
            outputs = outputs + x @ layers[-1][0].T
        with torch.no_grad():
            torch.testing.assert_close(outputs, conditioner(x, member), rtol=1e-4, atol=1e-5)


def test_codes_of_made_see_the_variables_that_their_degrees_allow():
    order = [3, 0, 5, 1, 4, 2]
    model = made(ordering=order)
    degrees = model.model_.conditioner.degrees_of(0)[-1].numpy()
    codes = model.embed(ROWS)
    for position, variable in enumerate(order):
        changed = ROWS.copy()
        changed[:, variable] = 1 - changed[:, variable]
        moved = (np.abs(model.embed(changed) - codes) > 0).any(axis=0)
        assert not moved[degrees <= position].any()
        assert moved.any() == (position < len(order) - 1)


def test_codes_of_members_differ():
    model = made(n_masks=3)
    assert np.abs(model.embed(ROWS, member=0) - model.embed(ROWS, member=2)).max() > 1e-3
    assert np.array_equal(model.embed(ROWS), model.embed(ROWS, member=0))


@pytest.mark.parametrize("n_orderings", [1, 3])
def test_codes_of_nade_are_the_hidden_units_at_the_end_of_a_sequential_pass(n_orderings):
    model = fitted(NADE(hidden_size=9, ordering="random", n_orderings=n_orderings, activation="sigmoid"))
    conditioner = model.model_.conditioner
    x = torch.from_numpy(ROWS).float()
    for member in range(n_orderings):
        with torch.no_grad():
            state = conditioner.init_state(len(x), member)
            for d in conditioner.order(member).tolist():
                state.next_params(d)
                state.update(d, x[:, d])
            expected = conditioner.activate(state.pre)
        np.testing.assert_allclose(model.embed(ROWS, member=member), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("estimator", [MADE(hidden_sizes=(8,)), NADE(hidden_size=8)])
def test_codes_see_the_context(estimator):
    context = np.random.default_rng(1).integers(0, 2, (60, 2))
    model = fitted(estimator, context=context)
    codes = model.embed(ROWS, context=context)
    assert codes.shape == (60, 8) and codes.dtype == np.float32
    assert np.abs(codes - model.embed(ROWS, context=1 - context)).max() > 1e-3
    with pytest.raises(DataError, match="context"):
        model.embed(ROWS)


def test_codes_do_not_depend_on_the_batch(monkeypatch):
    model = made(n_masks=2)
    whole = model.embed(ROWS, member=1)
    monkeypatch.setattr("chainrule.estimators.autoregressive.evaluation_batch", lambda _: 7)
    np.testing.assert_allclose(model.embed(ROWS, member=1), whole, rtol=1e-5, atol=1e-6)


def test_codes_are_the_same_after_loading(tmp_path):
    model = made(ordering="random")
    model.save(tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").embed(ROWS), model.embed(ROWS))


@pytest.mark.parametrize("member", [-1, 3, 0.5, "first"])
def test_a_member_that_does_not_exist_is_refused(member):
    with pytest.raises(ParameterError, match="member must be a whole number below 3"):
        made(n_masks=3).embed(ROWS, member=member)


def test_codes_need_a_fitted_model():
    with pytest.raises(NotFittedError):
        MADE().embed(ROWS)


# ---------------------------------------------------------------- minibatches


@pytest.mark.parametrize("estimator", [MADE(hidden_sizes=(8,)), NADE(hidden_size=8)])
def test_an_epoch_is_the_mean_of_its_minibatches(estimator):
    model = estimator.set_params(batch_size=20, max_epochs=3, random_state=0).fit(ROWS, X_val=ROWS)
    assert len(model.batch_nll_) == 9
    epochs = np.reshape(model.batch_nll_, (3, 3)).mean(axis=1)
    np.testing.assert_allclose(epochs, model.history_.train, rtol=1e-6)


def test_minibatches_survive_an_interruption(tmp_path):
    def fit(max_epochs, checkpoint):
        options = {"batch_size": 20, "max_epochs": max_epochs, "schedule": "plateau"}
        model = MADE(hidden_sizes=(8,), random_state=0, **options)
        return model.set_params(checkpoint=checkpoint).fit(ROWS, X_val=ROWS)

    fit(2, tmp_path / "state.pt")
    assert fit(4, tmp_path / "state.pt").batch_nll_ == fit(4, None).batch_nll_
