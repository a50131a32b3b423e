"""The study mixture-or-chain: what its quick version claims, its measures, its Atari frames."""

from __future__ import annotations

import builtins
import math
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule import GMM
from chainrule.cli import run
from chainrule.datasets import load_dataset
from chainrule.errors import MissingPackageError, ParameterError
from chainrule.experiments.study import run_study
from chainrule_studies.mixture_or_chain import run as mixture_or_chain
from chainrule_studies.mixture_or_chain.report import outcome
from chainrule_studies.mixture_or_chain.run import CHAINS, MIXTURES

FILE = Path(os.environ.get("CHAINRULE_DATA", ""), "binarized_mnist", "binarized_mnist_train.amat")


def rows(name, **settings):
    """Return binarized MNIST where it lies ready, digits in its place elsewhere; others as they are."""
    if name != "binarized-mnist" or FILE.is_file():
        return load_dataset(name, **settings)
    return replace(load_dataset("digits"), name=name)


def digits_or_path(name, **settings):
    return load_dataset("digits" if name == "binarized-mnist" else name, **settings)


@pytest.fixture
def without_emulator(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **words):
        if name.split(".")[0] == "ale_py":
            raise ModuleNotFoundError("No module named 'ale_py'", name="ale_py")
        return real(name, *rest, **words)

    monkeypatch.setattr(builtins, "__import__", refuse)


# ---------------------------------------------------------------- the quick version


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "images"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture_or_chain, "load_dataset", rows)
        result = run_study("mixture-or-chain", folder, quick=True)
    return folder, result.results


def differences(result):
    return {(d["chain"], d["mixture"]): d for d in result["differences"]}


def test_chains_give_held_out_images_more_probability_than_mixtures(done):
    _, results = done
    for result in results["sets"].values():
        pairs = differences(result)
        assert len(pairs) == len(CHAINS) * len(MIXTURES)
        for (chain, mixture), pair in pairs.items():
            mean, error = pair["nats"]
            # Eight episodes tell little; digits, in the place of MNIST, are few.
            sure = result["n_test_episodes"] is None or (chain, mixture) != ("NADE", "mixture of Bernoullis")
            if result["n_variables"] > 64:
                assert mean > (2 * error if sure else 0), (result["title"], pair)


@pytest.mark.skipif(not FILE.is_file(), reason="needs binarized MNIST in CHAINRULE_DATA")
def test_samples_of_chains_cover_more_of_mnist_and_lie_less_in_its_middle(done):
    _, results = done
    mnist = results["sets"]["mnist"]
    for pair in differences(mnist).values():
        mean, error = pair["recall"]
        assert mean > 0.15 and mean > 4 * error
    # Prototypes and noise: what a mixture of Bernoullis draws is nearer to test images than digits are.
    ideal = mnist["training_images"]["precision"][0]
    assert mnist["models"]["mixture of Bernoullis"]["precision"][0] > ideal
    assert mnist["training_images"]["recall"][0] > 0.8


def test_faces_are_left_out_and_the_report_says_so(done):
    folder, results = done
    assert "faces" not in results["sets"]
    assert any("--data" in line for line in results["left_out"])
    assert "Anime faces are left out" in (folder / "report.html").read_text()


def test_numbers_are_on_one_scale(done):
    _, results = done
    for result in results["sets"].values():
        for name, model in result["models"].items():
            nats = model["test_log_likelihood"]
            assert model["bits_per_dim"] == pytest.approx(-nats / result["n_variables"] / math.log(2))
            assert model["lower_bound"] == (name == "GMM")
        for (chain, mixture), pair in differences(result).items():
            models = result["models"]
            between = models[chain]["test_log_likelihood"] - models[mixture]["test_log_likelihood"]
            assert pair["nats"][0] == pytest.approx(between)


def test_no_sample_is_a_copy_of_a_training_digit(done):
    _, results = done
    result = results["sets"]["mnist"]
    for model in result["models"].values():
        assert model["nearest_training_distance"] > 0.8 * result["held_out_distance"]
        assert model["copies"] == 0 or result["n_variables"] == 64


def test_the_verdict_follows_from_the_numbers(done):
    folder, results = done
    claims = results["verdict"][: len(results["sets"])]
    for claim, result in zip(claims, results["sets"].values(), strict=True):
        assert claim.startswith(result["title"])
        assert ("richer samples" in claim) == ("holds" in {outcome(result, chain) for chain in CHAINS})
    page = (folder / "report.html").read_text()
    assert all(sentence.split(":")[0] in page for sentence in results["verdict"])
    assert page.count("data:image/png") == sum(1 + 2 * len(r["models"]) for r in results["sets"].values())


@pytest.mark.parametrize(
    ("recall", "precision", "expected"),
    [
        ((0.3, 0.1), (0.0, 0.1), "holds"),
        ((0.3, 0.1), (-0.3, 0.1), "open"),
        ((0.1, 0.1), (-0.3, 0.1), "fails"),
        ((0.1, 0.1), (0.1, 0.1), "open"),
    ],
)
def test_a_claim_holds_fails_or_is_open(recall, precision, expected):
    ahead = {"chain": "MADE", "mixture": "GMM", "recall": [0.5, 0.1], "precision": [0.5, 0.1]}
    pair = {**ahead, "recall": list(recall), "precision": list(precision)}
    other = {**ahead, "chain": "NADE"}
    assert outcome({"differences": [ahead, pair, other]}, "MADE") == expected
    assert outcome({"differences": [ahead, pair, other]}, "NADE") == "holds"


# ---------------------------------------------------------------- what may be missing


def test_missing_emulator_is_one_line(without_emulator, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(mixture_or_chain, "load_dataset", rows)
    assert run(["experiment", "mixture-or-chain", "--out", str(tmp_path / "run")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and "pip install 'chainrule[atari]'" in last
    assert not (tmp_path / "run" / "steps").exists()


def test_missing_faces_are_one_line(tmp_path, capsys):
    arguments = ["--data", str(tmp_path / "faces"), "--out", str(tmp_path / "run")]
    assert run(["experiment", "mixture-or-chain", "--quick", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "faces" in line and "--data" in line
    assert not (tmp_path / "run").exists()


def test_quick_does_without_the_emulator_and_takes_faces(without_emulator, monkeypatch, tmp_path):
    """Pictures of one bright square: anything that learns finds it, and the study says what it left out."""
    draw = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    for number in range(150):
        image = draw.integers(0, 40, (20, 20), dtype=np.uint8)
        top, left = draw.integers(0, 12, 2)
        image[top : top + 8, left : left + 8] += 180
        Image.fromarray(image).save(tmp_path / "faces" / f"{number:03d}.png")
    monkeypatch.setattr(mixture_or_chain, "load_dataset", digits_or_path)
    monkeypatch.setattr(mixture_or_chain, "_QUICK_FACE_SIZE", (8, 8, 3))
    options = {"data": str(tmp_path / "faces")}
    results = run_study("mixture-or-chain", tmp_path / "run", quick=True, options=options).results
    assert [line.split()[0] for line in results["left_out"]] == ["Atari"]
    assert results["sets"].keys() == {"mnist", "faces"}
    measured = results["sets"]["faces"]
    assert measured["n_train"] == 120 and measured["n_variables"] == 8 * 8 * 3
    assert measured["models"].keys() == {"MADE", "NADE", "PixelCNN", "GMM"}
    for model in measured["models"].values():
        assert model["bits_per_dim"] < 8, "worse than no model at all"


# ---------------------------------------------------------------- Atari frames


def test_atari_frames_are_split_by_episode_and_never_repeat():
    pytest.importorskip("ale_py")
    from chainrule.datasets.atari import AtariFrames

    frames = AtariFrames(2, 1, 2, every=16, shrink=10, most=60)
    first, again, other = frames.load(3), frames.load(3), frames.load(4)
    assert first.image_shape == (21, 16) and first.train.shape == (60, 336)
    together = np.concatenate([first.train, first.valid, first.test])
    assert len(np.unique(together, axis=0)) == len(together)
    assert set(np.unique(together)) == {0, 1}
    assert set(first.test_episode) == {0, 1} and len(first.test_episode) == len(first.test)
    assert all(np.array_equal(getattr(first, part), getattr(again, part)) for part in ("train", "test"))
    assert not np.array_equal(first.train, other.train)


def test_atari_frames_shrink_by_a_divisor():
    from chainrule.datasets.atari import AtariFrames

    with pytest.raises(ValueError, match="divide 210 and 160"):
        AtariFrames(1, 1, 1, shrink=4)


def test_atari_frames_say_what_is_missing(without_emulator):
    from chainrule.datasets.atari import AtariFrames

    with pytest.raises(MissingPackageError, match="ale-py"):
        AtariFrames(1, 1, 1).load(0)


def test_made_fits_whole_frames_in_bounded_memory():
    """A process of its own, as the peak is that of a whole process."""
    pytest.importorskip("resource")
    code = """
        import resource, warnings
        import numpy as np
        from chainrule import MADE
        warnings.simplefilter("ignore")
        rows = np.random.default_rng(0).integers(0, 2, (60, 210 * 160), dtype=np.uint8)
        model = MADE((500, 500), ordering="random", kinds="binary", max_epochs=1, batch_size=50)
        model.fit(rows[:50], X_val=rows[50:])
        assert np.isfinite(model.score_samples(rows)).all()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 8e9


def test_a_gmm_can_be_told_how_many_rows_to_use():
    draw = np.random.default_rng(3)
    X = draw.normal(size=(6000, 60)) * np.linspace(0.5, 3, 60)
    few = GMM(1, pca=60, max_rows=200, random_state=0).fit(X[:4000], X_val=X[4000:5000])
    many = GMM(1, pca=60, max_rows=4000, random_state=0).fit(X[:4000], X_val=X[4000:5000])
    assert many.score(X[5000:]) > few.score(X[5000:]) + 2
    with pytest.raises((ValueError, ParameterError), match="max_rows"):
        GMM(max_rows=0).fit(X)
