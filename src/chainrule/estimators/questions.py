"""Questions to a fitted model: p(these | those), completions, imputation, conditional distributions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chainrule import inference
from chainrule.conditionals import Categorical, DiscretizedLogistics
from chainrule.conditioners import AnyOrderConditioner
from chainrule.errors import ParameterError, QueryError
from chainrule.estimators.binned_distribution import BinnedDistribution
from chainrule.estimators.conditional_distribution import ConditionalDistribution
from chainrule.inference import LateVariableError
from chainrule.model import AutoregressiveModel
from chainrule.orders import random_orders
from chainrule.training import Rows, evaluation_batch

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["ADVICE", "MemberQuestioners", "Question", "Questioner"]

ADVICE = 'MADE(ordering="any") and OrderlessNADE answer any question: fit one of those'
# Orders beyond those of a model come from this seed, so that they are the same at every call.
_ORDER_SEED = 0


class Question:
    """Codes of rows, what of them is known and what is asked for.

    Parameters
    ----------
    codes : ndarray (n, D)
        NaN where missing.
    given, asked : ndarray, bool (n, D)
    context : ndarray (n, C), optional
    """

    def __init__(
        self, codes: np.ndarray, given: np.ndarray, asked: np.ndarray, context: np.ndarray | None
    ) -> None:
        self.codes, self.given, self.asked, self.context = codes, given, asked, context

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: slice | np.ndarray) -> Question:
        """Return the question about some of the rows."""
        context = None if self.context is None else self.context[index]
        return Question(self.codes[index], self.given[index], self.asked[index], context)

    def batches(self, size: int) -> Iterator[Question]:
        """Yield the question about `size` rows at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))


class Distributions(ABC):
    """What gives each variable's distribution from the params that orders or members answer with."""

    model: AutoregressiveModel
    schema: Schema

    @abstractmethod
    def outputs(self, question: Question) -> Tensor:
        """Return the outputs of what is asked, each variable from the given ones alone, (K, n, n_outputs)."""

    def distributions(self, question: Question) -> Iterator[tuple[np.ndarray, int, ConditionalDistribution]]:
        """Yield row numbers, a variable asked for in them, and its distribution given the given ones.

        One pass serves all variables of a batch of rows.
        """
        starts, first = self.model.conditionals.starts, 0
        for part in question.batches(evaluation_batch(self.model)):
            outputs = self.outputs(part)
            for d in np.flatnonzero(part.asked.any(axis=0)).tolist():
                rows = np.flatnonzero(part.asked[:, d])
                params = outputs[:, torch.from_numpy(rows), starts[d] : starts[d + 1]]
                yield first + rows, d, self._distribution(d, params)
            first += len(part)

    def distribution(self, question: Question, d: int) -> ConditionalDistribution:
        """Return the distribution of variable d, asked for in all rows, given the given ones."""
        columns = slice(self.model.conditionals.starts[d], self.model.conditionals.starts[d + 1])
        parts = question.batches(evaluation_batch(self.model))
        return self._distribution(d, torch.cat([self.outputs(part)[..., columns] for part in parts], dim=1))

    def _distribution(self, d: int, params: Tensor) -> ConditionalDistribution:
        family = self.model.conditionals.of_variable(d)
        variable = self.schema.variables[d]
        if variable.bins is None:
            return ConditionalDistribution(variable, family, params)
        assert isinstance(family, Categorical | DiscretizedLogistics)  # those of bins
        return BinnedDistribution(variable, family, params, variable.bins)


class Questioner(Distributions):
    """Puts questions to the model of a fitted estimator, averaging the answers of several orders.

    Parameters
    ----------
    model : AutoregressiveModel
    schema : Schema
    to_rows : callable
        From codes (n, D) as models see them and context codes to `Rows` where the model is.
    n_orders : int or None
        None: the orders of the model.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        schema: Schema,
        to_rows: Callable[[np.ndarray, np.ndarray | None], Rows],
        n_orders: int | None,
    ) -> None:
        self.model = model
        self.schema = schema
        self.to_rows = to_rows
        self.orders = self._orders(n_orders)

    @property
    def n_answers(self) -> int:
        """How many orders answer."""
        return len(self.orders)

    def _orders(self, n_orders: int | None) -> list[Tensor | int]:
        """Return the orders of an any-order model, its own ones first, or the members of another."""
        network = self.model.conditioner
        if not network.is_any_order:
            if n_orders is not None:
                raise QueryError(
                    f"n_orders is for models of any order; this one has {network.n_members} fixed. {ADVICE}"
                )
            return list(range(network.n_members))
        if n_orders is None:
            return list(network.orders)
        if not isinstance(n_orders, Integral) or n_orders < 1:
            raise ParameterError(f"n_orders must be a whole number of at least 1, got {n_orders!r}")
        generator = torch.Generator().manual_seed(_ORDER_SEED)
        more = random_orders(network.n_variables, int(n_orders), generator).to(network.orders.device)
        return list(torch.cat([network.orders, more])[:n_orders])

    @torch.no_grad()
    def log_probs(self, question: Question) -> np.ndarray:
        """Return log p(asked | given) under each order, (K, n)."""
        scores = np.empty((len(self.orders), len(question)))
        for k, order in enumerate(self.orders):
            done = 0
            for part in question.batches(evaluation_batch(self.model)):
                rows, given, asked = self._tensors(part)
                with self._named_variables():
                    answer = inference.log_prob(self.model, rows.codes, given, asked, order, rows.context)
                scores[k, done : done + len(part)] = answer.cpu()
                done += len(part)
        return scores

    @torch.no_grad()
    def complete(self, question: Question, generator: torch.Generator) -> np.ndarray:
        """Return codes (n, D) with everything drawn that is not given, each row by one of the orders."""
        completed = np.empty_like(question.codes)
        device = generator.device
        chosen = (
            torch.randint(len(self.orders), (len(question),), generator=generator, device=device)
            .cpu()
            .numpy()
        )
        for k in np.unique(chosen):
            numbers = np.flatnonzero(chosen == k)
            for start in range(0, len(numbers), evaluation_batch(self.model)):
                index = numbers[start : start + evaluation_batch(self.model)]
                rows, given, _ = self._tensors(question.take(index))
                uniforms = self.model.uniforms(len(index), generator)
                with self._named_variables():
                    drawn = inference.sample_conditional(
                        self.model, rows.codes, given, self.orders[k], uniforms, rows.context
                    )
                completed[index] = drawn.cpu()
        seed = (
            int(torch.randint(2**62, (), generator=generator, device=device)) if self.schema.is_refined else 0
        )
        refined = self.schema.refine(completed, np.random.default_rng(seed))
        return np.where(question.given, question.codes, refined)

    @torch.no_grad()
    def outputs(self, question: Question) -> Tensor:
        """Return the outputs of what is asked, each variable from the given ones alone, (K, n, n_outputs)."""
        rows, given, asked = self._tensors(question)
        network = self.model.conditioner
        same = isinstance(network, AnyOrderConditioner) and network.observes_a_set
        with self._named_variables():
            answers = [
                inference.conditional_params(self.model, rows.codes, given, asked, order, rows.context)
                for order in (self.orders[:1] if same else self.orders)
            ]
        return torch.stack(answers).cpu()

    def _tensors(self, question: Question) -> tuple[Rows, Tensor, Tensor]:
        rows = self.to_rows(self.schema.coarse(question.codes), question.context)
        device = rows.codes.device
        return rows, torch.from_numpy(question.given).to(device), torch.from_numpy(question.asked).to(device)

    @contextmanager
    def _named_variables(self) -> Iterator[None]:
        """Say by name which variables a fixed order has the wrong way round."""
        try:
            yield
        except LateVariableError as error:
            late, missing = (self.schema.names[d] for d in (error.late, error.missing))
            raise QueryError(
                f"this model has a fixed order, in which {missing!r} comes before {late!r}: it cannot answer "
                f"a question with {late!r} and without {missing!r}. {ADVICE}"
            ) from None


class MemberQuestioners(Distributions):
    """Puts questions to the members of an ensemble, averaging the answers of all orders of all of them.

    Parameters
    ----------
    members : sequence of Questioner
        With as many orders each.
    """

    def __init__(self, members: Sequence[Questioner]) -> None:
        self.members = members
        self.model, self.schema = members[0].model, members[0].schema

    @property
    def n_answers(self) -> int:
        """How many orders answer, of all members together."""
        return sum(member.n_answers for member in self.members)

    def log_probs(self, question: Question) -> np.ndarray:
        """Return log p(asked | given) under each order of each member, (K, n)."""
        return np.concatenate([member.log_probs(question) for member in self.members])

    def complete(self, question: Question, generator: torch.Generator) -> np.ndarray:
        """Return codes (n, D) with everything drawn that is not given, each row by one of the members."""
        completed = np.empty_like(question.codes)
        chosen = torch.randint(
            len(self.members), (len(question),), generator=generator, device=generator.device
        ).cpu()
        for k in chosen.unique().tolist():
            rows = np.flatnonzero(chosen == k)
            completed[rows] = self.members[k].complete(question.take(rows), generator)
        return completed

    def outputs(self, question: Question) -> Tensor:
        """Return what each member's `outputs` returns, (K, n, n_outputs)."""
        return torch.cat([member.outputs(question) for member in self.members])
