"""Looking at runs on disk: lists, tables, checks, comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit import comparison, console, summary
from prunekit.arms import ARMS
from prunekit.places import SETTINGS, UNTRAINED, Place
from prunekit.runs import Run


def list_runs(out: Path, *, json: bool) -> None:
    """One line per run of a folder: its name, seeds and finished tickets."""
    found = []
    for run in (Run(path.parent) for path in sorted(out.glob(f"*/{SETTINGS}"))):
        places = run.tickets()
        found.append({"run": str(run.path), "seeds": run.settings()["seeds"], "finished_tickets": len(places)})
    if json:
        console.write_json(found)
        return
    if not found:
        console.write(f"no runs in {out}")
        return
    rows = [[one["run"], ", ".join(map(str, one["seeds"])), str(one["finished_tickets"])] for one in found]
    console.show(["run", "seeds", "finished tickets"], rows)


def show(path: Path, tolerance: float, *, json: bool, stages: Sequence[str] | None = None, arms: bool = True) -> None:
    """The table of rounds and seeds, and what was found in one sentence.

    stages: which to show; default all.  arms: whether to compare a stage's ticket with its controls, where it has any.
    Raises: ArtifactError where the path is no run, or a file of it is damaged.
    """
    run = Run.open(path)
    if json:
        console.write_json(facts(run, tolerance, stages))
        return
    metric = run.settings()["metric"]
    results = _with_times(run)
    if results.empty:
        console.write(f"{path}: no finished round yet")
        return
    for stage in _shown(run, results):
        if stages is not None and stage not in stages:
            continue
        _stage(run, stage, results, metric, tolerance)
        if arms and has_arms(results, stage):
            comparison.show_arms([(run, stage)], tolerance)
    console.write(f"written to {run.path}")


def facts(run: Run, tolerance: float, stages: Sequence[str] | None = None) -> dict[str, Any]:
    """What `show` shows, for a program."""
    metric = run.settings()["metric"]
    results = _with_times(run)
    if stages is not None and not results.empty:
        results = results[results["stage"].isin([*stages, UNTRAINED])]
    rounds = summary.summarise(results, metric)
    best = summary.smallest(rounds, tolerance)
    return {
        "run": str(run.path),
        "metric": metric,
        "tolerance": tolerance,
        "tickets": console.records(results),
        "rounds": [asdict(one) for one in rounds],
        "best": None if best is None else asdict(best),
    }


def has_arms(results: pd.DataFrame, stage: str) -> bool:
    """Whether controls were trained beside a stage's tickets."""
    arms = results[results["stage"] == stage]["arm"]
    return bool(arms.isin(ARMS).any())


def verify(paths: Sequence[Path]) -> None:
    """Check every file of every finished round; the first damaged one ends it with its name."""
    for path in paths:
        count = Run.open(path).verify()
        console.write(f"{path}: {count} files match their manifests")


def compare(paths: Sequence[Path], *, json: bool) -> None:
    """The settings in which runs differ, and their rounds side by side."""
    runs = [Run.open(path) for path in paths]
    settings = [_flat(run.settings()) for run in runs]
    keys = sorted({key for one in settings for key in one})
    differing = [key for key in keys if len({str(one.get(key)) for one in settings}) > 1]
    summaries = [summary.summarise(run.results(), run.settings()["metric"]) for run in runs]
    if json:
        facts = [
            {
                "run": str(run.path),
                "settings": {key: one.get(key) for key in differing},
                "rounds": [asdict(r) for r in rounds],
            }
            for run, one, rounds in zip(runs, settings, summaries, strict=True)
        ]
        console.write_json(facts)
        return
    names = [run.path.name for run in runs]
    console.show(["setting", *names], [[key, *[str(one.get(key, "")) for one in settings]] for key in differing])
    rows = [
        [
            name,
            one.stage or "dense",
            str(one.round),
            str(one.tokens),
            str(one.pieces),
            f"{one.selection:.3f}",
            summary.interval(one),
        ]
        for name, rounds in zip(names, summaries, strict=True)
        for one in rounds
    ]
    console.show(["run", "stage", "round", "tokens", "pieces", "selection", "report"], rows)


def _shown(run: Run, results: pd.DataFrame) -> list[str]:
    """The stages to show: every pruning and search, or else the dense round; and what `compare` chose."""
    stages = [one for one in run.stages() if one.startswith(("prune-", "search-"))]
    dense = [""] if not stages and (results["stage"] == "").any() else []
    return [*stages, *dense, *(one for one in run.stages() if one.startswith("rates-"))]


def _stage(run: Run, stage: str, results: pd.DataFrame, metric: str, tolerance: float) -> None:
    """One stage: the table of its rounds, or of its search, and what was found."""
    if stage.startswith("search-"):
        comparison.show_search(run, stage)
        return
    rates = stage.startswith("rates-")  # of `compare`, which has no dense round
    part = results[results["stage"].isin([stage] if rates else ["", stage]) & (results["arm"] == "")]
    shuffled = ", trained on shuffled answers" if run.settings()["task"].get("labels") == "shuffled" else ""
    _table(part, metric, title=(stage or "dense") + shuffled)
    _conclude(part, results[results["stage"] == UNTRAINED], metric, tolerance)


def _with_times(run: Run) -> pd.DataFrame:
    table = run.results()
    times = [
        run.timing(Place("/".join(filter(None, (one["stage"], one["arm"]))), one["seed"], one["round"]))
        for one in table.to_dict("records")
    ]
    table["seconds"] = [one.get("seconds", math.nan) for one in times]
    table["examples_per_second"] = [one.get("examples_per_second", math.nan) for one in times]
    return table


def _table(results: pd.DataFrame, metric: str, title: str) -> None:
    """One row per round and seed, then the round's mean with its interval over seeds."""
    columns = ["round", "seed", "tokens", "pieces", "density", "params", "selection", "report", "s", "ex/s"]
    means = {one.round: one for one in summary.summarise(results, metric)}
    rows: list[list[str]] = []
    for _, part in results.groupby("round", sort=True):
        rows += [_row(row, metric) for _, row in part.sort_values("seed").iterrows()]
        mean = means.get(int(part["round"].iloc[0]))
        if mean is not None and mean.seeds > 1:
            rows += [_mean_row(mean), [""]]
    console.show(columns, rows, title=f"{title}: {metric}, seconds of the cohort's round, examples per second")


def _row(row: pd.Series, metric: str) -> list[str]:
    stopped = row["status"] != "done"
    head = f"+{row['head_parameters']}" if row["head_parameters"] else ""
    return [
        str(row["round"]),
        str(row["seed"]),
        str(row["tokens"]),
        str(row["pieces"]),
        f"{row['density']:.2f}",
        f"{row['parameters']}{head}",
        console.number(row.get(f"selection_{metric}")),
        "diverged" if stopped else console.number(row.get(f"report_{metric}")),
        f"{row['seconds']:.0f}",
        f"{row['examples_per_second']:.0f}",
    ]


def _mean_row(one: summary.RoundSummary) -> list[str]:
    return [str(one.round), "mean", "", "", "", "", f"{one.selection:.3f}", summary.interval(one), "", ""]


def _conclude(results: pd.DataFrame, untrained: pd.DataFrame, metric: str, tolerance: float) -> None:
    """The base lines, a warning where nothing was learned, and the sentence."""
    rounds = summary.summarise(results, metric)
    if not rounds:
        return
    dense = rounds[0]
    line = f"always the most common answer: report {metric} {results['majority_report'].mean():.3f}"
    if len(untrained):
        head = ", trained head" if untrained["head_parameters"].any() else ""
        line += f"; untrained prompt{head}: {untrained[f'report_{metric}'].mean():.3f}"
    console.write(line)
    warning = summary.not_learning(results, metric)
    if warning:
        console.write(warning)
    best = summary.smallest(rounds, tolerance)
    if best is not None and len(rounds) > 1:
        console.write(summary.sentence(best, dense, metric, tolerance))


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


__all__ = ["compare", "facts", "has_arms", "list_runs", "show", "verify"]
