"""How much columns tell about each other under a model: mutual information, and what to ask next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import QueryError
from chainrule.estimators.binned_distribution import BinnedDistribution
from chainrule.estimators.conditional_distribution import ConditionalDistribution
from chainrule.estimators.conditional_query import ADVICE, ConditionalQuery
from chainrule.estimators.query_engines import QueryEngine
from chainrule.metrics.cells import Cells, cut_at, every_level
from chainrule.metrics.information import entropy, informational_correlation, log_ratios
from chainrule.storage import json_safe

__all__ = ["Dependence", "Pair", "Question", "find_dependence", "rank_questions"]

Floats = NDArray[np.float64]

# Cells of equal probability for a column without levels: what they lose is given in `Dependence`.
_N_CELLS = 128
_N_SHOWN = 15


@dataclass(frozen=True)
class Pair:
    """Two columns and what they tell about each other.

    Attributes
    ----------
    first, second : str
    information, standard_error : float
        Mutual information, in nats.
    normalised : float
        From 0 to 1, as in `Dependence`.
    """

    first: str
    second: str
    information: float
    standard_error: float
    normalised: float


@dataclass(frozen=True)
class Question:
    """A column that could be asked for next.

    Attributes
    ----------
    column : str
    information : float
        How many nats its value is expected to tell about the target.
    standard_error : float
        In nats.
    """

    column: str
    information: float
    standard_error: float


@dataclass(frozen=True, eq=False, repr=False)
class Dependence:
    """Mutual information of each two columns under a model.

    Over the levels of columns it is a sum, without draws. A continuous column, or one of counts, stands for
    128 cells that are equally probable under the model: what two columns tell about each other's cell is
    at most what they tell about each other (0.5 % less for a Gaussian pair of correlation 0.8, 1.3 % at
    0.99), and at most log 128 = 4.85 nats.

    Attributes
    ----------
    names : tuple of str
        The D columns.
    mutual_information : ndarray (D, D)
        Nats: the mean of what the model says in both directions, by p(a) p(b | a) and by p(b) p(a | b). On
        the diagonal the entropy of a column, of wide ordinals that of the bins; NaN of a continuous one.
    standard_error : ndarray (D, D)
        Nats: what draws, the difference of the two directions (under one joint there would be none) and the
        spread over members make together.
    sampling_error : ndarray (D, D)
        Nats: the part of it due to draws; 0 where both columns have few enough levels.
    normalised : ndarray (D, D)
        From 0 to 1: `chainrule.metrics.information.informational_correlation`, which of two Gaussian columns
        is their absolute correlation, and 1 where one column determines the other.
    """

    names: tuple[str, ...]
    mutual_information: Floats
    standard_error: Floats
    sampling_error: Floats
    normalised: Floats

    def pairs(self) -> list[Pair]:
        """Return the pairs of columns, those that tell most about each other first.

        They are ranked by `normalised`, so that columns of many levels do not lead by their size.
        """
        first, second = np.triu_indices(len(self.names), 1)
        order = np.argsort(-self.normalised[first, second], kind="stable")
        return [self._pair(int(first[at]), int(second[at])) for at in order]

    def _pair(self, i: int, j: int) -> Pair:
        numbers = (self.mutual_information, self.standard_error, self.normalised)
        return Pair(self.names[i], self.names[j], *(float(matrix[i, j]) for matrix in numbers))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-safe values: `names`, and the matrices as lists of rows."""
        matrices = ("mutual_information", "standard_error", "sampling_error", "normalised")
        document = {"names": list(self.names)} | {name: getattr(self, name).tolist() for name in matrices}
        safe: dict[str, Any] = json_safe(document)
        return safe

    def __repr__(self) -> str:
        pairs = self.pairs()
        width = max((len(name) for name in self.names), default=0)
        lines = [f"{'':<{width}}  {'':<{width}}  {'nats':>7} {'+-':>7} {'of 1':>6}"]
        lines += [
            f"{pair.first:<{width}}  {pair.second:<{width}}  {pair.information:>7.4f} "
            f"{pair.standard_error:>7.4f} {pair.normalised:>6.3f}"
            for pair in pairs[:_N_SHOWN]
        ]
        more = len(pairs) - _N_SHOWN
        return "\n".join([*lines, *([f"and {more} pairs that depend less"] if more > 0 else [])])


def find_dependence(
    engine: QueryEngine,
    generator: np.random.Generator,
    *,
    n_rows: int = 1000,
    context: np.ndarray | None = None,
    columns: Sequence[int] | None = None,
    cells: Sequence[Cells] | None = None,
) -> Dependence:
    """Return the mutual information of each two columns under a model of any order.

    Parameters
    ----------
    engine : QueryEngine
    generator : Generator
        Draws the values of columns that have too many of them.
    n_rows : int, default=1000
        Levels up to which a column is taken as a whole, and values drawn of another.
    context : ndarray (1, C), optional
        Codes of the side information.
    columns : sequence of int, optional
        Those to look at, by default all.
    cells : sequence of Cells, optional
        What the columns are sorted into; by default every level, and 128 cells of other columns. With cells
        all entropies are those of cells, also of continuous columns.

    Raises
    ------
    QueryError
        If the model's order is fixed.
    """
    names = engine.schema.names
    columns = range(len(names)) if columns is None else columns
    asker = _Asker(engine, np.full(len(names), np.nan), context, columns, n_rows, generator)
    if cells is not None:
        asker.cells = dict(zip(columns, cells, strict=True))
    size = len(columns)
    place = {d: at for at, d in enumerate(columns)}
    directed = np.zeros((3, size, size))
    for a in columns:
        for b, found in asker.told_by(a, [d for d in columns if d != a]):
            directed[:, place[a], place[b]] = found
    information, sampling, error = _both_ways(directed, directed.transpose(0, 2, 1))
    entropies = np.array([asker.entropy(d) for d in columns])
    has_density = np.array([not engine.schema.variables[d].is_discrete for d in columns])
    unbounded = has_density if cells is None else np.zeros(size, bool)
    np.fill_diagonal(information, np.where(has_density, np.nan, entropies))
    return Dependence(
        tuple(names[d] for d in columns),
        information,
        error,
        sampling,
        informational_correlation(information, np.where(unbounded, np.inf, entropies)),
    )


def rank_questions(
    engine: QueryEngine,
    known: np.ndarray,
    target: int,
    generator: np.random.Generator,
    *,
    n_rows: int = 1000,
    context: np.ndarray | None = None,
) -> list[Question]:
    """Return the columns that are not known, those first that are expected to tell most about a target.

    Parameters
    ----------
    engine : QueryEngine
    known : ndarray (D,)
        Codes; NaN where nothing is known.
    target : int
    generator, n_rows, context
        As in `find_dependence`.

    Raises
    ------
    QueryError
        If the model's order is fixed, or the target is known.
    """
    names = engine.schema.names
    if not np.isnan(known[target]):
        raise QueryError(
            f"column {names[target]!r} is given, so there is nothing to ask: choose another target"
        )
    unknown = np.flatnonzero(np.isnan(known)).tolist()
    asker = _Asker(engine, known, context, unknown, n_rows, generator)
    candidates = [d for d in unknown if d != target]
    back = dict(asker.told_by(target, candidates))
    questions = []
    for d in candidates:
        ((_, there),) = asker.told_by(d, [target])
        information, _, error = _both_ways(np.array(there), np.array(back[d]))
        questions.append(Question(names[d], float(information), float(error)))
    return sorted(questions, key=lambda question: -question.information)


def _both_ways(there: Floats, back: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mutual information, its error from draws and its whole error, from those of two directions.

    Each is of shape (3, ...): information, its error from draws, that from the spread over members.
    """
    sampling = np.hypot(there[1], back[1]) / 2
    # The members are the same in both directions, so that their errors do not cancel.
    members = (there[2] + back[2]) / 2
    error = np.sqrt(sampling**2 + members**2 + (there[0] - back[0]) ** 2 / 4)
    return (there[0] + back[0]) / 2, sampling, error


@dataclass(frozen=True, eq=False)
class _Values:
    """Values of a column with their probabilities: all of them, or draws in strata of two each."""

    codes: Floats
    weights: Floats
    are_drawn: bool


class _Asker:
    """What the values of one column tell about others, given what is known; see `find_dependence`."""

    def __init__(
        self,
        engine: QueryEngine,
        known: np.ndarray,
        context: np.ndarray | None,
        columns: Sequence[int],
        n_rows: int,
        generator: np.random.Generator,
    ) -> None:
        if not engine.model.conditioner.is_any_order:
            raise QueryError(
                f"a model of fixed order cannot tell what any two columns have in common. {ADVICE}"
            )
        self.engine, self.known, self.context = engine, known, context
        self.n_rows, self.generator = n_rows, generator
        self.marginals = dict(engine.whole_distributions(self._query(1, columns)))
        self.cells = {d: self._own_cells(d) for d in columns}

    def entropy(self, d: int) -> float:
        """Return the entropy of a column's cells, in nats."""
        return entropy(_probabilities(self.marginals[d], self.cells[d])[0])

    def told_by(self, a: int, columns: Sequence[int]) -> Iterator[tuple[int, tuple[float, float, float]]]:
        """Yield I(a; b) by p(a) p(b | a) of other columns b, its error from draws and that of members."""
        values = self._values(a)
        coarse = self.engine.schema.variables[a].coarse(values.codes)
        table = _Table(self.cells[a].number(coarse), self.cells[a].n_cells, values)
        query = self._query(len(values.codes), columns, {a: values.codes})
        for b, distribution in self.engine.whole_distributions(query):
            each = [_probabilities(answer, self.cells[b]) for answer in distribution.answers()]
            information, error = table.information(np.mean(each, axis=0))
            members = [table.information(one)[0] for one in each] if len(each) > 1 else [0.0, 0.0]
            yield b, (information, error, float(np.std(members, ddof=1)) / len(members) ** 0.5)

    def _query(
        self, n_rows: int, columns: Sequence[int], more: dict[int, Floats] | None = None
    ) -> ConditionalQuery:
        codes = np.repeat(self.known[None].astype(np.float32), n_rows, axis=0)
        for d, values in (more or {}).items():
            codes[:, d] = values
        query = np.zeros(codes.shape, bool)
        query[:, list(columns)] = True
        context = None if self.context is None else np.repeat(self.context, n_rows, axis=0)
        return ConditionalQuery(codes, ~np.isnan(codes), query, context)

    def _own_cells(self, d: int) -> Cells:
        """Return every level of a column, or cells of equal probability."""
        variable = self.engine.schema.variables[d]
        if variable.levels is not None:
            return every_level(variable)
        ends = self._at(d, np.arange(1, _N_CELLS) / _N_CELLS)
        return cut_at(variable, ends)

    def _values(self, d: int) -> _Values:
        """Return all values of a column with their probabilities, or values drawn from its distribution."""
        variable = self.engine.schema.variables[d]
        if variable.levels is not None:
            probabilities = _level_probabilities(self.marginals[d])[0]
            if len(probabilities) <= self.n_rows:
                return _Values(_seen_codes(variable.bins, len(probabilities)), probabilities, False)
        n_strata = max(self.n_rows // 2, 2)
        within = self.generator.random((n_strata, 2))
        uniforms = ((np.arange(n_strata)[:, None] + within) / n_strata).ravel().clip(1e-9, 1 - 1e-9)
        if variable.levels is None:
            codes = self._at(d, uniforms)
        else:
            chosen = np.searchsorted(probabilities.cumsum(), uniforms).clip(max=len(probabilities) - 1)
            codes = _seen_codes(variable.bins, len(probabilities))[chosen]
        return _Values(codes, np.full(len(codes), 1 / len(codes)), True)

    def _at(self, d: int, shares: Floats) -> Floats:
        """Return the quantiles of a column as codes."""
        variable = self.engine.schema.variables[d]
        spread_out = self.engine.distribution(self._query(len(shares), [d]), d).as_numbers()
        codes: Floats = variable.codes_of_numbers(spread_out.quantile(shares)).astype(np.float64)
        return codes


class _Table:
    """The joint of two columns of cells, from values of the first and distributions of the second."""

    def __init__(self, cell: NDArray[np.int64], n_cells: int, values: _Values) -> None:
        self.cell, self.values = cell, values
        self._sorted_in = np.zeros((n_cells, len(cell)))
        self._sorted_in[cell, np.arange(len(cell))] = values.weights

    def information(self, probabilities: Floats) -> tuple[float, float]:
        """Return the mutual information in nats and its standard error, from P(cell | value), (n, B)."""
        ratios = log_ratios(self._sorted_in @ probabilities)
        # How much each value adds; to first order that is all by which the result depends on what was drawn.
        each = (probabilities * ratios[self.cell]).sum(axis=1)
        information = max(float(self.values.weights @ each), 0.0)
        if not self.values.are_drawn:
            return information, 0.0
        within_strata = each[0::2] - each[1::2]
        return information, float(np.sqrt((within_strata**2).sum()) / len(each))


def _seen_codes(bins: Any, n_levels: int) -> Floats:
    """Return a code that stands for each level, of wide ordinals for each bin."""
    codes = np.arange(n_levels) if bins is None else bins.starts[:-1]
    return np.asarray(codes, dtype=np.float64)


def _level_probabilities(distribution: ConditionalDistribution) -> Floats:
    """Return the probabilities of levels, of wide ordinals of bins, (n, L)."""
    if isinstance(distribution, BinnedDistribution):
        return distribution.bin_probabilities
    return distribution.probabilities


def _probabilities(distribution: ConditionalDistribution, cells: Cells) -> Floats:
    """Return the probability of each cell, (n, n_cells)."""
    if cells.edges is not None:
        return distribution.cell_probabilities(cells.edges)
    assert cells.of_level is not None
    levels = _level_probabilities(distribution)
    if cells.n_cells == levels.shape[1]:
        return levels
    sums: Floats = levels @ np.eye(cells.n_cells)[cells.of_level]
    return sums
