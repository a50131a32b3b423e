"""Which variable is which pixel, and the scans of an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import ParameterError
from chainrule.image_shape import ImageShape

SIZES = st.integers(1, 4)
SHAPES = st.builds(ImageShape, SIZES, SIZES, SIZES)


@given(SHAPES, st.integers(1, 3))
def test_the_grid_has_the_features_of_a_pixel_at_its_place(shape, n_features):
    features = torch.randn(2, shape.n_variables * n_features)
    grid = shape.to_grid(features)
    assert grid.shape == (2, shape.channels * n_features, shape.height, shape.width)
    assert torch.equal(shape.from_grid(grid), features)
    of_variable = features.view(2, shape.n_variables, n_features)
    for row, column, channel in np.ndindex(shape.height, shape.width, shape.channels):
        at_pixel = grid[:, :, row, column].view(2, shape.channels, n_features)
        assert torch.equal(at_pixel[:, channel], of_variable[:, shape.variable(row, column, channel)])


@given(SHAPES)
def test_scans_are_orders_that_differ_and_keep_the_channels_of_a_pixel_together(shape):
    scans = shape.scans()
    assert len(scans) == shape.n_scans == len(torch.unique(scans, dim=0))
    assert torch.equal(scans[0], torch.arange(shape.n_variables))
    assert torch.equal(scans.sort(1).values, scans[:1].expand_as(scans))
    chain = torch.arange(shape.channels)
    assert torch.equal(
        scans.view(len(scans), -1, shape.channels) % shape.channels,
        chain.expand(len(scans), shape.n_pixels, -1),
    )


@given(SHAPES)
def test_a_scan_steps_to_a_pixel_beside_the_last_one_but_at_the_ends_of_lines(shape):
    pixels = shape.scans()[:, :: shape.channels] // shape.channels
    row, column = pixels // shape.width, pixels % shape.width
    far = (row.diff(dim=1).abs() + column.diff(dim=1).abs()) > 1
    lines = {shape.height, shape.width} if shape.height == shape.width else {shape.height}
    assert all(int(n) < max(lines) for n in far.sum(1))


@pytest.mark.parametrize(
    ("given", "n_variables", "expected"),
    [
        (None, 9, ImageShape(3, 3)),
        (None, 10, ImageShape(1, 10)),
        (None, 1, ImageShape(1, 1)),
        ([2, 3], 6, ImageShape(2, 3)),
        (np.array([2, 1, 3]), 6, ImageShape(2, 1, 3)),
    ],
)
def test_a_shape_that_is_given_or_follows(given, n_variables, expected):
    assert ImageShape.of(given, n_variables) == expected


@pytest.mark.parametrize(
    "given", [(4,), (2, 2, 1, 1), (0, 4), (-2, -2), (2.0, 2), ("2", "2"), (2, 3), (2, 2, 3), (10**30, 1)]
)
def test_a_shape_of_other_rows_or_none_at_all_is_refused(given):
    with pytest.raises(ParameterError, match=r"image_shape"):
        ImageShape.of(given, 4)
