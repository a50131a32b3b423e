"""Scoring as an ONNX graph: log p of coded rows wherever there is an ONNX runtime, without PyTorch.

The graph takes codes, not values: how a column's values become codes stands in a JSON file beside it, and is
a few lines in any language (`docs/interfaces.md`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.onnx import TensorProtoDataType

from chainrule.errors import MissingPackageError, ParameterError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.made import MADE
from chainrule.estimators.nade import NADE
from chainrule.estimators.orderless import OrderlessNADE
from chainrule.model import AutoregressiveModel
from chainrule.orders import rank_of
from chainrule.schema import Schema
from chainrule.schema.types.base import ColumnType
from chainrule.storage import json_safe, write_bytes, write_json

__all__ = ["columns_file", "export_onnx", "recorded"]

_OPSET = 17
# Levels of a column that the graph keeps a number for.
_MAX_LEVELS = 2**20
_N_ROWS = 2


def export_onnx(estimator: DensityEstimator, path: str | Path, *, n_orders: int | None = None) -> None:
    """Write the scoring of a fitted model as an ONNX graph, and beside it how columns are coded.

    The graph has one input, `codes`, float32 (n, D), as `Schema.encode` gives them, and one output,
    `log_likelihood`, float64 (n,): what `score_samples` returns for these rows, in nats and in the units of
    the data. Rows are whole, and their levels are known ones. The file ``NAME.columns.json`` says for each
    column which code a value has.

    Parameters
    ----------
    estimator : NADE, MADE or OrderlessNADE
        Fitted, without context and without rules.
    path : str or Path
        Such as ``"model.onnx"``.
    n_orders : int, optional
        Over how many orders a model of any order averages; by default its own `n_orderings`.

    Raises
    ------
    MissingPackageError
        If `onnx` is not installed.
    ParameterError
        If the model cannot be exported: of another class, with a context or rules, or with a column that
        ONNX has no operations for.
    QueryError
        If `n_orders` is given and the order of the model is fixed.
    """
    check_is_fitted(estimator, "schema_")
    _need_onnx()
    if not isinstance(estimator, NADE | MADE | OrderlessNADE):
        raise ParameterError(
            f"{type(estimator).__name__} cannot be exported: NADE, MADE and OrderlessNADE can"
        )
    if estimator.context_schema_ is not None:
        raise ParameterError("a model with context cannot be exported: fit it without")
    if estimator.has_rules:
        raise ParameterError("a model with rules cannot be exported: fit it without")
    path = Path(path)
    scoring = _Scoring(_in_orders(estimator, n_orders), estimator.schema_)
    content = recorded(scoring, estimator.schema_.n_variables)
    write_json(columns_file(path), _describe(estimator, scoring.model.n_members))
    write_bytes(path, content)


def columns_file(path: Path) -> Path:
    """Return where it stands how columns are coded.

    >>> columns_file(Path("model.onnx")).name
    'model.columns.json'
    """
    return path.with_name(f"{path.stem}.columns.json")


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "an export to ONNX needs onnx, which is not installed: pip install 'chainrule[onnx]'"
        ) from error


def _in_orders(estimator: AutoregressiveEstimator, n_orders: int | None) -> AutoregressiveModel:
    """Return a copy of the model, on the CPU, whose members are the orders that answer."""
    engine = estimator.query_engine(n_orders)  # refuses what a fixed order has not
    model = copy.deepcopy(estimator.model_).cpu().eval()
    if n_orders is not None:
        orders = torch.stack([torch.as_tensor(order) for order in engine.orders]).cpu()
        model.conditioner.orders, model.conditioner.ranks = orders, rank_of(orders)
    return model


class _Scoring(nn.Module):
    """From codes to log-likelihoods: `Schema.coarse`, `log_prob` and `Schema.log_abs_det_jacobian` as one.

    Parameters
    ----------
    model : AutoregressiveModel
    schema : Schema
    """

    def __init__(self, model: AutoregressiveModel, schema: Schema) -> None:
        super().__init__()
        self.model = model
        terms = [_term_of(variable) for variable in schema.variables]
        self.constant = float(sum(term for term in terms if isinstance(term, float)))
        self.terms = nn.ModuleDict(
            {str(d): term for d, term in enumerate(terms) if isinstance(term, nn.Module)}
        )
        self.coarse = nn.ModuleDict(
            {
                str(d): _Table(variable.coarse(_all_codes(variable)), torch.float32)
                for d, variable in enumerate(schema.variables)
                if variable.is_refined
            }
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Return the log-likelihood of each row, float64 (n,)."""
        columns = list(codes.unbind(1))
        for d, coarse in self.coarse.items():
            columns[int(d)] = coarse(columns[int(d)])
        score = self.model.log_prob(torch.stack(columns, dim=1)) + self.constant
        for d, term in self.terms.items():
            score = score + term(codes[:, int(d)])
        return score


class _Table(nn.Module):
    """A number for each level."""

    numbers: Tensor

    def __init__(self, numbers: np.ndarray, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.from_numpy(numbers).to(dtype))

    def forward(self, codes: Tensor) -> Tensor:
        """Return the numbers of codes, (n,)."""
        return self.numbers[codes.long()]


class _Masses(nn.Module):
    """A number for each of a few codes, and one for all others."""

    def __init__(self, codes: np.ndarray, numbers: np.ndarray, other: float) -> None:
        super().__init__()
        self.pairs = list(zip(codes.tolist(), numbers.tolist(), strict=True))
        self.other = other

    def forward(self, codes: Tensor) -> Tensor:
        """Return the numbers of codes, (n,)."""
        found = torch.full_like(codes, self.other, dtype=torch.float64)
        for code, number in self.pairs:
            found = torch.where(codes == code, number, found)
        return found


def _term_of(variable: ColumnType) -> float | nn.Module:
    """Return what a column adds to log p of its code: the same for all codes, or as the code is."""
    if variable.seen_log_det is not None:
        return variable.seen_log_det
    if np.isfinite(variable.n_codes):
        return _Table(variable.log_abs_det_jacobian(_all_codes(variable)), torch.float64)
    masses = np.array(variable.support.point_masses)  # type: ignore[attr-defined]
    beyond = np.array([np.nextafter(np.float32(masses.max()), np.float32(np.inf))], dtype=np.float32)
    other = float(variable.log_abs_det_jacobian(beyond)[0])
    return _Masses(masses, variable.log_abs_det_jacobian(masses), other)


def _all_codes(variable: ColumnType) -> np.ndarray:
    if variable.n_codes > _MAX_LEVELS:
        raise ParameterError(
            f"column {variable.name!r} has {variable.n_codes:,} levels, more than an ONNX graph keeps "
            f"({_MAX_LEVELS:,}): declare it continuous"
        )
    return np.arange(int(variable.n_codes), dtype=np.float32)


def recorded(scoring: nn.Module, n_variables: int) -> bytes:
    """Return the graph of a module from codes (n, D) to nats (n,), as the content of a file.

    Raises
    ------
    ParameterError
        If ONNX lacks an operation.
    """
    example = torch.zeros(_N_ROWS, n_variables)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            with torch.no_grad(), warnings.catch_warnings(action="ignore"), _own_operations():
                torch.onnx.export(
                    scoring,
                    (example,),
                    path,
                    input_names=["codes"],
                    output_names=["log_likelihood"],
                    dynamic_axes={"codes": {0: "rows"}, "log_likelihood": {0: "rows"}},
                    opset_version=_OPSET,
                    # Loops over variables, which depend on the order, are plain calls to this exporter.
                    dynamo=False,
                )
        except torch.onnx.errors.UnsupportedOperatorError as error:
            reason = str(error).partition(".")[0]
            raise ParameterError(f"the model cannot be exported: {reason}, which a column needs") from error
        return path.read_bytes()


@contextmanager
def _own_operations() -> Iterator[None]:
    """Say how operations that ONNX lacks are made of those that it has."""
    made: dict[str, Any] = {
        "aten::expm1": _expm1,
        "aten::log_sigmoid": _log_sigmoid,
        "aten::searchsorted": _searchsorted,
    }
    for name, operation in made.items():
        torch.onnx.register_custom_op_symbolic(name, operation, _OPSET)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in made:
            torch.onnx.unregister_custom_op_symbolic(name, _OPSET)  # type: ignore[attr-defined]


def _expm1(g: Any, x: Any) -> Any:
    """Record exp(x) - 1, in double precision, where little is lost of small x."""
    wide = g.op("Cast", x, to_i=TensorProtoDataType.DOUBLE)
    one = g.op("Constant", value_t=torch.tensor(1.0, dtype=torch.float64))
    return g.op("CastLike", g.op("Sub", g.op("Exp", wide), one), x)


def _log_sigmoid(g: Any, x: Any) -> Any:
    """Record -log(1 + exp(-x)): the logarithm of a sigmoid, as it is by default, is -inf far out."""
    return g.op("Neg", g.op("Softplus", g.op("Neg", x)))


def _searchsorted(g: Any, ends: Any, x: Any, out_int32: Any, right: Any, side: Any, sorter: Any) -> Any:
    """Record how many of the ends (G, K) are no greater than each of the numbers (G, n)."""
    before, last = (g.op("Constant", value_t=torch.tensor([axis])) for axis in (-2, -1))
    reached = g.op("LessOrEqual", g.op("Unsqueeze", ends, before), g.op("Unsqueeze", x, last))
    return g.op("ReduceSum", g.op("Cast", reached, to_i=TensorProtoDataType.INT64), last, keepdims_i=0)


def _describe(estimator: AutoregressiveEstimator, n_members: int) -> dict[str, Any]:
    """Return how columns are coded, and what the graph gives."""
    return {
        "class": type(estimator).__name__,
        "input": "codes, float32 (rows, columns): one code for each column, in this order",
        "output": "log_likelihood, float64 (rows,): nats, in the units of the data",
        "n_averaged": n_members,
        "columns": [_coding(variable) for variable in estimator.schema_.variables],
    }


def _coding(variable: ColumnType) -> dict[str, Any]:
    """Return how the values of a column become codes."""
    coding: dict[str, Any] = {"name": variable.name, "kind": variable.kind}
    if variable.levels is not None and len(variable.levels):
        return {**coding, **_coding_of_levels(variable)}
    zero, one = variable.numbers(np.array([0.0, 1.0]))
    masses = getattr(variable.support, "point_masses", ())
    return {
        **coding,
        "code": "(value - location) / scale",
        "location": float(zero),
        "scale": float(one - zero),
        "unit": variable.unit,
        "point_masses": [[float(variable.numbers(np.array([code]))[0]), code] for code in masses],
    }


def _coding_of_levels(variable: ColumnType) -> dict[str, Any]:
    levels = variable.levels
    if isinstance(levels, range):
        return {"code": "value - first", "first": levels[0], "last": levels[-1], "unit": variable.unit}
    return {"code": "the number of the level, from 0", "levels": json_safe(list(levels or ()))}
