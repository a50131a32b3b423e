"""Ensembles go through joblib, which a cluster serves, too."""

from __future__ import annotations

import numpy as np

from chainrule import MADE, Ensemble
from chainrule.distributed import tasks


def test_members_of_an_ensemble_are_fitted_as_tasks(cluster, rows):
    table = rows["x", "n"].head(500)
    ensemble = Ensemble(MADE((8,), max_epochs=2), n_members=3, random_state=0)
    alone = ensemble.fit(table).member_scores(table)
    with tasks("ray"):
        shared = ensemble.fit(table).member_scores(table)
    np.testing.assert_array_equal(alone, shared)
