"""Synthetic rows: the files they are written to, and the measures that hold them against real ones."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from benchmarks.rare_cell import draws_of_a_rare_cell
from benchmarks.synthetic import compare_synthesizers, synthetic
from scipy import stats
from sklearn.metrics import roc_auc_score

from chainrule import Independent, load
from chainrule.batches import to_frame
from chainrule.cli import run
from chainrule.cli.output import write_rows
from chainrule.datasets import Dataset, load_rows
from chainrule.errors import DataError
from chainrule.experiments.compare import compare
from chainrule.experiments.synthetic import is_table
from chainrule.metrics.associations import (
    associations,
    correlation_ratio,
    cramers_v,
    frequent_levels,
)
from chainrule.metrics.classification import area_under_curve, choose_target, tstr_auc
from chainrule.metrics.fidelity import FidelityEvaluator
from chainrule.metrics.marginals import kolmogorov_smirnov, marginal_distances, total_variation, wasserstein
from chainrule.metrics.neighbours import TrainingRows
from chainrule.report.comparison_page import render_report
from chainrule.report.style import drawing
from chainrule.report.synthetic_plots import marginal_panels
from chainrule.schema import Binary, Categorical, Continuous, Ordinal, Schema

SUFFIXES = ("csv", "tsv", "parquet")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def table():
    """Columns of every dtype that a text file can tell apart, not in alphabetical order, with holes."""
    rng = np.random.default_rng(0)
    n = 240
    return pl.DataFrame(
        {
            "wage, €": rng.normal(2000, 300, size=n),
            "town": rng.choice(["Köln", "Aachen", 'the "old" one', "a, b", "tab\there"], size=n),
            "age": rng.integers(17, 90, size=n),
            "left": rng.random(n) < 0.3,
            "children": rng.integers(0, 4, size=n),
            "code": rng.choice(["A1", "B2", "C1"], size=n),
            "born": np.datetime64("1950-01-01") + rng.integers(0, 20_000, size=n),
            "seen": np.datetime64("2020-01-01T00:00:00", "us") + rng.integers(0, 10**13, size=n),
        }
    ).with_columns(
        pl.when(pl.Series(rng.random(n) < 0.2)).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("wage, €", "town", "children")
    )


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    """The folder of a model of the table; it was fitted to a parquet file."""
    folder = tmp_path_factory.mktemp("synthetic")
    table.write_parquet(folder / "table.parquet")
    arguments = ["--model", "orderless-nade", "--max-epochs", "1", "--out", str(folder / "model")]
    assert run(["fit", str(folder / "table.parquet"), *arguments]) == 0
    return folder / "model"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_samples_are_read_again_as_they_were_drawn(saved, table, tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    assert run(["sample", str(saved), "-n", "60", "--seed", "3", "--out", str(path)]) == 0
    rows = load_rows(path)
    assert rows.schema == table.schema
    assert list(rows.columns) == list(table.columns)
    expected = to_frame(load(saved).sample(60, random_state=3))
    assert rows.equals(expected)
    assert rows.null_count().sum_horizontal().item() == 0
    for name in ("town", "code", "children", "left"):
        assert set(rows[name]) <= set(table[name].drop_nulls())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_scores_its_own_samples(saved, tmp_path, suffix, capsys):
    path = tmp_path / f"rows.{suffix}"
    assert run(["sample", str(saved), "-n", "20", "--out", str(path)]) == 0
    assert run(["score", str(saved), str(path), "--split", "all"]) == 0
    assert "rows scored: 20" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_values_and_text_come_back(tmp_path, suffix):
    rows = pl.DataFrame(
        {
            "number": [1.5, None, -2.0],
            "whole": [1, None, 3],
            "words": ["", "NA", None],
            "flag": [True, None, False],
        }
    )
    path = tmp_path / f"rows.{suffix}"
    write_rows(rows, path)
    assert load_rows(path, missing=()).equals(rows)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([["x", 1, 0.5], [3, 2, None]], dtype=object),
        pd.DataFrame({"x1": ["x", 3], "x2": [1, 2], "x3": [0.5, None]}, dtype=object),
    ],
    ids=["array", "pandas"],
)
def test_objects_become_columns_of_their_types(rows):
    expected = pl.DataFrame({"x1": ["x", "3"], "x2": [1, 2], "x3": [0.5, None]})
    assert to_frame(rows).equals(expected)
    assert to_frame(rows).schema == expected.schema


# ---------------------------------------------------------------- columns


def test_equal_distributions_have_no_distance(rng):
    values = rng.normal(size=500)
    levels = rng.integers(0, 4, size=500).astype(float)
    assert kolmogorov_smirnov(values, rng.permutation(values)) == 0
    assert wasserstein(values, rng.permutation(values)) == 0
    assert total_variation(levels, rng.permutation(levels)) == 0


def test_distributions_without_common_values_are_one_apart():
    low, high = np.array([0.0, 1.0]), np.array([2.0, 3.0, 3.0])
    assert kolmogorov_smirnov(low, high) == total_variation(low, high) == 1


def test_distances_are_those_of_the_textbook(rng):
    real, drawn = rng.normal(size=300), rng.normal(0.4, 1.3, size=200)
    assert kolmogorov_smirnov(real, drawn) == pytest.approx(stats.ks_2samp(real, drawn).statistic)
    shift = wasserstein(real, real + 0.7 * real.std())
    assert shift == pytest.approx(0.7)


def test_marginals_leave_missing_cells_out():
    variables = (Categorical("colour", levels=("a", "b", "c")), Continuous("height"))
    real = np.array([[0, 1.0], [np.nan, 2.0], [1, np.nan]])
    drawn = np.array([[1, 1.0], [0, 2.0]])
    colour, height = marginal_distances(variables, real, drawn)
    assert (colour.column, colour.measure, colour.distance) == ("colour", "total variation", 0)
    assert (height.column, height.measure, height.distance) == ("height", "Kolmogorov-Smirnov", 0)
    assert colour.wasserstein is None and height.wasserstein == 0
    empty = marginal_distances(variables, np.full((2, 2), np.nan), drawn)
    assert all(np.isnan(marginal.distance) for marginal in empty)


# ---------------------------------------------------------------- pairs of columns

FOUR_KINDS = (
    Binary("flag", levels=("no", "yes")),
    Categorical("colour", levels=tuple("abcdef")),
    Ordinal("count", low=0, high=9),
    Continuous("height"),
)


def associations_of(codes):
    return associations(FOUR_KINDS, codes, frequent_levels(FOUR_KINDS, codes))


def test_columns_that_determine_each_other_are_fully_associated(rng):
    flag = rng.integers(0, 2, size=400)
    codes = np.stack([flag, 4 * flag, 3 * flag + 1, np.exp(30.0 * flag)], axis=1).astype(float)
    np.testing.assert_allclose(associations_of(codes), np.ones((4, 4)))
    falling = codes.copy()
    falling[:, 3] *= -1
    assert associations_of(falling)[2, 3] == pytest.approx(-1)


def test_independent_columns_are_not_associated(rng):
    def matrix(n):
        sizes = (2, 6, 10)
        codes = [rng.integers(0, size, size=n) for size in sizes]
        return associations_of(np.stack([*codes, rng.normal(size=n)], axis=1).astype(float))

    pairs = np.triu_indices(4, 1)
    # Corrected for chance: uncorrected, the pair of 2 and 6 levels would show 0.2 of 100 rows.
    assert np.mean([np.abs(matrix(100)[0, 1]) for _ in range(30)]) < 0.1
    assert np.abs(matrix(20_000)[pairs]).max() < 0.03


def test_associations_use_the_rows_that_have_both(rng):
    codes = np.stack([rng.integers(0, k, size=300) for k in (2, 6, 10)] + [rng.normal(size=300)], axis=1)
    codes[:, 1] = np.where(rng.random(300) < 0.8, 3 * codes[:, 0], codes[:, 1])
    holes = codes.copy()
    holes[:100, 1] = np.nan
    expected = cramers_v(codes[100:, 0].astype(int), codes[100:, 1].astype(int))
    found = associations_of(holes)
    assert (
        found[0, 1] == found[1, 0] == pytest.approx(expected) != pytest.approx(associations_of(codes)[0, 1])
    )


def test_constant_and_empty_columns_are_associated_with_nothing():
    codes = np.stack([np.arange(20) % 2, np.zeros(20), np.full(20, np.nan), np.ones(20)], axis=1)
    np.testing.assert_array_equal(associations_of(codes), np.eye(4))


def test_a_column_of_names_goes_together_with_nothing(rng):
    n = 200
    variables = (Categorical("name", levels=tuple(range(n))), Continuous("height"))
    codes = np.stack([np.arange(n), rng.normal(size=n)], axis=1)
    assert associations(variables, codes, frequent_levels(variables, codes))[0, 1] < 0.3


def test_correlation_ratio_is_that_of_analysis_of_variance(rng):
    levels, noise = rng.integers(0, 3, size=3000), rng.normal(size=3000)
    found = correlation_ratio(levels, levels + noise)
    assert found == pytest.approx(np.sqrt((2 / 3) / (2 / 3 + 1)), abs=0.03)


# ---------------------------------------------------------------- exact matches and neighbours


def test_copies_are_counted_exactly(rng):
    train = np.stack([rng.integers(0, 2, size=50), rng.normal(size=50)], axis=1).astype(np.float32)
    train[:5, 0] = np.nan
    fresh = train + np.float32(1e-3)
    rows = np.concatenate([train[[3, 10, 10]], fresh[10:20]])
    found = TrainingRows(FOUR_KINDS[::3], train)
    np.testing.assert_array_equal(found.are_exact_matches(rows), [True] * 3 + [False] * 10)
    complete = np.nan_to_num(train[:1], nan=1.0)
    assert not found.are_exact_matches(complete).any()


def test_zero_has_one_sign():
    train = np.array([[0.0], [1.0]], dtype=np.float32)
    assert TrainingRows(FOUR_KINDS[3:], train).are_exact_matches(np.array([[-0.0]], dtype=np.float32)).all()


def test_distances_are_those_of_gower(rng):
    """Brute force, with numbers as shares of the training rows."""
    codes = np.stack(
        [rng.integers(0, k, size=40) for k in (2, 6, 10)] + [rng.normal(size=40).round(1)], axis=1
    ).astype(np.float64)
    codes[rng.random(codes.shape) < 0.2] = np.nan
    train, rows = codes[:30], codes[30:]
    found = TrainingRows(FOUR_KINDS, train).nearest(rows)

    def place(d, value):
        known = train[:, d][~np.isnan(train[:, d])]
        return ((known < value).sum() + (known <= value).sum()) / (2 * len(known))

    def apart(d, one, other):
        if np.isnan(one) or np.isnan(other):
            return float(not (np.isnan(one) and np.isnan(other)))
        return float(one != other) if d < 2 else abs(place(d, one) - place(d, other))

    def distance(a, b):
        return np.mean([apart(d, a[d], b[d]) for d in range(4)])

    np.testing.assert_allclose(
        found, [min(distance(row, other) for other in train) for row in rows], atol=1e-6
    )
    np.testing.assert_allclose(TrainingRows(FOUR_KINDS, train).nearest(train), 0, atol=1e-7)


def test_a_training_row_of_which_little_is_known_is_near_to_few():
    train = np.array([[0.0, 1.0], [np.nan, np.nan]])
    found = TrainingRows(FOUR_KINDS[::3], train).nearest(np.array([[1.0, 1.0], [np.nan, np.nan]]))
    np.testing.assert_allclose(found, [0.5, 0.0])


# ---------------------------------------------------------------- classifiers


def test_areas_are_those_of_scikit_learn(rng):
    truth = rng.integers(0, 3, size=300)
    scores = rng.dirichlet(np.ones(3), size=300) + 0.3 * np.eye(3)[truth]
    scores = (scores / scores.sum(axis=1, keepdims=True)).round(2)
    scores[:, 0] = 1 - scores[:, 1] - scores[:, 2]
    expected = roc_auc_score(truth, scores, multi_class="ovr")
    assert area_under_curve(truth, scores).value == pytest.approx(expected)
    two = truth[truth < 2]
    expected = roc_auc_score(two, scores[truth < 2, 1])
    assert area_under_curve(two, scores[truth < 2, :2]).value == pytest.approx(expected)


def test_standard_errors_are_those_of_the_bootstrap(rng):
    truth = rng.integers(0, 2, size=200)
    scores = truth + rng.normal(size=(2, 200)) * 1.3
    both = [np.stack([-score, score], axis=1) for score in scores]
    first, second = (area_under_curve(truth, score) for score in both)
    drawn = []
    for _ in range(400):
        rows = rng.integers(200, size=200)
        drawn.append([area_under_curve(truth[rows], score[rows]).value for score in both])
    again = np.array(drawn)
    assert first.standard_error == pytest.approx(again[:, 0].std(), rel=0.15)
    gap = first.difference(second)
    assert gap.mean == first.value - second.value
    assert gap.standard_error == pytest.approx((again[:, 0] - again[:, 1]).std(), rel=0.15)


def test_classes_that_are_absent_are_left_out(rng):
    truth = np.array([0, 0, 2, 2])
    scores = np.array([[0.9, 0.0, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.2, 0.1, 0.7]])
    assert area_under_curve(truth, scores).value == 1
    assert np.isnan(area_under_curve(np.zeros(4, dtype=int), scores).value)


def test_a_classifier_learns_from_rows_that_hold_the_rule(rng):
    """The flag is whether height is above zero, turned round in one case of ten: the best area is 0.9."""

    def rows(n):
        height = rng.normal(size=n)
        flag = (height > 0) ^ (rng.random(n) < 0.1)
        return np.stack([flag, rng.integers(0, 6, size=n), rng.integers(0, 10, size=n), height], axis=1)

    train, test = rows(600), rows(4000)
    test[::10, 3] = np.nan
    learnt = tstr_auc(train, test[test[:, 3] == test[:, 3]], FOUR_KINDS, target=0)
    assert 0.85 < learnt.value < 0.92
    shuffled = train.copy()
    shuffled[:, 0] = rng.permutation(shuffled[:, 0])
    assert tstr_auc(shuffled, test, FOUR_KINDS, target=0).value == pytest.approx(0.5, abs=0.06)
    one_class = train[train[:, 0] == 1]
    assert tstr_auc(one_class, test, FOUR_KINDS, target=0).value == 0.5
    train[:3, 0] = np.nan
    tstr_auc(train, test, FOUR_KINDS, target=0)


@pytest.mark.parametrize(
    ("wanted", "change"),
    [
        (1, lambda codes: None),
        (0, lambda codes: codes.__setitem__((slice(None), 1), 3)),
        (0, lambda codes: codes.__setitem__((slice(4, None), 1), np.nan)),
        (None, lambda codes: codes.__setitem__((slice(None), slice(0, 2)), 0)),
    ],
    ids=["last with levels", "constant", "hardly there", "none"],
)
def test_the_target_is_the_last_column_of_few_levels(rng, wanted, change):
    codes = np.stack([rng.integers(0, k, size=200) for k in (2, 6, 10, 10)], axis=1).astype(float)
    change(codes)
    assert choose_target(FOUR_KINDS, codes, codes) == wanted


# ---------------------------------------------------------------- all together


@pytest.fixture(scope="module")
def split():
    """Training and test rows in which colour, height and flag depend on each other."""
    rng = np.random.default_rng(1)
    n = 900
    colour = rng.integers(0, 3, size=n)
    height = 3.0 * colour + rng.normal(size=n)
    flag = height + rng.normal(size=n) > 3
    frame = pl.DataFrame(
        {
            "height": height,
            "colour": np.array(["red", "green", "blue"])[colour],
            "age": rng.integers(18, 60, size=n),
            "flag": flag,
        }
    )
    return frame[:600], frame[600:]


@pytest.fixture(scope="module")
def real(split):
    return FidelityEvaluator(Schema.infer(split[0]), *split)


def shuffled_columns(frame):
    return frame.select(
        pl.col(name).sample(fraction=1, shuffle=True, seed=seed) for seed, name in enumerate(frame.columns)
    )


def test_training_rows_as_drawn_rows(real, split):
    found = real.measure(split[0])
    assert real.target_name == "flag"
    assert (found.n_rows, found.exact_matches, found.dcr) == (600, 1, 0)
    assert found.mean_marginal_distance < 0.08 and found.association_difference < 0.08
    assert found.tstr_auc.value == pytest.approx(real.real.tstr_auc.value)


def test_shuffled_columns_keep_marginals_and_nothing_else(real, split):
    found = real.measure(shuffled_columns(split[0]))
    assert found.mean_marginal_distance == pytest.approx(real.real.mean_marginal_distance)
    assert found.association_difference > 3 * real.real.association_difference
    assert found.dcr > 2 * real.real.dcr
    assert found.tstr_auc.value < 0.65 < 0.85 < real.real.tstr_auc.value
    assert found.tstr_auc.difference(real.real.tstr_auc).significant


def test_real_rows_are_the_yardstick(real, split):
    train, test = split
    twice = FidelityEvaluator(Schema.infer(train), train, pl.concat([test[:30], train[:10]]), n_rows=200)
    assert twice.real.exact_matches == 10 / 40
    assert twice.real.n_rows == 200
    assert real.real.exact_matches == 0


def test_complete_rows_get_the_holes_of_training_rows(split):
    train, test = split
    holes = train.with_columns(
        colour=pl.when(pl.int_range(pl.len()) % 2 == 0).then(None).otherwise(pl.col("colour"))
    )
    real = FidelityEvaluator(Schema.infer(holes, missing=True), holes, test)
    codes = real.measure(train).codes
    assert np.isnan(codes[:, 1]).mean() == pytest.approx(0.5, abs=0.07)
    assert not np.isnan(codes[:, [0, 2, 3]]).any()
    own = real.measure(holes).codes
    np.testing.assert_array_equal(np.isnan(own[:, 1]), np.arange(600) % 2 == 0)


def test_a_target_that_cannot_be_predicted_is_refused(split):
    schema = Schema.infer(split[0])
    with pytest.raises(DataError, match="'height' is continuous"):
        FidelityEvaluator(schema, *split, target="height")
    with pytest.raises(DataError, match="no column 'weight'"):
        FidelityEvaluator(schema, *split, target="weight")
    assert FidelityEvaluator(schema, *split, target="colour").target == 1
    assert FidelityEvaluator(schema, *split, target=None).measure(split[0]).tstr_auc is None


def test_figures_are_json(real, split):
    figures = json.loads(json.dumps(real.measure(split[0]).to_dict(), allow_nan=False))
    assert figures["copies"] == 1
    assert figures["margins"].keys() == set(split[0].columns)
    assert 0 < figures["auc_standard_error"] < 0.1


# ---------------------------------------------------------------- comparison and report


@pytest.fixture(scope="module")
def compared(split):
    train, test = split
    return compare(
        Dataset("people", train[:500], train[500:], test), models=["independent", "made"], max_epochs=2
    )


def test_a_comparison_of_a_table_measures_drawn_rows(compared):
    found = compared.fidelity
    assert found.target == "flag"
    assert list(found.models) == [result.model for result in compared.results]
    assert all(fidelity.n_rows == found.n_rows == 500 for fidelity in found.models.values())
    independent = found.models[compared.results[0].model]
    assert independent.association_difference > 3 * found.real.association_difference
    figures = json.loads(json.dumps(compared.to_dict(), allow_nan=False))["synthetic"]
    assert figures["models"].keys() == set(found.models)


def test_images_and_plain_matrices_are_no_tables(rng):
    bits = rng.integers(0, 2, size=(40, 6)).astype(np.uint8)
    mixed = np.array([["a", 1.5], ["b", 2.5], ["a", 3.5]] * 20, dtype=object)
    for rows, shape, expected in ((bits, None, False), (mixed, None, True), (mixed, (1, 2), False)):
        dataset = Dataset("rows", rows, rows, rows, image_shape=shape)
        assert is_table(dataset, Schema.infer(rows)) == expected
    frame = pl.DataFrame(bits.astype(float), schema=list("abcdef"), orient="row")
    assert is_table(Dataset("rows", frame, frame, frame), Schema.infer(frame))


def test_the_report_holds_the_section(compared):
    page = render_report(compared)
    assert "Drawn rows in place of real ones" in page
    assert "A classifier of flag" in page
    assert "columns one by one" in page and "pairs of columns" in page
    assert "missing cells" not in page.split('id="synthetic"')[1].split("</section>")[0]


def test_panels_of_dates_show_dates():
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "day": np.datetime64("1990-01-01") + rng.integers(0, 3000, size=100),
            "time": np.datetime64("2021-03-01T00:00:00", "us") + rng.integers(0, 10**14, size=100),
        }
    )
    schema = Schema.infer(rows)
    real = FidelityEvaluator(schema, rows, rows)
    with drawing():
        picture = marginal_panels(schema, real.test, real.measure(rows), "model", "#0072B2")
    drawn = base64.b64decode(picture.source.split(",")[1]).decode()
    assert ">1992<" in drawn
    assert ">2023<" in drawn


def test_the_report_without_a_target(compared):
    found = compared.fidelity
    models = {name: replace(fidelity, tstr_auc=None) for name, fidelity in found.models.items()}
    without = replace(found, target=None, real=replace(found.real, tstr_auc=None), models=models)
    page = render_report(replace(compared, fidelity=without))
    assert "No column has two to ten levels" in page
    assert "A classifier of" not in page
    assert 'id="synthetic"' not in render_report(replace(compared, fidelity=None))


# ---------------------------------------------------------------- benchmark


def test_the_benchmark_is_skipped_without_its_data(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    (row,) = synthetic()
    assert "CHAINRULE_DATA names no folder with tables/adult" in row.line()


def test_the_benchmark_measures_real_rows_first_and_says_where_sdv_is_absent(split, monkeypatch):
    monkeypatch.setitem(sys.modules, "sdv", None)
    dataset = Dataset("people", split[0][:500], split[0][500:], split[1])
    real, ours, skipped = compare_synthesizers(dataset, {"independent columns": Independent()})
    assert (real.method, real.behind_real, real.n_rows) == ("real rows", 0, 500)
    assert ours.auc < 0.65 < real.auc
    assert ours.behind_real == pytest.approx(ours.auc - real.auc)
    assert "not installed" in skipped.line()


# ---------------------------------------------------------------- draws of a rare cell


class _Drawer:
    """Draws a class that depends on the town, or forgets to."""

    def __init__(self, schema, rng, forgets):
        self.schema_, self.rng, self.forgets = schema, rng, forgets

    def sample(self, n, given, random_state):
        return _towns(self.rng, n, "Köln" if self.forgets else given["town"])


def _towns(rng, n, town):
    share = {"Köln": 0.2, "Aachen": 0.7}[town]
    return pl.DataFrame({"town": [town] * n, "class": rng.choice(["a", "b"], size=n, p=[share, 1 - share])})


@pytest.mark.parametrize("forgets", [False, True])
def test_draws_of_a_rare_cell_are_held_against_its_real_rows(rng, forgets):
    rows = pl.concat([_towns(rng, 2000, "Köln"), _towns(rng, 60, "Aachen")])
    dataset = Dataset("towns", rows[:1000], rows[1000:2000], rows[2000:])
    drawer = _Drawer(Schema.infer(rows), rng, forgets)
    (found,) = draws_of_a_rare_cell("drawer", drawer, dataset, {"town": "Aachen"})
    assert (found.column, found.n_real) == ("class", 60)
    assert found.real_share == pytest.approx(0.3 if found.level == "b" else 0.7, abs=0.2)
    assert (found.p_value < 1e-6) if forgets else (found.p_value > 0.001)
