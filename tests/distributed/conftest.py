"""A cluster of two machines, both of them this one."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
import pytest

from chainrule import OrderlessNADE
from chainrule.batches import work
from chainrule.datasets import streaming
from chainrule.distributed import connected

# Among the processes of pytest-xdist one is to have the cluster.
GROUP = pytest.mark.xdist_group("ray")


@pytest.hookimpl(tryfirst=True)  # before tests/conftest.py looks for tests without a group
def pytest_collection_modifyitems(items):
    for item in items:
        if "cluster" in item.fixturenames:
            item.add_marker(GROUP)


@pytest.fixture(scope="session")
def cluster():
    """Return the engine of a cluster of two machines with a processor each, for the whole session.

    Workers are slow to start, and stay as long as the connection.
    """
    # Before Ray is imported: machines of the cluster reach each other by the loopback, and nobody else does.
    os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0")
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    running = Cluster(initialize_head=True, head_node_args={**machine, "include_dashboard": False})
    running.add_node(**machine)
    with connected("ray", running.address) as engine:
        yield engine
    running.shutdown()


@pytest.fixture(scope="session")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    return pl.DataFrame(
        {
            "x": x,
            "y": np.where(rng.random(3000) < 0.2, np.nan, x + rng.normal(size=3000)),
            "level": np.where(x + rng.normal(size=3000) > 0, "high", "low"),
            "n": rng.poisson(4, 3000),
        },
        nan_to_null=True,
    )


@pytest.fixture(scope="session")
def model(rows):
    return OrderlessNADE(hidden_sizes=(16,), max_epochs=2, random_state=0).fit(rows)


@pytest.fixture(scope="session")
def data(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.parquet"
    rows.write_parquet(path, row_group_size=500)
    return path


@pytest.fixture(scope="session")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    model.save(path)
    return path


@pytest.fixture
def in_pieces(monkeypatch):
    """Let files of a few rows come in several batches."""
    monkeypatch.setattr(streaming, "_LARGE_BINARY", 0)
    monkeypatch.setattr(streaming, "_BATCH", 300)
    monkeypatch.setattr(work, "BATCH_ROWS", 300)
