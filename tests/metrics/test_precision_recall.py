"""Precision and recall of drawn rows, nearest rows, means over groups."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule.metrics.precision_recall import grouped_summary, nearest, precision_recall


def test_precision_and_recall_tell_missing_modes_from_false_ones():
    draw = np.random.default_rng(0)
    left, right = draw.normal(size=(400, 2)) * 0.1, draw.normal(size=(400, 2)) * 0.1 + 5
    both = np.concatenate([left[:200], right[:200]])
    narrow = precision_recall(both, np.concatenate([left[200:], draw.normal(size=(200, 2)) * 0.1]))
    assert narrow.precise.mean() > 0.85 and narrow.recalled.mean() == pytest.approx(0.5, abs=0.1)
    wide = precision_recall(left[:200], np.concatenate([left[200:], right[:200]]))
    assert wide.recalled.mean() > 0.7 and wide.precise.mean() == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="more than 3 rows"):
        precision_recall(both, both[:3])


def test_nearest_rows_are_those_of_all_distances(monkeypatch):
    draw = np.random.default_rng(1)
    train, drawn = draw.integers(0, 2, (50, 12)), draw.integers(0, 2, (20, 12))
    drawn[3] = train[31]
    distances = np.sqrt((drawn[:, None] != train[None]).sum(axis=2))
    monkeypatch.setattr("chainrule.metrics.neighbours._BLOCK", 50 * 7)
    number, distance = nearest(drawn, train)
    assert distance == pytest.approx(distances.min(axis=1))
    assert distances[np.arange(20), number] == pytest.approx(distances.min(axis=1))
    assert distance[3] == 0


def test_errors_of_groups_are_those_of_their_means():
    draw = np.random.default_rng(2)
    means = draw.normal(size=30)
    values = np.repeat(means, 10)
    summary = grouped_summary(values, np.repeat(np.arange(30), 10))
    assert summary.mean == pytest.approx(means.mean())
    assert summary.standard_error == pytest.approx(means.std(ddof=1) / math.sqrt(30))
    assert grouped_summary(values, None).standard_error < summary.standard_error / 2
    assert math.isnan(grouped_summary(values, np.zeros(300, dtype=int)).standard_error)
