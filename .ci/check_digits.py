"""Check the run folder of `chainrule compare digits`: what it holds, and that the networks win."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

BASELINES = ("Independent", "MixtureOfBernoullis")
NETWORKS = ("NADE", "MADE")
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
    comparison = json.loads((run / "results.json").read_text())
    assert json.loads(written.read_text()) == comparison, "--json and results.json differ"
    assert comparison.keys() >= FACTS, f"results.json lacks {FACTS - comparison.keys()}"
    results = {result["model"]: result for result in comparison["results"]}
    assert results.keys() >= {*BASELINES, *NETWORKS}, f"models: {sorted(results)}"
    for name, result in results.items():
        assert result.keys() >= COLUMNS, f"{name} lacks {COLUMNS - result.keys()}"
    for network in NETWORKS:
        for baseline in BASELINES:
            check_wins(results[network], results[baseline])
    report = (run / "report.html").read_text()
    assert "data:image/png;base64," in report, "report.html has no pictures inside"
    print("results.json and report.html hold what they must; both networks beat both baselines")


def check_wins(network: dict, baseline: dict) -> None:
    """Raise unless the difference exceeds two standard errors, even were the two unrelated."""
    difference = network["test_log_likelihood"] - baseline["test_log_likelihood"]
    error = math.hypot(network["standard_error"], baseline["standard_error"])
    print(f"{network['model']} - {baseline['model']}: {difference:.2f} nats, standard error <= {error:.2f}")
    assert difference > 2 * error, f"{network['model']} does not beat {baseline['model']}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
