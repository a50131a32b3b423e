"""Any question of the joint: answers of any-order networks against brute force, on random models."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chainrule import inference
from chainrule.conditioners.any_order import observed_first
from chainrule.conditioners.observed_set import draw_observed_masks, unobserved_weights
from chainrule.orders import random_orders
from strategies import (
    ANY_ORDER,
    DISCRETE,
    Spec,
    all_rows,
    build,
    random_context,
    random_rows,
    repeated,
    specs,
)

SEEDS = st.integers(0, 2**31 - 1)


def random_question(spec, n, generator):
    """Return what is given and what is asked for in each row, and an order; the rest is neither."""
    group = torch.randint(3, (n, spec.n_variables), generator=generator)
    return group == 0, group == 1, random_orders(spec.n_variables, 1, generator)[0]


def joint(model, spec, rows, order):
    """Return p(x) of rows in an order, as the product of all its conditionals."""
    every = torch.ones_like(rows, dtype=torch.bool)
    context = repeated(random_context(spec, 1), len(rows))
    return inference.log_prob(model, rows, ~every, every, order, context).exp()


# ---------------------------------------------------------------- p(x_S | x_T)


@given(specs(DISCRETE, max_variables=5, networks=ANY_ORDER), SEEDS)
@settings(max_examples=100)
@torch.no_grad()
def test_answers_equal_brute_force_over_the_joint(spec, seed):
    model = build(spec)
    known, asked, order = random_question(spec, 1, torch.Generator().manual_seed(seed))
    rows = all_rows(spec)
    ranks = observed_first(order, known, asked)[0]
    own_order = torch.argsort(ranks)
    assert set(own_order[: int(known.sum())].tolist()) == set(known[0].nonzero().flatten().tolist())
    probabilities = joint(model, spec, rows, own_order)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-12)
    context = repeated(random_context(spec, 1), len(rows))
    answers = inference.log_prob(
        model, rows, known.expand(len(rows), -1), asked.expand(len(rows), -1), order, context
    )
    for row, answer in zip(rows, answers, strict=True):
        same_given = (rows == row)[:, known[0]].all(1)
        same_both = same_given & (rows == row)[:, asked[0]].all(1)
        expected = probabilities[same_both].sum() / probabilities[same_given].sum()
        torch.testing.assert_close(answer.exp(), expected, rtol=1e-9, atol=1e-12)


@given(specs(max_variables=5, networks=ANY_ORDER), SEEDS)
@settings(max_examples=60)
@torch.no_grad()
def test_rows_with_questions_of_their_own_get_the_answers_they_would_get_alone(spec, seed):
    model = build(spec)
    generator = torch.Generator().manual_seed(seed)
    known, asked, order = random_question(spec, 14, generator)
    # Some questions are put to several rows, some to one.
    question = torch.randint(6, (14,), generator=generator)
    known, asked = known[question], asked[question]
    rows, context = random_rows(spec, 14), random_context(spec, 14)
    together = inference.log_prob(model, rows, known, asked, order, context)
    for i in range(14):
        part = slice(i, i + 1)
        alone = inference.log_prob(
            model, rows[part], known[part], asked[part], order, None if context is None else context[part]
        )
        torch.testing.assert_close(together[part], alone, rtol=1e-9, atol=1e-10)


@given(specs(max_variables=5, networks=ANY_ORDER), SEEDS)
@settings(max_examples=40)
@torch.no_grad()
def test_what_is_neither_given_nor_asked_has_no_effect(spec, seed):
    model = build(spec)
    known, asked, order = random_question(spec, 6, torch.Generator().manual_seed(seed))
    rows, context = random_rows(spec, 6), random_context(spec, 6)
    holes = rows.masked_fill(~known & ~asked, math.nan)
    assert torch.equal(
        inference.log_prob(model, rows, known, asked, order, context),
        inference.log_prob(model, holes, known, asked, order, context),
    )


@given(specs(DISCRETE, max_variables=5, networks=ANY_ORDER), SEEDS)
@settings(max_examples=40)
@torch.no_grad()
def test_rows_with_holes_score_as_the_sum_over_what_is_missing(spec, seed):
    model = build(Spec(**{**vars(spec), "n_orderings": 1}))
    generator = torch.Generator().manual_seed(seed)
    rows = all_rows(spec)
    row = rows[torch.randint(len(rows), (1,), generator=generator)]
    missing = torch.rand(spec.n_variables, generator=generator) < 0.5
    order = model.conditioner.order(0)
    own_order = torch.argsort(observed_first(order, torch.zeros(1, len(order)) > 0, ~missing[None])[0])
    alike = ((rows == row) | missing).all(1)
    expected = joint(model, spec, rows, own_order)[alike].sum().log()
    score = model.log_prob(row.masked_fill(missing, math.nan), random_context(spec, 1))
    torch.testing.assert_close(score[0], expected, rtol=1e-9, atol=1e-10)


@given(specs(max_variables=5, networks=ANY_ORDER), SEEDS)
@settings(max_examples=60)
@torch.no_grad()
def test_outputs_from_the_given_ones_are_those_of_a_question_about_one_variable(spec, seed):
    model = build(spec)
    known, _, order = random_question(spec, 6, torch.Generator().manual_seed(seed))
    rows, context = random_rows(spec, 6), random_context(spec, 6)
    outputs = inference.conditional_params(model, rows, known, ~known, order, context)
    state = model.conditioner.init_state_from(rows, known, order, context)
    starts = model.conditionals.starts
    for d in range(spec.n_variables):
        asked = torch.zeros_like(known)
        asked[:, d] = True
        alone = model.conditioner.query_outputs(rows, known & ~asked, asked, order, context)
        columns = slice(starts[d], starts[d + 1])
        unknown = ~known[:, d]
        torch.testing.assert_close(outputs[unknown, columns], alone[unknown, columns], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(
            state.next_params(d)[unknown], alone[unknown, columns], rtol=1e-9, atol=1e-10
        )


# ---------------------------------------------------------------- completions


@given(specs(max_variables=5, networks=ANY_ORDER), SEEDS)
@settings(max_examples=60)
@torch.no_grad()
def test_completions_equal_draws_from_full_passes_under_shared_uniforms(spec, seed):
    model = build(spec)
    generator = torch.Generator().manual_seed(seed)
    known, _, order = random_question(spec, 9, generator)
    rows, context = random_rows(spec, 9), random_context(spec, 9)
    uniforms = torch.rand(9, spec.n_variables, model.conditionals.n_uniforms, generator=generator).double()
    drawn = inference.sample_conditional(
        model, rows.masked_fill(~known, math.nan), known, order, uniforms, context
    )
    assert torch.equal(drawn[known], rows[known])
    expected, starts = rows.masked_fill(~known, 0.0), model.conditionals.starts
    for d in order.tolist():
        outputs = model.conditioner.query_outputs(expected, known, ~known, order, context)
        value = model.conditionals.sample_variable(d, outputs[:, starts[d] : starts[d + 1]], uniforms[:, d])
        expected[:, d] = torch.where(known[:, d], expected[:, d], value)
    torch.testing.assert_close(drawn, expected, rtol=1e-7, atol=1e-9)


@given(specs(max_variables=5, activations=("relu", "tanh", "sigmoid", "gelu")), SEEDS, st.integers(0, 5))
@settings(max_examples=80)
@torch.no_grad()
def test_rows_that_share_what_is_given_are_drawn_as_they_would_be_alone(spec, seed, n_given):
    """In fixed orders, too, where the given variables lead; by the compiled sampler where there is one."""
    model = build(spec)
    generator = torch.Generator().manual_seed(seed)
    any_order = spec.network in ANY_ORDER
    order = random_orders(spec.n_variables, 1, generator)[0] if any_order else spec.n_orderings - 1
    leading = order if any_order else model.conditioner.order(order)
    rows, context = random_rows(spec, 37), random_context(spec, 37)
    known = torch.zeros(37, spec.n_variables, dtype=torch.bool)
    known[:, leading[:n_given]] = True
    uniforms = torch.rand(37, spec.n_variables, model.conditionals.n_uniforms, generator=generator).double()
    drawn = inference.sample_conditional(
        model, rows.masked_fill(~known, math.nan), known, order, uniforms, context
    )
    assert torch.equal(drawn[known], rows[known])
    expected, starts = rows.masked_fill(~known, 0.0), model.conditionals.starts
    for d in leading.tolist()[n_given:]:
        if any_order:
            outputs = model.conditioner.query_outputs(expected, known, ~known, order, context)
        else:
            outputs = model.conditioner(expected, order, context)
        expected[:, d] = model.conditionals.sample_variable(
            d, outputs[:, starts[d] : starts[d + 1]], uniforms[:, d]
        )
    torch.testing.assert_close(drawn, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("family", ANY_ORDER)
@torch.no_grad()
def test_completed_cells_follow_the_conditional_probabilities(family):
    spec = Spec(
        network=family, kinds=("binary", "categorical", "binary", "ordinal"), n_levels=(2, 3, 2, 3), seed=3
    )
    model = build(spec, scale=2.0)
    generator = torch.Generator().manual_seed(1)
    order = torch.tensor([3, 1, 0, 2])
    n = 20_000
    known = torch.tensor([False, True, False, False]).expand(n, -1)
    uniforms = torch.rand(n, 4, model.conditionals.n_uniforms, generator=generator).double()
    drawn = inference.sample_conditional(model, torch.full((n, 4), 2.0).double(), known, order, uniforms)
    rows = all_rows(spec)
    rows = rows[rows[:, 1] == 2]
    expected = inference.log_prob(model, rows, known[: len(rows)], ~known[: len(rows)], order).exp()
    counts = torch.stack([(drawn == row).all(1).sum() for row in rows])
    assert int(counts.sum()) == n
    assert stats.chisquare(counts.numpy(), (n * expected).numpy()).pvalue > 1e-4


# ---------------------------------------------------------------- what a fit maximises


def share_of_sizes(n_present: int, size: int) -> float:
    """Return how often so many are observed: all variables but one, each with a Beta(1, 1/2) share."""
    return float(stats.betabinom(n_present - 1, 1, 0.5).pmf(size))


@pytest.mark.parametrize("n_missing", [0, 1])
@torch.no_grad()
def test_the_orderless_loss_averaged_over_orders_and_cuts_is_the_mean_of_all_orders(n_missing):
    """Every order and cut as often as it is drawn: the weights make the two equal, not only close."""
    spec = Spec(
        network="orderless",
        kinds=("binary", "categorical", "continuous", "ordinal"),
        n_levels=(2, 3, None, 4),
    )
    model = build(spec)
    x = random_rows(spec, 5)
    seen = torch.ones_like(x, dtype=torch.bool)
    seen[:, :n_missing] = False
    there = list(range(n_missing, spec.n_variables))
    orders = [torch.tensor([*order, *range(n_missing)]) for order in itertools.permutations(there)]
    share = [share_of_sizes(len(there), size) for size in range(len(there))]
    estimates, exact = [], []
    for order in orders:
        exact.append(inference.log_prob(model, x, ~seen & seen, seen, order))
        for cut in range(len(there)):
            known = torch.zeros_like(seen)
            known[:, order[:cut]] = True
            outputs = model.conditioner.outputs_from(x, known)
            weights = unobserved_weights(known, seen, x.dtype)
            terms = (model.conditionals.log_prob(x, outputs) * weights).sum(1)
            estimates.append(share[cut] * terms)
    torch.testing.assert_close(
        torch.stack(estimates).sum(0) / len(orders), torch.stack(exact).mean(0), rtol=1e-12, atol=1e-12
    )


def test_sets_of_a_size_are_drawn_alike_and_sizes_as_documented():
    seen = torch.ones(30_000, 5, dtype=torch.bool)
    seen[:, 2] = False
    known = draw_observed_masks(seen, torch.Generator().manual_seed(0))
    assert not known[:, 2].any()
    cells = (known.long() * 2 ** torch.arange(5)).sum(1)
    sets = [s for size in range(4) for s in itertools.combinations((0, 1, 3, 4), size)]
    counts = [int((cells == sum(2**d for d in s)).sum()) for s in sets]
    assert sum(counts) == len(seen)
    share = np.array([share_of_sizes(4, len(s)) / math.comb(4, len(s)) for s in sets])
    assert share.sum() == pytest.approx(1)
    assert stats.chisquare(counts, len(seen) * share).pvalue > 1e-4


def test_a_row_of_which_nothing_is_there_counts_nothing():
    seen = torch.zeros(3, 4, dtype=torch.bool)
    known = draw_observed_masks(seen, torch.Generator().manual_seed(0))
    assert not known.any()
    assert not unobserved_weights(known, seen, torch.float64).any()


@pytest.mark.parametrize("n_missing", [0, 1])
def test_a_training_step_of_column_networks_learns_an_order_of_each_row_exactly(n_missing):
    spec = Spec("columns", ("binary", "categorical", "continuous"), (2, 3, None), hidden=(4, 4))
    model = build(spec)
    x = random_rows(spec, 4)
    x[::2, :n_missing] = math.nan
    model.conditioner.generator = torch.Generator().manual_seed(5)
    estimate = model.training_log_prob(x)
    keys = torch.rand(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float32)
    for row, key, value in zip(x, keys, estimate, strict=True):
        one = row[None]
        exact = inference.log_prob(model, one, one.isnan() & False, ~one.isnan(), key.argsort())
        torch.testing.assert_close(value[None], exact, rtol=1e-12, atol=1e-12)
    # Every weight learns.
    estimate.sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.conditioner.parameters())
