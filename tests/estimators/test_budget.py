"""Fits with a budget of time, networks that are chosen by the number of columns, recipes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.base import clone

from chainrule import MADE, NADE, OrderlessNADE
from chainrule.conditioners import ColumnNetworks, OrderlessConditioner
from chainrule.errors import ParameterError
from chainrule.training import Callback, TrainingOptions, recipe_for


class Planned(Callback):
    """Keeps what it was told of the plan."""

    def __init__(self):
        self.plans = []

    def on_plan(self, plan):
        self.plans.append(plan)


def bits(n, n_variables=4, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, n_variables))


@pytest.mark.parametrize(
    "model", [NADE(8), MADE((16,)), OrderlessNADE((16,))], ids=lambda m: type(m).__name__
)
def test_a_budget_ends_a_fit_that_would_go_on(model):
    planned = Planned()
    # The first fit of a process loads the kernels, which may take longer than the budget.
    model.set_params(max_epochs=1).fit(bits(500))
    model.set_params(max_epochs=10**6, patience=10**6, max_time=1.0, random_state=0)
    model.fit(bits(500), callbacks=[planned])
    assert model.history_.epochs < 10**6
    assert [plan.seconds for plan in planned.plans] == [pytest.approx(1.0)]


def test_without_a_budget_the_same_seed_gives_the_same_model():
    scores = [OrderlessNADE((8,), random_state=3).fit(bits(300)).score_samples(bits(9)) for _ in range(2)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize(
    ("n_variables", "options", "kind"),
    [
        (4, {}, ColumnNetworks),
        (33, {}, OrderlessConditioner),
        (33, {"network": "columns"}, ColumnNetworks),
        (4, {"network": "shared"}, OrderlessConditioner),
        (4, {"hidden_sizes": (8, 4)}, OrderlessConditioner),
        (4, {"residual": False}, OrderlessConditioner),
    ],
)
def test_the_network_suits_the_columns(n_variables, options, kind):
    settings = {"hidden_sizes": (8, 8), "max_epochs": 1, "random_state": 0} | options
    model = OrderlessNADE(**settings).fit(bits(60, n_variables))
    assert type(model.model_.conditioner) is kind


def test_column_networks_have_layers_of_one_size():
    with pytest.raises(ParameterError, match="one size"):
        OrderlessNADE((8, 4), network="columns").fit(bits(60))


@pytest.mark.parametrize(
    "model", [NADE(4), MADE((4,)), OrderlessNADE((4,)), OrderlessNADE((4,), network="shared")]
)
def test_batches_grow_with_the_rows_and_epochs_fall(model):
    conditioner = model.set_params(max_epochs=1).fit(bits(60)).model_.conditioner
    few, many = (recipe_for(conditioner, n, TrainingOptions()) for n in (500, 200_000))
    assert few.batch_size < many.batch_size
    assert few.max_epochs > many.max_epochs
    wanted = TrainingOptions(learning_rate=0.5, weight_decay=0.0, batch_size=7, max_epochs=3, patience=2)
    recipe = recipe_for(conditioner, 500, wanted)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.batch_size) == (0.5, 0.0, 7)
    assert (recipe.max_epochs, recipe.patience) == (3, 2)


def test_columns_of_numbers_take_more_steps():
    """Of ten thousand rows: 160 steps an epoch."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(60, 1)), rng.integers(0, 2, (60, 2))], axis=1)
    for columns, n_epochs in (
        (rows, 37),
        (np.concatenate([rows, rows[:, 1:]], axis=1), 15),
        (rows[:, 1:], 15),
    ):
        network = OrderlessNADE((4,), max_epochs=1).fit(columns).model_.conditioner
        assert recipe_for(network, 10_240, TrainingOptions(batch_size=64)).max_epochs == n_epochs


@pytest.mark.parametrize("model", [NADE(4, max_epochs=1), MADE((4,), max_epochs=1)])
def test_weights_decay_faster_where_columns_have_many_levels_and_rows_are_few(model):
    letters = np.random.default_rng(0).choice(list("abcdefghij"), (100, 2))
    levels = model.fit(pl.DataFrame(letters, schema=["left", "right"])).model_.conditioner
    decays = [recipe_for(levels, n, TrainingOptions()).weight_decay for n in (500, 1200, 10**7)]
    assert decays[0] == pytest.approx(10 * 0.02)  # of as many features a column
    assert decays[0] > decays[1] > decays[2]
    assert decays[2] == pytest.approx(0.02, rel=0.02)
    bit = clone(model).fit(bits(60)).model_.conditioner
    assert recipe_for(bit, 500, TrainingOptions()).weight_decay == 0.02


def test_orders_that_take_turns_take_shorter_steps():
    one, four = (NADE(4, n_orderings=k, max_epochs=1).fit(bits(60)).model_.conditioner for k in (1, 4))
    rates = [recipe_for(network, 500, TrainingOptions()).learning_rate for network in (one, four)]
    assert rates[0] == pytest.approx(4 * rates[1])


def test_a_made_of_numbers_drops_fewer_units_out():
    numbers = np.random.default_rng(0).normal(size=(60, 1))
    shares = [
        MADE((8,), max_epochs=1, dropout=wanted).fit(rows).model_.conditioner.dropout
        for wanted, rows in ((None, bits(60)), (None, np.hstack([numbers, bits(60, 2)])), (0.2, numbers))
    ]
    assert shares == [0.3, 0.1, 0.2]


class Threads(Callback):
    """Notes with how many threads steps are taken."""

    def __init__(self):
        self.seen = set()

    def on_step(self, step):
        self.seen.add(torch.get_num_threads())


@pytest.mark.parametrize(
    ("model", "n_rows", "n_threads"),
    [(NADE(8), 500, 1), (MADE((16,)), 500, 1), (OrderlessNADE((16,)), 500, 1),
     (NADE(8), 5000, 2), (MADE((700, 700)), 500, 2)],
)  # fmt: skip
def test_short_steps_are_taken_by_one_thread(model, n_rows, n_threads):
    threads, before = Threads(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        clone(model).set_params(max_epochs=1).fit(bits(n_rows), callbacks=[threads])
        assert threads.seen == {n_threads}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
