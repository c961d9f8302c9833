"""Looking at runs on disk: lists, tables, checks, comparisons."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.cli import comparison
from prunekit.pruning.controls import CONTROL_NAMES
from prunekit.runs import summary
from prunekit.runs.audit import Audit
from prunekit.runs.journal import read_journal
from prunekit.runs.paths import MANIFEST, SETTINGS, UNTRAINED, RunKey
from prunekit.runs.run import Run
from prunekit.support import terminal
from prunekit.support.errors import ArtifactError, PrunekitError


def list_runs(out: Path, *, json: bool) -> None:
    """One line per run of a folder: its name, seeds and finished tickets, or what is wrong with it."""
    found = [_listed(path) for path in runs_in(out)]
    if json:
        terminal.write_json(found)
        return
    if not found:
        terminal.write(f"no runs in {out}")
        return
    rows = [
        [row["run"], ", ".join(map(str, row.get("seeds", ()))), str(row.get("finished_tickets", "damaged"))]
        for row in found
    ]
    terminal.show(["run", "seeds", "finished tickets"], rows)
    for row in found:
        if "problem" in row:
            terminal.write(row["problem"])


def _listed(path: Path) -> dict[str, Any]:
    """A run's row: its seeds and how many tickets are finished, or the first thing that is wrong."""
    run = Run(path)
    try:
        return {"run": str(path), "seeds": list(run.settings()["seeds"]), "finished_tickets": len(run.tickets())}
    except (PrunekitError, OSError, KeyError, TypeError) as error:
        return {"run": str(path), "problem": str(error) or type(error).__name__}


def runs_in(folder: Path) -> list[Path]:
    """The runs of a folder, by name; one that has lost its settings is there too."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and _was_run(path)]


def _was_run(path: Path) -> bool:
    """Whether a folder is a run, or holds what is left of one; before its settings are written it is none yet."""
    if os.path.lexists(path / SETTINGS):
        return True
    try:
        known = read_journal(path)
    except ArtifactError:
        return True
    begun = known is not None and bool(known[0].rounds)
    return begun or any(True for _ in path.glob(f"seed=*/round=*/{MANIFEST}"))


def show(path: Path, tolerance: float, *, json: bool, stages: Sequence[str] | None = None, arms: bool = True) -> None:
    """The table of rounds and seeds, and what was found in one sentence.

    Args:
        stages: which to show; default all.
        arms: whether to compare a stage's ticket with its controls, where it has any.

    Raises:
        ArtifactError: where the path is no run, or a file of it is damaged.
    """
    run = Run.open(path)
    if json:
        terminal.write_json(facts(run, tolerance, stages))
        return
    metric = run.settings()["metric"]
    results = _with_times(run)
    if results.empty:
        terminal.write(f"{path}: no finished round yet")
        return
    for stage in _shown(run, results):
        if stages is not None and stage not in stages:
            continue
        _stage(run, stage, results, metric, tolerance)
        if arms and has_arms(results, stage):
            comparison.show_arms([(run, stage)], tolerance)
    terminal.write(f"written to {run.path}")


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
        "tickets": terminal.records(results),
        "rounds": [asdict(one) for one in rounds],
        "best": None if best is None else asdict(best),
    }


def has_arms(results: pd.DataFrame, stage: str) -> bool:
    """Whether controls were trained beside a stage's tickets."""
    arms = results[results["stage"] == stage]["arm"]
    return bool(arms.isin(CONTROL_NAMES).any())


def verify(paths: Sequence[Path]) -> None:
    """Check all that runs should hold: a line for each problem of each of them, then a row for each run.

    Args:
        paths: runs, or folders of runs.

    Raises:
        ArtifactError: at the end where there was any problem.
    """
    runs = [run for path in paths for run in ([path] if _was_run(path) else runs_in(path) or [path])]
    rows, damaged = [], []
    for path in dict.fromkeys(runs):
        found = Run(path).audit() if _was_run(path) else Audit((f"{path}: not a run, nor a folder of runs",))
        for problem in found.problems:
            terminal.write(" ".join(problem.split()))
        damaged += [path] if found.problems else []
        state = f"{len(found.problems)} problem{'s' * (len(found.problems) > 1)}" if found.problems else "whole"
        unfinished = f", {found.unfinished} to be finished" if found.unfinished else ""
        rows.append([str(path), str(found.rounds), str(found.files), state + unfinished])
    terminal.show(["run", "rounds", "files checked", "state"], rows)
    if damaged:
        raise ArtifactError(f"{len(damaged)} of {len(rows)} runs are not as they should be")
    terminal.write(f"{sum(int(row[2]) for row in rows)} files match their manifests, and nothing is missing")


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
        terminal.write_json(facts)
        return
    names = [run.path.name for run in runs]
    terminal.show(["setting", *names], [[key, *[str(one.get(key, "")) for one in settings]] for key in differing])
    rows = [
        [
            name,
            one.stage or "dense",
            str(one.round),
            str(one.tokens),
            str(one.pieces),
            f"{one.validation:.3f}",
            summary.interval(one),
        ]
        for name, rounds in zip(names, summaries, strict=True)
        for one in rounds
    ]
    terminal.show(["run", "stage", "round", "tokens", "pieces", "validation", "test"], rows)


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
        run.timing(RunKey("/".join(filter(None, (one["stage"], one["arm"]))), one["seed"], one["round"]))
        for one in table.to_dict("records")
    ]
    table["seconds"] = [one.get("seconds", math.nan) for one in times]
    table["examples_per_second"] = [one.get("examples_per_second", math.nan) for one in times]
    return table


def _table(results: pd.DataFrame, metric: str, title: str) -> None:
    """One row per round and seed, then the round's mean with its interval over seeds."""
    columns = ["round", "seed", "tokens", "pieces", "density", "params", "validation", "test", "s", "ex/s"]
    means = {one.round: one for one in summary.summarise(results, metric)}
    rows: list[list[str]] = []
    for _, part in results.groupby("round", sort=True):
        rows += [_row(row, metric) for _, row in part.sort_values("seed").iterrows()]
        mean = means.get(int(part["round"].iloc[0]))
        if mean is not None and mean.seeds > 1:
            rows += [_mean_row(mean), [""]]
    terminal.show(columns, rows, title=f"{title}: {metric}, seconds of the cohort's round, examples per second")


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
        terminal.number(row.get(f"validation_{metric}")),
        "diverged" if stopped else terminal.number(row.get(f"test_{metric}")),
        f"{row['seconds']:.0f}",
        f"{row['examples_per_second']:.0f}",
    ]


def _mean_row(one: summary.RoundSummary) -> list[str]:
    return [str(one.round), "mean", "", "", "", "", f"{one.validation:.3f}", summary.interval(one), "", ""]


def _conclude(results: pd.DataFrame, untrained: pd.DataFrame, metric: str, tolerance: float) -> None:
    """The base lines, a warning where nothing was learned, and the sentence."""
    rounds = summary.summarise(results, metric)
    if not rounds:
        return
    dense = rounds[0]
    line = f"always the most common answer: test {metric} {results['majority_test'].mean():.3f}"
    if len(untrained):
        head = ", trained head" if untrained["head_parameters"].any() else ""
        line += f"; untrained prompt{head}: {untrained[f'test_{metric}'].mean():.3f}"
    terminal.write(line)
    warning = summary.not_learning(results, metric)
    if warning:
        terminal.write(warning)
    best = summary.smallest(rounds, tolerance)
    if best is not None and len(rounds) > 1:
        terminal.write(summary.sentence(best, dense, metric, tolerance))


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


__all__ = ["compare", "facts", "has_arms", "list_runs", "show", "verify"]
