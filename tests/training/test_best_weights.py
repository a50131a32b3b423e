"""Which weights a fit keeps: of a network for a single column, those of the epoch best for that column."""

from __future__ import annotations

import copy

import pytest
import torch
from trainers import SPECS, Listener, each_spec, rows, trainer

from chainrule.training import validation_nll
from chainrule.training.validation import validation_nlls
from strategies import Spec, build

# Beside a column's own NLL that of the row counts, by 5 over the 30 validation rows of the trainers.
SHARE = 5 / 30


def fit_with(monkeypatch, nlls):
    """Return a fit of column networks with such validation NLLs (E, D), and its weights of each epoch."""
    left = iter(nlls)
    monkeypatch.setattr("chainrule.training.loop.validation_nlls", lambda model, rows, group: next(left))
    epochs = []
    listener = Listener(lambda epoch: epochs.append(copy.deepcopy(fit.averaged.state_dict())))
    fit = trainer("column networks", max_epochs=len(nlls), patience=len(nlls), callbacks=[listener])
    fit.run()
    return fit, epochs


def assert_column_is_of_epoch(fit, epochs, d, number):
    for name, index in fit.model.conditioner.own_weights(d).items():
        name = f"conditioner.{name}"
        assert torch.equal(fit.model.state_dict()[name][index], epochs[number][name][index]), (d, name)


@pytest.mark.parametrize("seed", range(3))
def test_each_network_keeps_the_epoch_that_was_best_for_its_column(monkeypatch, seed):
    nlls = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    fit, epochs = fit_with(monkeypatch, nlls)
    best = (nlls + SHARE * nlls.sum(1, keepdim=True)).argmin(0)
    assert len(best.unique()) > 1
    for d, number in enumerate(best.tolist()):
        assert_column_is_of_epoch(fit, epochs, d, number)


def test_what_few_validation_rows_say_of_a_column_gives_way_to_what_they_say_of_the_row(monkeypatch):
    row, column = torch.zeros(2, 5, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.float64)
    row[1], row[1, 0] = -1.0, 0.1  # the second epoch is much better, but for a little of column 0
    column[1], column[1, 0] = -1.0, 2.0
    for nlls, number in ((row, 1), (column, 0)):
        fit, epochs = fit_with(monkeypatch, nlls)
        assert_column_is_of_epoch(fit, epochs, 0, number)
        assert_column_is_of_epoch(fit, epochs, 1, 1)


def test_many_rows_keep_one_epoch_for_all_columns(monkeypatch):
    nlls = torch.tensor([[3.0, 1, 1, 1, 1], [0, 1.1, 1.1, 1.1, 1.1], [5, 0, 0, 0, 1]])
    monkeypatch.setattr("chainrule.training.recipes._FEW_ROWS", 70)  # as many as there are
    fit, epochs = fit_with(monkeypatch, nlls.double())
    for d in range(5):
        assert_column_is_of_epoch(fit, epochs, d, 1)


@pytest.mark.parametrize("n_context", [0, 2])
def test_each_weight_of_column_networks_belongs_to_one_column(n_context):
    kinds = ("binary", "categorical", "continuous")
    network = build(Spec("columns", kinds, (2, 3, None), hidden=(4, 4), n_context=n_context)).conditioner
    times = {name: torch.zeros_like(weight) for name, weight in network.named_parameters()}
    for d in range(network.n_variables):
        for name, index in network.own_weights(d).items():
            times[name][index] += 1
    assert all((each == 1).all() for each in times.values())


def test_the_params_of_a_column_depend_on_no_weight_of_another():
    spec = SPECS["column networks"]
    network = build(spec).conditioner
    x = rows(spec, 8, 0).codes.double()
    before = network(x)
    with torch.no_grad():
        for part, index in network.own_weights(0).items():
            network.get_parameter(part)[index] += 1.0
    assert ((network(x) != before).any(0) == (torch.arange(5) == 0)).all()


@each_spec
def test_the_parts_of_a_validation_nll_make_the_whole(name):
    fit = trainer(name)
    parts = validation_nlls(fit.model, fit.valid)
    n_parts = 5 if fit.model.conditioner.validates_by_monte_carlo else 1
    assert parts.shape == (n_parts,)
    assert parts.dtype == torch.float64
    assert float(parts.sum()) == validation_nll(fit.model, fit.valid)
