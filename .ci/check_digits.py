"""Check the run folder of `chainrule compare digits`: what it holds, and that the networks win."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

from chainrule import load, load_dataset
from chainrule.metrics.statistics import paired_difference

BASELINES = ("independent", "mixture-of-bernoullis")
NETWORKS = ("nade", "made", "orderless-nade")
FACTS = {"dataset", "n_train", "n_valid", "n_test", "n_variables", "results"}
COLUMNS = {
    "model",
    "test_log_likelihood",
    "standard_error",
    "bits_per_dim",
    "n_parameters",
    "fit_seconds",
    "sample_seconds",
    "epochs",
}


def main(run: Path, written: Path) -> None:
    """Raise an AssertionError that says what is missing or which network does not win."""
    check_results(json.loads((run / "results.json").read_text()), json.loads(written.read_text()))
    assert "data:image/png;base64," in (run / "report.html").read_text(), "report.html has no pictures inside"
    rows = load_dataset("digits").test
    scores = {name: load(run / "models" / name).score_samples(rows) for name in (*BASELINES, *NETWORKS)}
    for network, baseline in product(NETWORKS, BASELINES):
        lead = paired_difference(scores[network], scores[baseline])
        print(f"{network} - {baseline}: {lead.mean:.3f} nats, standard error {lead.standard_error:.3f}")
        assert lead.mean > 2 * lead.standard_error, f"{network} does not beat {baseline}"


def check_results(comparison: dict, written: dict) -> None:
    """Check that the results hold what they must, and that ``--json`` wrote the same."""
    assert written == comparison, "--json and results.json differ"
    assert comparison.keys() >= FACTS, f"results.json lacks {FACTS - comparison.keys()}"
    assert len(comparison["results"]) == len(BASELINES) + len(NETWORKS)
    for result in comparison["results"]:
        assert result.keys() >= COLUMNS, f"{result} lacks {COLUMNS - result.keys()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
