"""Orderless NADE with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from chainrule.conditionals import Conditional, Conditionals, make_family
from chainrule.conditioners import ColumnNetworks, Conditioner, InputEncoding, OrderlessConditioner
from chainrule.errors import ParameterError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.restoring import Members
from chainrule.estimators.shared_arguments import SharedArguments
from chainrule.model import AutoregressiveModel
from chainrule.rules.restriction import RuleSet, check_tables, columns_of, observed_tables
from chainrule.schema import Schema
from chainrule.storage import StoredArrays, as_described

__all__ = ["OrderlessNADE"]

# Where a network for each column still learns faster than one for all; see docs/decisions.md.
_MAX_COLUMNS = 32
# Saved combinations of rules are called so, and numbered.
_TABLE = "combinations."


class OrderlessNADE(AutoregressiveEstimator):
    """The conditionals of every order (Uria, Murray & Larochelle 2014), by one network or one a column.

    It answers any question p(these | those), exactly normalised: `score_samples` with `given` and `of`,
    `sample` with `given`, `impute`, `conditional`. Rows may have missing values, in training, too.

    Parameters
    ----------
    hidden_sizes : sequence of int, optional
        Units of each hidden layer; by default (64, 64) of each column's network, (256, 256) of a shared one.
    network : {"auto", "columns", "shared"}
        "columns": a network for each column, with weights of its own; training learns all conditionals of a
        row at once, and a row's log-likelihood in one order takes one pass. "shared": one network for all,
        whose cost does not grow with the square of the columns. "auto": the former up to 32 columns.
    activation : {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"}
    n_orderings : int
        Over how many random orders scores and samples are averaged, unless a call says otherwise; training
        draws a new order for every row.
    residual : bool, optional
        Add each hidden layer's pre-activations to the next one's; by default where all layers have the same
        size. Networks for each column always do, and their layers have one size.
    dropout : float
        Share of hidden units left out in training.
    rules : sequence of str, optional
        What no row breaks, by default nothing: inequalities between columns (``"signup <= churn"``),
        combinations that training rows have (``"state, city IN observed"``) and equations
        (``"total = net + tax"``). Conditionals are renormalised within what the rules leave; `fit` refuses
        training rows that break one (`DataError`) and rules that cannot be (`QueryError`). Scores are about
        what is there, so a rule acts in rows where all of its columns are; answers are about whole rows.
    **shared
        What all networks' estimators take, and how to fit.

    Attributes
    ----------
    model_ : AutoregressiveModel
    schema_ : Schema
    history_ : History
        Its validation NLLs are estimates from a random order or observed mask of each row, the same ones in
        every epoch.
    batch_nll_ : list of float
        Estimated training NLL of each minibatch before its optimiser step, in nats of codes; not saved.
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_, n_parameters_ : int

    Notes
    -----
    With a shared network a row's log-likelihood takes D passes through the hidden layers for each order;
    p(x_d | all others that are known) takes one.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import OrderlessNADE
    >>> x1 = np.random.default_rng(0).integers(0, 2, 500)
    >>> X = np.stack([x1, x1, 1 - x1], axis=1)
    >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=60, random_state=0).fit(X)
    >>> model.impute([[1, np.nan, np.nan]], how="mode")
    array([[1, 1, 0]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AutoregressiveEstimator._parameter_constraints,
        "hidden_sizes": ["array-like", None],
        "rules": ["array-like", None],
        "network": [StrOptions({"auto", "columns", "shared"})],
        "residual": ["boolean", None],
        "dropout": [Interval(Real, 0, 0.99, closed="left")],
    }

    _embeds_missing = True
    is_any_order = True
    supports_missing = True
    # The combinations that rules allow, by the rule's text; None before a fit.
    _tables: dict[str, np.ndarray] | None = None

    def __init__(
        self,
        hidden_sizes: Sequence[int] | None = None,
        *,
        network: str = "auto",
        activation: str = "relu",
        n_orderings: int = 1,
        residual: bool | None = None,
        dropout: float = 0.0,
        rules: Sequence[str] | None = None,
        **shared: Unpack[SharedArguments],
    ) -> None:
        self.hidden_sizes = hidden_sizes
        self.network = network
        self.activation = activation
        self.n_orderings = n_orderings
        self.residual = residual
        self.dropout = dropout
        self.rules = rules
        super().__init__(**shared)

    def _check_kinds(self, schema: Schema) -> None:
        super()._check_kinds(schema)
        columns_of(self._rule_texts(), schema)

    def _rule_texts(self) -> list[str]:
        return [] if self.rules is None else list(self.rules)

    def _meet_rows(self, schema: Schema, codes: np.ndarray) -> frozenset[int]:
        """Learn the combinations of rules; return the columns of rules, which compare single levels."""
        texts = self._rule_texts()
        self._tables = observed_tables(texts, schema, codes)
        if texts:
            families = [make_family(each.families(0)[0], each.support, 1) for each in schema.variables]
            rules = RuleSet(texts, schema, self._tables, Conditionals(families))
            rules.check(torch.from_numpy(codes), "the training rows")
        return columns_of(texts, schema)

    def _meet_rows_like(self, other: DensityEstimator) -> None:
        self._tables = getattr(other, "_tables", None)

    def _build(
        self, families: Sequence[Conditional], members: Members, generator: torch.Generator | None
    ) -> AutoregressiveModel:
        model, texts = super()._build(families, members, generator), self._rule_texts()
        if texts:
            model.restriction = RuleSet(texts, self.schema_, self._tables or {}, model.conditionals)
        return model

    def _get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        metadata, arrays = super()._get_state()
        tables = self._tables or {}
        arrays |= {f"{_TABLE}{number}": table for number, table in enumerate(tables.values())}
        return metadata | ({"combinations": list(tables)} if tables else {}), arrays

    def _set_state(self, metadata: Mapping[str, Any], arrays: StoredArrays) -> None:
        texts = as_described(metadata.get("combinations", []), list[str], "the combinations of rules")
        tables = arrays.under(_TABLE)
        self._tables = {text: tables[str(number)] for number, text in enumerate(texts)}
        check_tables(self._tables, self._rule_texts(), self.schema_)
        super()._set_state(
            {k: v for k, v in metadata.items() if k != "combinations"},
            arrays.without(_TABLE + each for each in tables),
        )

    @classmethod
    def _from_json_parameters(cls, metadata: Mapping[str, Any]) -> Self:
        # Models that were saved before there was a choice have a shared network.
        return super()._from_json_parameters({"network": "shared", **metadata})

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        members: Members,
        n_context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:
        by_columns = self._has_column_networks(len(conditionals.starts) - 1)
        common: dict[str, Any] = {
            "activation": self.activation,
            "dropout": self.dropout,
            "n_context": n_context,
            "generator": generator,
        }
        if by_columns:
            sizes = self._sizes((64, 64))
            if len(set(sizes)) > 1:
                raise ParameterError(f"layers of network='columns' have one size, got {self.hidden_sizes!r}")
            return ColumnNetworks(encoding, conditionals.starts, members.orders, sizes, **common)
        sizes = self._sizes((256, 256))
        residual = len(set(sizes)) == 1 if self.residual is None else bool(self.residual)
        return OrderlessConditioner(
            encoding, conditionals.starts, members.orders, sizes, residual=residual, **common
        )

    def _has_column_networks(self, n_variables: int) -> bool:
        """Return whether each column has a network of its own."""
        if self.network == "auto":
            equal = self.hidden_sizes is None or len(set(self.hidden_sizes)) == 1
            return n_variables <= _MAX_COLUMNS and equal and self.residual is not False
        return self.network == "columns"

    def _sizes(self, default: tuple[int, ...]) -> list[int]:
        sizes = list(default if self.hidden_sizes is None else self.hidden_sizes)
        if not sizes or not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ParameterError(
                f"hidden_sizes must name whole numbers of units, one per layer, got {self.hidden_sizes!r}"
            )
        return sizes
