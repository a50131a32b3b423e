"""What NADE and MADE share as estimators: building, fitting, scoring, sampling, saving."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from chainrule.conditionals import ENCODINGS, Conditional, Conditionals, families_of, make_family
from chainrule.conditioners import ACTIVATIONS, Conditioner, InputEncoding
from chainrule.errors import ParameterError, StorageError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.chain_surprisal import ChainSurprisal
from chainrule.estimators.embedding import EmbeddingMethods
from chainrule.estimators.parameters import (
    COUNT,
    MEMBERS,
    SHARED_CONSTRAINTS,
    check_checkpoint,
    parameters_of_the_fit,
)
from chainrule.estimators.partial_fit import go_on
from chainrule.estimators.query_engines import ChainQueryEngine
from chainrule.estimators.restoring import (
    Members,
    NetworkState,
    check_sizes,
    is_available,
    load_weights,
)
from chainrule.estimators.rows import CodedRows, make_generator, with_missing_filled
from chainrule.estimators.shared_arguments import TRAINING_CONSTRAINTS, spell_out
from chainrule.kernels.clock import working_time
from chainrule.kernels.row_blocks import batches_of_whole_blocks
from chainrule.model import AutoregressiveModel
from chainrule.orders import given_order, natural_order, random_orders
from chainrule.schema.values import did_you_mean
from chainrule.storage import ArraySpec, StoredArrays, as_described
from chainrule.supports import Reals
from chainrule.training import (
    Callback,
    FitProgress,
    History,
    Rows,
    StoredRows,
    Trainer,
    TrainingOptions,
    evaluation_batch,
)
from chainrule.training.options import TRAINING_OPTIONS, TrainingArguments
from chainrule.training.parallel import current_group

__all__ = ["AutoregressiveEstimator"]

# Numbers from which the margins are estimated, at which training starts.
_MARGIN_NUMBERS = 2**23
# Drawing takes a step for each variable, which few rows do not make much shorter.
_LEAST_DRAWN = 256


class AutoregressiveEstimator(EmbeddingMethods, DensityEstimator):
    """What NADE and MADE share: building, fitting, scoring, sampling and saving an `AutoregressiveModel`."""

    supports_context: ClassVar[bool] = True

    model_: AutoregressiveModel
    families_: tuple[str, ...]
    history_: History
    batch_nll_: list[float]

    # Of one fit, so neither cloned nor saved.
    _callbacks: Sequence[Callback] = ()
    _began: float | None = None

    # Of a class whose constructor leaves no choice.
    activation: str = "relu"
    ordering: str | Sequence[int] = "natural"
    n_orderings: int = 1
    resample_every: int = 1

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **DensityEstimator._parameter_constraints,
        "activation": [StrOptions(set(ACTIVATIONS))],
        "ordering": [StrOptions({"natural", "random"}), "array-like"],
        "n_orderings": [MEMBERS],
        "resample_every": [COUNT],
        "n_components": [COUNT],
        "mixture": [str],
        "encoding": [StrOptions(set(ENCODINGS))],
        **TRAINING_CONSTRAINTS,
        **SHARED_CONSTRAINTS,
        "device": [None, str],
        "checkpoint": [None, str, Path],
    }

    def __init__(
        self,
        *,
        n_components: int = 10,
        mixture: str = "gaussian",
        encoding: str = "onehot",
        kinds: str | Mapping[Any, str] | None = None,
        contamination: float | str = "auto",
        validation_fraction: float = 0.1,
        device: str | None = None,
        checkpoint: str | Path | None = None,
        verbose: bool | int = False,
        random_state: Any = None,
        **training_options: Unpack[TrainingArguments],
    ) -> None:
        self.n_components = n_components
        self.mixture = mixture
        self.encoding = encoding
        self.kinds = kinds
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.device = device
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state
        self._set_training_options(training_options)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        spell_out(cls)

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        context: Any = None,
        X_val: Any = None,
        context_val: Any = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Learn the distribution of the rows of `X`.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            Training rows.
        y : ignored
        context : array or DataFrame, shape (n, C), optional
            Side information; the model then is p(x | context).
        X_val, context_val : like `X` and `context`, optional
            Rows on which to stop early. Without them a `validation_fraction` of `X` is used.
        callbacks : sequence of Callback
            Told of each optimiser step and each epoch, in this order; by default none. One whose `on_epoch`
            returns True ends the fit.

        Raises
        ------
        DataError
            If rows cannot be used; the message names the column.
        KindError
            If a column is of a kind that this model cannot model.
        ParameterError
            If a constructor argument is out of its range, or there is a checkpoint without a `random_state`.
        StorageError
            If the checkpoint is damaged, or belongs to another fit.
        FitInterrupted
            On Ctrl-C; the estimator is fitted, with the best weights so far.
        """
        self._callbacks, self._began = callbacks, working_time()
        try:
            return super().fit(X, y, context=context, X_val=X_val, context_val=context_val)
        finally:
            del self._callbacks, self._began

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        context: Any = None,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Go on with a fitted model: more rows, or the same ones for longer.

        Of what was learned before the weights are kept, and nothing of its rows: give old rows along with new
        ones where they are to count. Columns, levels and ranges are those of the first fit. Values beyond a
        range count as its end, as in `score_samples`; rows with a level of which nothing is known are left
        out. A share of the rows, `validation_fraction`, decides which weights are best; those that the model
        came with stay where none are better. A model that is not fitted yet is fitted.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
        y : ignored
        context : array or DataFrame, shape (n, C), optional
        callbacks : sequence of Callback
            As in `fit`.

        Raises
        ------
        DataError
            If rows cannot be used, or all of them have levels that the first fit did not know.
        FitInterrupted
            On Ctrl-C; the best weights so far are in the model.

        Examples
        --------
        >>> from chainrule import NADE
        >>> X = np.random.default_rng(0).integers(0, 2, (200, 3))
        >>> model = NADE(8, max_epochs=2, random_state=0).fit(X)
        >>> model.partial_fit(X).history_.epochs
        2
        """
        if not hasattr(self, "schema_"):
            return self.fit(X, context=context, callbacks=callbacks)
        self._check_parameters()
        self._callbacks, self._began = callbacks, working_time()
        try:
            go_on(self, X, context, make_generator(self.random_state))
        finally:
            del self._callbacks, self._began
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        densities = families_of(Reals())  # not a constraint of the class: families can be added
        if self.mixture not in densities:
            listed = ", ".join(map(repr, densities))
            raise ParameterError(
                f"The 'mixture' parameter of {type(self).__name__} must be a str among {{{listed}}}. "
                f"Got {self.mixture!r} instead."
            )

    @abstractmethod
    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        members: Members,
        n_context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:
        """Return the untrained network; without a generator, one whose weights are still to be loaded."""

    def _set_training_options(self, options: TrainingArguments) -> None:
        """Store the options given to a constructor, and the defaults of the others."""
        for name in options:
            if name not in TRAINING_OPTIONS:
                hint = did_you_mean(name, list(signature(type(self)).parameters))
                raise TypeError(f"{type(self).__name__} got an unexpected keyword argument {name!r}{hint}")
        defaults = {name: option.default for name, option in TRAINING_OPTIONS.items()}
        self.__dict__.update(defaults, **options)

    def _options(self) -> TrainingOptions:
        """Return the training options of a fit."""
        return TrainingOptions(**{name: getattr(self, name) for name in TRAINING_OPTIONS})

    def _build(
        self, families: Sequence[Conditional], members: Members, generator: torch.Generator | None
    ) -> AutoregressiveModel:
        """Return an untrained model; without a generator, one whose weights are still to be loaded."""
        conditionals = Conditionals(families)
        encoding = InputEncoding([family.input_features(self.encoding) for family in families])
        context = self._context_encoding()
        n_context = 0 if context is None else context.n_features
        return AutoregressiveModel(
            self._conditioner(encoding, conditionals, members, n_context, generator), conditionals
        )

    def _families(self) -> list[Conditional]:
        """Return the family of each variable."""
        supports = zip(self.families_, self.schema_.supports, strict=True)
        return [make_family(name, support, self.n_components) for name, support in supports]

    def _draw_members(self, generator: torch.Generator) -> Members:
        """Return the orders of an untrained model's members."""
        n_variables = self.schema_.n_variables
        orders = random_orders(n_variables, self.n_orderings, generator)  # also where any order is served
        if self.is_any_order:
            return Members(orders)
        if not isinstance(self.ordering, str):
            orders[0] = given_order(self.ordering, n_variables)
        elif self.ordering == "natural":
            orders[0] = natural_order(n_variables)
        return Members(orders)

    def _n_orders(self) -> int:
        """Return how many orders share the weights."""
        return self.n_orderings

    def _read_members(self, arrays: StoredArrays) -> Members:
        """Return the orders of a saved model's members."""
        shape = (self._n_orders(), self.schema_.n_variables)
        orders = arrays.read("conditioner.orders", ArraySpec(shape, "int64"))
        if (np.sort(orders, axis=1) != np.arange(shape[1])).any():
            raise StorageError("the orders of the model are no permutations of its columns")
        return Members(torch.from_numpy(orders))

    def _context_encoding(self) -> InputEncoding | None:
        if self.context_schema_ is None:
            return None
        variables = self.context_schema_.variables
        families = [make_family(each.families(0)[0], each.support, 1) for each in variables]
        return InputEncoding([family.input_features("onehot") for family in families])

    def _device(self) -> torch.device:
        """Return the device to compute on: the one asked for, else a CUDA device if there is one."""
        if self.device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not is_available(self.device):
            raise ParameterError(f'device {self.device!r} cannot be used here; "cpu" can')
        return torch.device(self.device)

    def _rows(self, codes: np.ndarray, context: np.ndarray | None) -> Rows:
        """Return rows, of codes as models see them, where the model is."""
        codes = np.ascontiguousarray(codes, dtype=np.float32)
        return Rows(torch.from_numpy(codes).to(self._device()), self._context_features(context))

    def _context_features(self, context: np.ndarray | None) -> Tensor | None:
        encoding = self._context_encoding()
        if encoding is None or context is None:
            return None
        features = encoding(torch.from_numpy(np.ascontiguousarray(context, dtype=np.float32)))
        return features.to(self._device())

    def _fit_codes(self, train: CodedRows, valid: CodedRows | None, generator: np.random.Generator) -> None:
        torch_generator = _torch_generator(generator)
        self.families_ = self._choose_families(train.codes)
        model = self._build(self._families(), self._draw_members(torch_generator), torch_generator)
        sample = with_missing_filled(train.codes[: _margin_rows(train.codes.shape[1])])
        model.conditioner.set_output_bias(model.conditionals.marginal_params(torch.from_numpy(sample)))
        self.model_ = model.to(self._device())
        self.n_parameters_ = model.conditioner.n_free_parameters()
        self._train(train, valid, torch_generator)

    def _train(self, train: CodedRows, valid: CodedRows | None, generator: torch.Generator) -> None:
        """Fit the model as it is to coded rows; the best weights stay in it, whatever happens."""
        check_checkpoint(self.checkpoint, self.random_state)
        is_first = current_group().is_first  # of several processes one says how far they are
        progress = FitProgress(type(self).__name__, visible=bool(self.verbose) and is_first)
        trainer = Trainer(
            self.model_,
            self._training_rows(train),
            None if valid is None else self._rows_in_memory(valid),
            self._options(),
            generator,
            resample_every=self.resample_every,
            callbacks=[progress, *self._callbacks],
            began=self._began,
            parameters=parameters_of_the_fit(self.get_params(deep=False)),
        )
        try:
            with progress:
                trainer.run(None if self.checkpoint is None else Path(self.checkpoint))
        finally:
            self.history_ = trainer.history_of_rows()
            self.batch_nll_ = trainer.batch_nll

    def _training_rows(self, rows: CodedRows) -> Rows | StoredRows:
        if rows.files:
            return StoredRows(rows.files, rows.codes.shape[1], rows.log_det, self._device())
        return self._rows_in_memory(rows)

    def _rows_in_memory(self, rows: CodedRows) -> Rows:
        return replace(self._rows(rows.codes, rows.context), log_abs_det_jacobian=rows.log_det)

    def _choose_families(self, codes: np.ndarray) -> tuple[str, ...]:
        """Return the name of each variable's family: that of `mixture` where it can be, else the first."""
        n_rows = (~np.isnan(codes)).sum(axis=0).tolist()
        offered = [v.families(n) for v, n in zip(self.schema_.variables, n_rows, strict=True)]
        return tuple(self.mixture if self.mixture in names else names[0] for names in offered)

    @torch.no_grad()
    def _score_codes(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        scores = np.empty(len(codes))
        for batch, blocks in batches_of_whole_blocks(len(codes), evaluation_batch(self.model_)):
            rows = self._rows(codes[blocks], None if context is None else context[blocks])
            log_probs = self.model_.log_prob(rows.codes, rows.context).cpu().numpy()
            scores[batch] = log_probs[: batch.stop - batch.start]
        return scores

    def surprisals(self) -> ChainSurprisal:
        """Return how the fitted model's log-likelihoods split over columns and cells, on codes."""
        check_is_fitted(self, "schema_")
        return ChainSurprisal(self)

    @property
    def answers_queries(self) -> bool:
        """Whether p(these | those) can be asked for: yes, as far as the order allows."""
        return True

    def query_engine(self, n_orders: int | None = None) -> ChainQueryEngine:
        """Return the engine that answers `ConditionalQuery` objects; see `QueryMethods`."""
        check_is_fitted(self, "schema_")
        return ChainQueryEngine(self.model_, self.schema_, self._rows, n_orders)

    def _sample_codes(self, n: int, generator: np.random.Generator, context: np.ndarray | None) -> np.ndarray:
        torch_generator = _torch_generator(generator, self._device())
        size = max(evaluation_batch(self.model_), _LEAST_DRAWN)
        parts = []
        for start in range(0, n, size):
            count = min(size, n - start)
            features = None if context is None else self._context_features(context[start : start + count])
            parts.append(self.model_.sample(count, torch_generator, features).cpu().numpy())
        return np.concatenate(parts)

    def _get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {name: t.cpu().numpy() for name, t in self.model_.state_dict().items()}
        metadata = {
            "n_parameters": self.n_parameters_,
            "families": list(self.families_),
            "history": self.history_.to_dict(),
        }
        return metadata, arrays

    def _set_state(self, metadata: Mapping[str, Any], arrays: StoredArrays) -> None:
        state = as_described(metadata, NetworkState, "the state")
        if self.device is not None and not is_available(self.device):
            self.device = None  # Saved on a machine with another device: go on with what is here.
        self.checkpoint = None  # Of a fit that is over, and perhaps on another's machine.
        self.families_, self.history_ = state.families, state.history
        if len(state.families) != self.schema_.n_variables:
            raise StorageError(f"{len(state.families)} families are not those of the columns")
        families = self._families()
        check_sizes(families, self.encoding, arrays.n_numbers)
        try:
            model = self._build(families, self._read_members(arrays), None)
        except RuntimeError as error:
            raise StorageError(f"no network has the sizes that the parameters name: {error}") from error
        load_weights(model, arrays)
        self.model_ = model.to(self._device()).eval()
        self.n_parameters_: int = model.conditioner.n_free_parameters()


def _margin_rows(n_variables: int) -> int:
    return max(1000, _MARGIN_NUMBERS // n_variables)


def _torch_generator(generator: np.random.Generator, device: torch.device | None = None) -> torch.Generator:
    seed = int(generator.integers(2**62))
    return torch.Generator(device or torch.device("cpu")).manual_seed(seed)
