"""Processes that share out the rows of each batch take the steps of one that has them all."""

from __future__ import annotations

import groups
import pytest
import torch
from trainers import each_spec

from chainrule.training.parallel import Group


def read(folder, name, rank):
    return torch.load(folder / f"{name}-{rank}.pt")


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    assert groups.run_group(groups.fit_all, str(folder)) == [0, 0]
    return folder


@each_spec
def test_two_processes_take_the_steps_of_one(fits, name):
    alone = groups.trainer(name, max_epochs=20)
    alone.run()
    assert alone.step == 100
    shared = read(fits, name, 0)
    assert shared["step"] == 100
    for key, weight in alone.averaged.state_dict().items():
        torch.testing.assert_close(shared["averaged"][key], weight, rtol=0, atol=1e-5, msg=key)
    torch.testing.assert_close(shared["valid"], alone.history.valid, rtol=0, atol=1e-5)
    torch.testing.assert_close(shared["train"], alone.history.train, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [*groups.SPECS, "by the clock", "goes on"])
def test_all_processes_end_with_the_same_weights(fits, name):
    first, second = read(fits, name, 0), read(fits, name, 1)
    for part in ("averaged", "last"):
        assert all(torch.equal(weight, second[part][key]) for key, weight in first[part].items())
    assert all(first[key] == second[key] for key in ("valid", "train", "step"))


def test_a_fit_of_which_a_process_died_goes_on(fits, tmp_path):
    assert groups.run_group(groups.fit_or_die, str(tmp_path), 3) == [3, -9]
    assert groups.run_group(groups.fit_or_die, str(tmp_path), None) == [0, 0]
    for rank in (0, 1):
        whole, broken = read(fits, "goes on", rank), read(tmp_path, "goes on", rank)
        assert all(torch.equal(weight, broken["last"][key]) for key, weight in whole["last"].items())
        assert whole["valid"] == broken["valid"] and whole["step"] == broken["step"]


def test_processes_with_other_options_are_refused(tmp_path):
    assert groups.run_group(groups.fit_other_rows, str(tmp_path)) == [3, 4]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64])
def test_shares_are_all_rows_once(n):
    for size in (1, 2, 3, 5):
        taken = [row for rank in range(size) for row in range(n)[Group(rank, size).share(n)]]
        assert taken == list(range(n))
