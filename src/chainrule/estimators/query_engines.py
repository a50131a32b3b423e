"""Conditional queries to a fitted model, on codes: p(query | observed), draws, distributions of variables."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from chainrule import inference
from chainrule.conditionals import Conditional
from chainrule.conditioners import AnyOrderConditioner
from chainrule.errors import ParameterError, QueryError
from chainrule.estimators.binned_distribution import BinnedDistribution
from chainrule.estimators.conditional_distribution import ConditionalDistribution
from chainrule.estimators.conditional_query import ADVICE, ConditionalQuery
from chainrule.events.chains import Chain
from chainrule.inference import LateVariableError
from chainrule.kernels.row_blocks import batches_of_whole_blocks, filled_up
from chainrule.model import AutoregressiveModel
from chainrule.orders import random_orders, rank_of
from chainrule.rules.restriction import RuleSet, rules_of_question
from chainrule.training import Rows, evaluation_batch

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["ChainQueryEngine", "EnsembleQueryEngine", "QueryEngine"]

# Orders beyond those of a model come from this seed, so that they are the same at every call.
_ORDER_SEED = 0


class QueryEngine(ABC):
    """What answers conditional queries, with one answer for each of K orders, members or both."""

    model: AutoregressiveModel
    schema: Schema

    def torch_generator(self, generator: np.random.Generator) -> torch.Generator:
        """Return a generator where the model is, seeded by another."""
        device = next(self.model.parameters()).device
        return torch.Generator(device).manual_seed(int(generator.integers(2**62)))

    @property
    @abstractmethod
    def n_answers(self) -> int:
        """Number of answers, K."""

    @property
    def models(self) -> list[AutoregressiveModel]:
        """The models whose answers are averaged, of an ensemble those of all members."""
        return [self.model]

    @abstractmethod
    def log_probs(self, query: ConditionalQuery) -> np.ndarray:
        """Return log p(query | observed) of codes as models see them under each order, (K, n)."""

    @abstractmethod
    def sample(self, query: ConditionalQuery, generator: torch.Generator) -> np.ndarray:
        """Return codes (n, D) with everything drawn that is not observed, each row by one of the orders."""

    @abstractmethod
    def outputs(self, query: ConditionalQuery) -> Tensor:
        """Return the query's outputs, (K, n, n_outputs), each variable from the observed ones alone."""

    @abstractmethod
    def chains(self, context: np.ndarray | None = None) -> list[Chain]:
        """Return the K models and orders that answer questions about events, given context codes (1, C)."""

    @abstractmethod
    def with_rules(self, texts: Sequence[str]) -> Self:
        """Return an engine whose answers keep some rules, too.

        Raises
        ------
        QueryError
            If they are no rules, or none that can be told at a question.
        """

    def check_given(self, query: ConditionalQuery) -> None:
        """Refuse what is observed if it breaks a rule, or leaves no way to keep one."""
        if self.model.restriction is not None:
            given = np.where(query.observed, query.codes, np.nan)
            self.model.restriction.check_given(torch.from_numpy(given))

    def family_of(self, d: int) -> Conditional:
        """Return the family of variable d, cut to what rules leave if there are any."""
        rules = self.model.restriction
        if rules is None or d not in rules.columns:
            return self.model.conditionals.of_variable(d)
        return rules.family(d)

    def within_rules(self, d: int, params: Tensor, codes: np.ndarray, observed: np.ndarray) -> Tensor:
        """Return the params (n, P') of that family, from the network's (n, P_d)."""
        rules = self.model.restriction
        if rules is None or d not in rules.columns:
            return params
        return rules.params(d, params, torch.from_numpy(codes), torch.from_numpy(observed))

    def distributions(
        self, query: ConditionalQuery
    ) -> Iterator[tuple[np.ndarray, int, ConditionalDistribution]]:
        """Yield row numbers, a variable of the query in them, and its distribution given the observed ones.

        One pass serves all variables of a batch of rows.
        """
        starts, first = self.model.conditionals.starts, 0
        for part in query.batches(evaluation_batch(self.model)):
            outputs = self.outputs(part.take(filled_up(len(part))))
            for d in np.flatnonzero(part.query.any(axis=0)).tolist():
                rows = np.flatnonzero(part.query[:, d])
                params = outputs[:, torch.from_numpy(rows), starts[d] : starts[d + 1]]
                yield first + rows, d, self._distribution(d, params, part.take(rows))
            first += len(part)

    def distribution(self, query: ConditionalQuery, d: int) -> ConditionalDistribution:
        """Return the distribution of variable d, in the query of all rows, given the observed ones."""
        columns = slice(self.model.conditionals.starts[d], self.model.conditionals.starts[d + 1])
        return self._distribution(d, self._all_outputs(query, columns), query)

    def whole_distributions(self, query: ConditionalQuery) -> Iterator[tuple[int, ConditionalDistribution]]:
        """Yield each variable of a query, the same in all rows, and its distribution in all of them."""
        starts, outputs = self.model.conditionals.starts, self._all_outputs(query, slice(None))
        for d in np.flatnonzero(query.query.any(axis=0)).tolist():
            yield d, self._distribution(d, outputs[..., starts[d] : starts[d + 1]], query)

    def _all_outputs(self, query: ConditionalQuery, columns: slice) -> Tensor:
        """Return some columns of the outputs of all rows, (K, n, ...), batch by batch."""
        outputs = [
            self.outputs(query.take(blocks))[:, : batch.stop - batch.start, columns]
            for batch, blocks in batches_of_whole_blocks(len(query), evaluation_batch(self.model))
        ]
        return torch.cat(outputs, dim=1)

    def _distribution(self, d: int, params: Tensor, query: ConditionalQuery) -> ConditionalDistribution:
        """Return the distribution of variable d with params (K, n, P_d), within what rules leave."""
        family = self.family_of(d)
        params = torch.stack([self.within_rules(d, each, query.codes, query.observed) for each in params])
        variable = self.schema.variables[d]
        if variable.bins is None:
            return ConditionalDistribution(variable, family, params)
        return BinnedDistribution(variable, family, params, variable.bins)


class ChainQueryEngine(QueryEngine):
    """Answers by the model of a fitted estimator under several orders.

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
        self.orders: list[Tensor | int] = self._orders(n_orders)

    @property
    def n_answers(self) -> int:
        """Number of orders."""
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
    def log_probs(self, query: ConditionalQuery) -> np.ndarray:
        """Return log p(query | observed) under each order, (K, n)."""
        scores = np.empty((len(self.orders), len(query)))
        for k, order in enumerate(self.orders):
            for batch, blocks in batches_of_whole_blocks(len(query), evaluation_batch(self.model)):
                rows, observed, target = self._tensors(query.take(blocks))
                with self.named_variables():
                    answer = inference.log_prob(self.model, rows.codes, observed, target, order, rows.context)
                scores[k, batch] = answer[: batch.stop - batch.start].cpu()
        return scores

    @torch.no_grad()
    def sample(self, query: ConditionalQuery, generator: torch.Generator) -> np.ndarray:
        """Return codes (n, D) with everything drawn that is not observed, each row by one of the orders."""
        self.check_given(query)
        drawn_rows = np.empty_like(query.codes)
        device = generator.device
        chosen = (
            torch.randint(len(self.orders), (len(query),), generator=generator, device=device).cpu().numpy()
        )
        for k in np.unique(chosen):
            numbers = np.flatnonzero(chosen == k)
            for start in range(0, len(numbers), evaluation_batch(self.model)):
                index = numbers[start : start + evaluation_batch(self.model)]
                rows, observed, _ = self._tensors(query.take(index))
                uniforms = self.model.uniforms(len(index), generator)
                with self.named_variables():
                    drawn = inference.sample_conditional(
                        self.model, rows.codes, observed, self.orders[k], uniforms, rows.context
                    )
                drawn_rows[index] = drawn.cpu()
        refines = self.schema.is_refined  # other draws must not depend on it
        seed = int(torch.randint(2**62, (), generator=generator, device=device)) if refines else 0
        refined = self.schema.refine(drawn_rows, np.random.default_rng(seed))
        return np.where(query.observed, query.codes, refined)

    @torch.no_grad()
    def outputs(self, query: ConditionalQuery) -> Tensor:
        """Return the query's outputs, (K, n, n_outputs), each variable from the observed ones alone."""
        rows, observed, target = self._tensors(query)
        network = self.model.conditioner
        same = isinstance(network, AnyOrderConditioner) and network.observes_a_set
        with self.named_variables():
            answers = [
                inference.conditional_params(self.model, rows.codes, observed, target, order, rows.context)
                for order in (self.orders[:1] if same else self.orders)
            ]
        return torch.stack(answers).cpu()

    def chains(self, context: np.ndarray | None = None) -> list[Chain]:
        """Return the model under each order."""
        return [ModelChain(self, order, context) for order in self.orders]

    def with_rules(self, texts: Sequence[str]) -> Self:
        """Return an engine of the same orders whose answers keep some rules, too."""
        engine = copy.copy(self)
        own = self.model.restriction
        assert own is None or isinstance(own, RuleSet)
        engine.model = self.model.within(rules_of_question(texts, self.schema, self.model.conditionals, own))
        return engine

    def _tensors(self, query: ConditionalQuery) -> tuple[Rows, Tensor, Tensor]:
        rows = self.to_rows(self.schema.coarse(query.codes), query.context)
        device = rows.codes.device
        return rows, torch.from_numpy(query.observed).to(device), torch.from_numpy(query.query).to(device)

    @contextmanager
    def named_variables(self) -> Iterator[None]:
        """Say by name which variables a fixed order has the wrong way round."""
        try:
            yield
        except LateVariableError as error:
            late, missing = (self.schema.names[d] for d in (error.late, error.missing))
            raise QueryError(
                f"this model has a fixed order, in which {missing!r} comes before {late!r}: it cannot answer "
                f"a question with {late!r} and without {missing!r}. {ADVICE}"
            ) from None


class ModelChain(Chain):
    """The model of an engine under one of its orders.

    Parameters
    ----------
    engine : ChainQueryEngine
    order : Tensor (D,) or int
    context : ndarray (1, C), optional
        Codes of the side information of all rows.
    """

    engine: ChainQueryEngine
    order: Tensor | int
    context: np.ndarray | None

    def __init__(self, engine: ChainQueryEngine, order: Tensor | int, context: np.ndarray | None) -> None:
        self.engine, self.order, self.context = engine, order, context
        network = engine.model.conditioner
        ranks = rank_of(network.order(order) if isinstance(order, int) else order)
        self._ranks = ranks.tolist()

    @property
    def key(self) -> Hashable:
        """The model, and the order where it has an effect beyond the sequence of columns."""
        network = self.engine.model.conditioner
        is_free = isinstance(network, AnyOrderConditioner) and network.observes_a_set
        return id(self.engine.model), None if is_free else tuple(self._ranks)

    @property
    def ranks(self) -> list[int]:
        """The position of each variable, (D,)."""
        return self._ranks

    @torch.no_grad()
    def params(self, codes: np.ndarray, observed: Sequence[int], d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, on the CPU, given coarse codes of some variables."""
        context = None if self.context is None else np.repeat(self.context, len(codes), axis=0)
        rows = self.engine.to_rows(codes, context)
        is_observed = torch.zeros(codes.shape[1], dtype=torch.bool, device=rows.codes.device)
        is_observed[list(observed)] = True
        parts = []
        for start in range(0, len(codes), evaluation_batch(self.engine.model)):
            batch = slice(start, start + evaluation_batch(self.engine.model))
            beside = None if rows.context is None else rows.context[batch]
            with self.engine.named_variables():
                parts.append(
                    inference.next_params(
                        self.engine.model, rows.codes[batch], is_observed, d, self.order, beside
                    )
                )
        seen = is_observed.expand(codes.shape).cpu().numpy()
        return self.engine.within_rules(d, torch.cat(parts).cpu(), codes, seen)


class EnsembleQueryEngine(QueryEngine):
    """Answers by the members of an ensemble, each under all of its orders.

    Parameters
    ----------
    members : sequence of QueryEngine
        With as many orders each.
    """

    model: AutoregressiveModel
    schema: Schema

    def __init__(self, members: Sequence[QueryEngine]) -> None:
        self.members = members
        self.model, self.schema = members[0].model, members[0].schema

    @property
    def n_answers(self) -> int:
        """Number of orders of all members together."""
        return sum(member.n_answers for member in self.members)

    @property
    def models(self) -> list[AutoregressiveModel]:
        """The models of all members."""
        return [model for member in self.members for model in member.models]

    def log_probs(self, query: ConditionalQuery) -> np.ndarray:
        """Return log p(query | observed) under each order of each member, (K, n)."""
        return np.concatenate([member.log_probs(query) for member in self.members])

    def sample(self, query: ConditionalQuery, generator: torch.Generator) -> np.ndarray:
        """Return codes (n, D) with everything drawn that is not observed, each row by one of the members."""
        drawn_rows = np.empty_like(query.codes)
        chosen = torch.randint(
            len(self.members), (len(query),), generator=generator, device=generator.device
        ).cpu()
        for k in chosen.unique().tolist():
            rows = np.flatnonzero(chosen == k)
            drawn_rows[rows] = self.members[k].sample(query.take(rows), generator)
        return drawn_rows

    def outputs(self, query: ConditionalQuery) -> Tensor:
        """Return the outputs of all members, (K, n, n_outputs)."""
        return torch.cat([member.outputs(query) for member in self.members])

    def with_rules(self, texts: Sequence[str]) -> Self:
        """Return an engine of the same members whose answers keep some rules, too."""
        return type(self)([member.with_rules(texts) for member in self.members])

    def chains(self, context: np.ndarray | None = None) -> list[Chain]:
        """Return those of all members."""
        return [chain for member in self.members for chain in member.chains(context)]
