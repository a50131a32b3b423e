"""The study `published`: every published table of log-likelihoods, by one recipe."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from chainrule.errors import ChainruleError
from chainrule.experiments.study import StudyResult, StudyRun
from chainrule.metrics.statistics import summarize
from chainrule_studies.published.fits import Fits
from chainrule_studies.published.members import Members, fit_members, score_test_rows
from chainrule_studies.published.plan import (
    DEFAULT_BUDGET,
    Published,
    chosen_sets,
    parse_duration,
    published,
    shares,
)
from chainrule_studies.published.report import sections, verdict
from chainrule_studies.published.rows import load_rows
from chainrule_studies.published.search import search

__all__ = ["check", "measure", "run"]

_QUICK_BUDGET = 20.0
# Of the time of a set: the search, and the members with the scores of the test rows.
_SEARCH, _MEMBERS = 0.4, 0.6


def check(options: Mapping[str, Any]) -> None:
    """Raise a DataError if there is no such set, or the budget is no duration."""
    chosen_sets(options.get("only"))
    if "budget" in options:
        parse_duration(options["budget"])


def run(run: StudyRun) -> StudyResult:
    """Do the study."""
    names = chosen_sets(run.options.get("only"), run.quick)
    budget, n_processes = _budget(run), min(torch.get_num_threads(), len(names))
    plan = shares(names, budget * n_processes)
    _tell_plan(run, plan, n_processes)
    done = _measure_all(run, plan, n_processes)
    results: dict[str, Any] = {
        "quick": run.quick,
        "budget": budget,
        "n_processes": n_processes,
        "plan": plan,
        "sets": {name: done[name] for name in names if "failed" not in done[name]},
        "failed": {name: done[name]["failed"] for name in names if "failed" in done[name]},
    }
    facts = [("Sets", str(len(names))), ("Budget, s", f"{budget:.0f}"), ("Processes", str(n_processes))]
    return StudyResult(results, sections(results), verdict(results), facts)


def _measure_all(run: StudyRun, plan: Mapping[str, float], n_processes: int) -> dict[str, dict[str, Any]]:
    """Return the numbers of all sets; those that take longest come first, each in a process of one thread."""
    longest = sorted(plan, key=lambda name: -plan[name])
    if n_processes == 1:
        done = {name: _done(run, name, plan[name]) for name in longest}
    else:
        done = _measure_in_processes(run, plan, longest, n_processes)
    run.seconds = sum(each.get("seconds", 0.0) for each in done.values())
    return done


def _measure_in_processes(
    run: StudyRun, plan: Mapping[str, float], names: Sequence[str], n_processes: int
) -> dict[str, dict[str, Any]]:
    work = [delayed(_done)(run, name, plan[name]) for name in names]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        try:
            return dict(zip(names, Parallel(n_processes, batch_size=1)(work), strict=True))
        except TerminatedWorkerError:  # killed, perhaps for its memory: what is done is kept
            return {name: _alone(each, name) for name, each in zip(names, work, strict=True)}


def _alone(work: Any, name: str) -> dict[str, Any]:
    """Return the numbers of a set, measured with no other beside it."""
    try:
        result: dict[str, Any] = Parallel(2)([work])[0]
        return result
    except TerminatedWorkerError:
        return {"failed": f"the process that measured {name} was killed, perhaps for its memory"}


def _budget(run: StudyRun) -> float:
    if "budget" in run.options:
        return parse_duration(run.options["budget"])
    return _QUICK_BUDGET if run.quick else DEFAULT_BUDGET


def _tell_plan(run: StudyRun, plan: Mapping[str, float], n_processes: int) -> None:
    beside = f", {n_processes} at a time" if n_processes > 1 else ""
    run.say(f"published: {len(plan)} sets{beside}, seconds of one thread each:")
    for name, seconds in plan.items():
        run.say(f"  {name:<16}{seconds:8.0f} s")


def _done(run: StudyRun, name: str, seconds: float) -> dict[str, Any]:
    """Return the numbers of a set, or why it failed: the others go on."""
    try:
        return measure(run, name, seconds)
    except Exception as error:
        run.say(f"{name} failed: {error}")
        if not isinstance(error, ChainruleError):
            run.say(traceback.format_exc())
        return {"failed": f"{type(error).__name__}: {error}"}


def measure(run: StudyRun, name: str, seconds: float) -> dict[str, Any]:
    """Search, fit the ensemble, look at the test rows once, and return the numbers of a set."""
    rows = load_rows(name, run.quick)
    fits = Fits(run, rows)
    run.say(f"{name}: search")
    searched = search(fits, _SEARCH * seconds)
    in_search = fits.seconds
    run.say(f"{name}: {len(searched.trials)} trials in {in_search:.0f} s; ensemble")
    members = fit_members(fits, searched, _MEMBERS * seconds)
    tested = score_test_rows(fits, members)
    fits.keep_only([fit for each in members.chains for of_fold in each.fits for fit in of_fold])
    known = published()[name]
    result = {
        "published": {"best": known.best, "by": known.by, "measure": known.measure, "group": known.group,
                      "one_order": known.one_order, "one_order_by": known.one_order_by},
        "split": rows.split,
        "n_folds": len(rows.folds),
        "n_columns": rows.n_columns,
        "n_test": len(tested["single"]),
        "single": _single(known, members, tested["single"]),
        "ensemble": _ensemble(known, members, tested["ensemble"]),
        "search": {"seconds": in_search, "trials": [trial.to_dict() for trial in searched.trials]},
        "seconds": fits.seconds + float(tested["seconds"]),
        "n_fits": len(fits.keys),
    }  # fmt: skip
    run.say(f"{name}: {_line(result)}")
    return result


def _single(known: Published, members: Members, test: Any) -> dict[str, Any]:
    fits = [of_fold[0] for of_fold in members.chains[0].fits]
    return {
        "model": members.settings[0].title,
        "valid": float(np.mean([fit.valid for fit in fits])),
        "fit_seconds": float(np.mean([fit.seconds for fit in fits])),
        "n_parameters": fits[0].n_parameters,
        **_measured(known, test),
    }


def _ensemble(known: Published, members: Members, test: Any) -> dict[str, Any]:
    return {
        "members": [setting.title for setting in members.settings],
        "n_orders": len(members.chains),
        "weights": members.shares.tolist(),
        "member_weights": [each.shares.tolist() for each in members.chains],
        "valid_by_orders": members.valid,
        "valid": members.valid[-1],
        "fit_seconds": sum(
            {fit.key: fit.seconds for each in members.chains for f in each.fits for fit in f}.values()
        ),
        **_measured(known, test),
    }


def _measured(known: Published, test: Any) -> dict[str, Any]:
    summary = summarize(test)
    gap = known.gap(summary.mean)
    return {
        "test": summary.mean,
        "standard_error": summary.standard_error,
        "gap": gap,
        "is_ahead": bool(gap > 0),
        "is_ahead_beyond_error": bool(gap > 2 * summary.standard_error),
    }


def _line(result: Mapping[str, Any]) -> str:
    ensemble = result["ensemble"]
    return (
        f"single {result['single']['test']:.3f}, ensemble {ensemble['test']:.3f} ± "
        f"{ensemble['standard_error']:.3f}, published {result['published']['best']} "
        f"by {result['published']['by']}"
    )
