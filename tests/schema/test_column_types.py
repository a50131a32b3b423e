"""What each column type must offer: codes and back, a family, storage, a place in the commands."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from chainrule import MADE
from chainrule.cli import run
from chainrule.conditionals import families_of, make_family
from chainrule.errors import DataError
from chainrule.schema import COLUMN_TYPES, ColumnType, Continuous, Schema, register_column_type, types

RNG = np.random.default_rng(0)
COLUMNS = {
    "truth values": pl.Series(RNG.random(200) < 0.4),
    "text": pl.Series(RNG.choice(["red", "green", "blue"], 200)),
    "integers": pl.Series(RNG.integers(0, 30, 200)),
    "wide integers": pl.Series(RNG.integers(0, 9000, 200)),
    "real numbers": pl.Series(RNG.normal(50, 7, 200)),
    "positive numbers": pl.Series(RNG.gamma(2.0, 3.0, 200)),
    "nothing": pl.Series([None] * 200, dtype=pl.String),
}
each_kind = pytest.mark.parametrize("kind", list(COLUMN_TYPES))


def columns_of(kind: str) -> dict[str, pl.DataFrame]:
    """Return those of the columns above that can be declared to be of a kind."""
    found = {}
    for name, column in COLUMNS.items():
        frame = pl.DataFrame({"it": column, "other": np.arange(200) % 2})
        try:
            schema = Schema.infer(frame, {"it": kind})
        except DataError:
            continue
        if schema.kinds[0] == kind:  # what is empty stays so, whatever was declared
            found[name] = frame
    return found


def test_every_type_of_the_library_is_in_the_table():
    for module in pkgutil.iter_modules(types.__path__, "chainrule.schema.types."):
        held = vars(importlib.import_module(module.name)).values()
        own = [each for each in held if getattr(each, "__module__", "") == module.name]
        found = [each for each in own if isinstance(each, type) and issubclass(each, ColumnType)]
        concrete = {each for each in found if not inspect.isabstract(each)}
        assert concrete <= set(COLUMN_TYPES.values()), f"{module.name}: not in COLUMN_TYPES"


@each_kind
def test_each_kind_can_be_declared_of_some_column(kind):
    assert columns_of(kind)
    assert COLUMN_TYPES[kind].kind == kind


@each_kind
def test_codes_are_in_the_support_and_come_back(kind):
    for frame in columns_of(kind).values():
        schema = Schema.infer(frame, {"it": kind})
        codes = schema.encode(frame)
        schema = schema.with_rows(codes)
        column = schema.variables[0]
        assert codes.dtype == np.float32 and np.isfinite(codes).all()
        coarse = schema.coarse(codes)
        n_codes = getattr(column.support, "n_codes", np.inf)
        if column.support.is_discrete:
            assert (coarse[:, 0] == np.rint(coarse[:, 0])).all() and 0 <= coarse[:, 0].min()
            assert coarse[:, 0].max() < n_codes <= column.n_codes
        refined = schema.refine(coarse, np.random.default_rng(0))
        np.testing.assert_array_equal(schema.coarse(refined), coarse)
        decoded = schema.decode(codes)["it"]
        if column.is_numeric:
            np.testing.assert_allclose(decoded.to_numpy(), frame["it"].to_numpy(), rtol=1e-5)
        else:
            assert decoded.to_list() == frame["it"].to_list()
        for value, code in zip(frame["it"].drop_nulls().head(5).to_list(), codes[:5, 0], strict=False):
            assert column.encode_scalar(value) == pytest.approx(float(code), rel=1e-6)


@each_kind
def test_what_is_added_to_log_probabilities_is_finite_and_said_once(kind):
    for frame in columns_of(kind).values():
        schema = Schema.infer(frame, {"it": kind})
        schema = schema.with_rows(schema.encode(frame))
        codes = schema.encode(frame)[:, 0]
        column = schema.variables[0]
        log_det = column.log_abs_det_jacobian(codes)
        assert log_det.shape == codes.shape and np.isfinite(log_det).all()
        if column.seen_log_det is not None:
            np.testing.assert_allclose(log_det, column.seen_log_det)
        assert column.is_discrete == column.support.is_discrete
        assert isinstance(column.support, column.support_type)


@each_kind
def test_each_has_a_family_that_starts_from_the_marginal(kind):
    import torch

    for frame in columns_of(kind).values():
        schema = Schema.infer(frame, {"it": kind})
        schema = schema.with_rows(schema.encode(frame))
        column = schema.variables[0]
        names = column.families(len(frame))
        assert names and set(names) == set(families_of(column.support))
        x = torch.from_numpy(schema.coarse(schema.encode(frame)))[:, :1]
        for name in names:
            family = make_family(name, column.support, 3)
            params = family.marginal_params(x)
            assert params.shape == (1, family.n_parameters)
            assert family.log_prob(x, params.expand(len(x), 1, -1)).isfinite().all()


@each_kind
def test_each_is_stored_and_described(kind):
    for frame in columns_of(kind).values():
        schema = Schema.infer(frame, {"it": kind})
        schema = schema.with_rows(schema.encode(frame))
        stored = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
        assert stored.to_dict() == schema.to_dict()
        np.testing.assert_array_equal(stored.encode(frame), schema.encode(frame))
        assert schema.variables[0].describe()


def test_the_command_lists_all_kinds(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    pl.DataFrame({"it": COLUMNS["integers"]}).write_csv(path)
    assert (
        run(["fit", str(path), "--model", "nade", "--out", str(tmp_path / "m"), "--kind", "it=number"]) == 2
    )
    said = capsys.readouterr().err
    assert all(kind in said for kind in COLUMN_TYPES)


def test_a_type_from_outside_is_declared_fitted_and_stored(tmp_path):
    @dataclass(frozen=True)
    class Logarithmic(Continuous):
        """Numbers above zero, whose logs are modelled."""

        kind: ClassVar[str] = "logarithmic"

        @classmethod
        def infer(cls, summary):
            return None

        @classmethod
        def encode_block(cls, columns, block, first_row):
            return super().encode_block(columns, np.log(block), first_row)

        @classmethod
        def decode_block(cls, columns, block):
            return np.exp(super().decode_block(columns, block))

        @classmethod
        def declared(cls, column):
            logs = np.log(column.values)
            return cls.standardised(column.name, float(logs.mean()), float(logs.std()), column.dtype)

        @property
        def seen_log_det(self):
            return None

        def log_abs_det_jacobian(self, codes):
            return super().log_abs_det_jacobian(codes) - (codes * self.scale + self.location)

    before = dict(COLUMN_TYPES)
    register_column_type(Logarithmic)
    try:
        frame = pl.DataFrame({"it": COLUMNS["positive numbers"], "other": np.arange(200) % 2})
        model = MADE((8,), max_epochs=3, kinds={"it": "logarithmic"}, random_state=0).fit(frame)
        grid = np.geomspace(1e-5, 1e4, 20_001)
        total = sum(
            np.trapezoid(
                np.exp(model.score_samples(pl.DataFrame({"it": grid, "other": [k] * len(grid)}))), grid
            )
            for k in (0, 1)
        )
        assert total == pytest.approx(1, abs=1e-3)
        assert model.sample(50, random_state=0)["it"].min() > 0
    finally:
        COLUMN_TYPES.clear()
        COLUMN_TYPES.update(before)
