"""Rows in files are visited as those in memory are: each once in an epoch, in random order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chainrule.training import Rows, StoredRows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[1, 7])
def stored(tmp_path, request):
    codes = np.random.default_rng(0).normal(size=(103, 3)).astype(np.float32)
    parts = np.array_split(codes, request.param)
    files = [tmp_path / f"{number}.f32" for number in range(len(parts))]
    for path, part in zip(files, parts, strict=True):
        part.tofile(path)
    return StoredRows(files, 3, 0.0, torch.device("cpu")), codes


@pytest.mark.parametrize("size", [1, 10, 16, 40, 103, 500])
def test_an_epoch_has_each_row_once(stored, size):
    rows, codes = stored
    batches = [batch.codes.numpy() for batch in rows.shuffled(size, generator())]
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    seen = np.concatenate(batches)
    assert len(seen) == len(rows) == 103
    np.testing.assert_array_equal(seen[np.lexsort(seen.T)], codes[np.lexsort(codes.T)])


@pytest.mark.parametrize("size", [1, 10, 16, 40])
def test_batches_that_were_taken_are_left_out(stored, size):
    rows, codes = stored
    for each in (rows, Rows(torch.from_numpy(codes))):
        batches = [batch.codes for batch in each.shuffled(size, generator())]
        for n_taken in (1, 2, len(batches) // 2, len(batches) - 1, len(batches)):
            rest = [batch.codes for batch in each.shuffled(size, generator(), n_taken)]
            assert len(rest) == len(batches) - n_taken
            assert all(torch.equal(a, b) for a, b in zip(rest, batches[n_taken:], strict=True))


def test_each_epoch_has_another_order(stored):
    rows, _ = stored
    state = generator()
    first, second = (torch.cat([b.codes for b in rows.shuffled(10, state)]) for _ in range(2))
    assert not torch.equal(first, second)


def test_a_checksum_tells_rows_apart(stored):
    rows, codes = stored
    before = rows.digest()
    codes[5, 1] += 1
    assert before == rows.digest()
    codes.tofile(rows._files[0])
    assert before != rows.digest()
