"""A row's numbers do not depend on the rows beside it: not in the last bit, where networks give them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chainrule import GMM, MADE, NADE, ConvNADE, Ensemble, Independent, Mixture, OrderlessNADE, PixelCNN
from chainrule.conditioners import ACTIVATIONS

pytestmark = pytest.mark.arithmetic

# More rows than one batch of the compiled passes takes, and no multiple of a vector.
N_ROWS = 601
FIT = {"max_epochs": 1, "random_state": 0}
# Widths that vectors do and do not divide, and layers narrower than any kernel's block.
NETWORKS = {
    "made": MADE((40, 33), activation="tanh", **FIT),
    "narrow made": MADE((7, 9), **FIT),
    "made of one unit": MADE((1,), **FIT),
    "masks": MADE((32,), n_masks=3, **FIT),
    "orders": MADE((16,), ordering="random", n_orderings=2, **FIT),
    "shared network": OrderlessNADE((30,), network="shared", **FIT),
    "narrow shared network": OrderlessNADE((9, 5), network="shared", **FIT),
    "orderless nade": OrderlessNADE((20, 20), **FIT),
    "narrow orderless nade": OrderlessNADE((7, 9), **FIT),
    "narrow column networks": OrderlessNADE((7,), **FIT),
    "convolutions": PixelCNN(20, n_layers=2, n_orderings=2, **FIT),
    "narrow convolutions": PixelCNN(5, n_layers=1, **FIT),
    "conv nade": ConvNADE(12, n_hidden=20, **FIT),
    "narrow conv nade": ConvNADE(3, n_hidden=5, n_blocks=1, **FIT),
    "ensemble": Ensemble(MADE((8,), max_epochs=1), n_members=2, random_state=0),
    **{f"nade, {name}": NADE(5, activation=name, **FIT) for name in ACTIVATIONS},
}
OF_ANY_ORDER = [name for name, model in NETWORKS.items() if model.supports_missing]
BASELINES = {"independent": Independent(), "gmm": GMM(n_components=2), "mixture": Mixture(n_components=2)}


@pytest.fixture(scope="module")
def table():
    """Return rows of every kind of column."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=N_ROWS)
    return pd.DataFrame(
        {
            "x": x,
            "y": 10 * x + rng.normal(size=N_ROWS),
            "spiked": np.where(rng.random(N_ROWS) < 0.5, 0.0, rng.exponential(size=N_ROWS)),
            "binary": rng.integers(0, 2, N_ROWS),
            "level": rng.integers(0, 30, N_ROWS),
            "many": rng.integers(0, 2000, N_ROWS),
            "word": rng.choice(list("abcde"), N_ROWS),
        }
    )


@pytest.fixture(scope="module")
def incomplete(table):
    """Return the rows, of which each lacks cells of its own."""
    missing = np.random.default_rng(1).random(table.shape) < 0.2
    missing[:, -1] = False
    return table.astype({name: float for name in table.columns[:-1]}).mask(missing)


@pytest.fixture(scope="module")
def parts():
    """Return numbers of rows that are scored together: one by one, a few in any order, nearly all."""
    rng = np.random.default_rng(2)
    sizes = [1] * 10 + [2, 3, 5, 8, 31, 32, 33, 64, 100, N_ROWS - 1]
    return [rng.permutation(N_ROWS)[:size] for size in sizes]


def differences(evaluate, rows, parts):
    """Return the largest difference between numbers of rows in parts of the table and in the whole."""
    whole = evaluate(rows)
    pairs = [(evaluate(rows.iloc[part]), whole[part]) for part in parts]
    assert all(np.isfinite(here[~np.isnan(there)]).all() for here, there in pairs)
    return max(np.nanmax(np.abs(here - there)) for here, there in pairs)


@pytest.mark.parametrize("name", NETWORKS)
def test_log_p_of_a_row(name, table, parts):
    model = NETWORKS[name].fit(table)
    assert differences(model.score_samples, table, parts) == 0


@pytest.mark.parametrize("name", OF_ANY_ORDER)
def test_log_p_of_a_row_with_missing_values(name, incomplete, parts):
    model = NETWORKS[name].fit(incomplete)
    assert differences(model.score_samples, incomplete, parts) == 0


@pytest.mark.parametrize("name", OF_ANY_ORDER)
def test_conditional_queries(name, table, parts):
    model = NETWORKS[name].fit(table)

    def density(rows):
        return model.score_samples(rows, given=["x", "word"], of=["level", "y"])

    def probabilities(rows):
        return model.conditional(rows, "word").probabilities

    assert differences(density, table, parts) == 0
    assert differences(probabilities, table, parts) == 0


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_round_in_double_precision(name, table, parts):
    rows = table[["x", "y"]] if name == "gmm" else table
    model = BASELINES[name].fit(rows)
    assert differences(model.score_samples, rows, parts) < 1e-12
