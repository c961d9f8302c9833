"""Looking at runs on disk: lists, tables, checks, comparisons."""

from __future__ import annotations

import json as codec
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit import console, summary
from prunekit.runs import Run
from prunekit.runs import list_runs as runs_in


def list_runs(out: Path, *, json: bool) -> None:
    """One line per run of a folder: its name, seeds and finished rounds."""
    found = []
    for run in runs_in(out):
        places = run.rounds()
        found.append({"run": str(run.path), "seeds": run.settings()["seeds"], "finished_rounds": len(places)})
    if json:
        console.write(codec.dumps(found))
        return
    if not found:
        console.write(f"no runs in {out}")
        return
    rows = [[one["run"], ", ".join(map(str, one["seeds"])), str(one["finished_rounds"])] for one in found]
    console.show(["run", "seeds", "finished rounds"], rows)


def show(path: Path, tolerance: float, *, json: bool, stages: Sequence[str] | None = None) -> None:
    """The table of rounds and seeds, and what was found in one sentence.

    stages: which to show; default all. Raises: ArtifactError where the path is no run, or a file of it is damaged.
    """
    run = Run.open(path)
    metric = run.settings()["metric"]
    results = _with_times(run, stages)
    if json:
        console.write(codec.dumps(_facts(run, results, metric, tolerance), default=str))
        return
    if results.empty:
        console.write(f"{path}: no finished round yet")
        return
    for stage in [one for one in run.stages() if one] or [""]:
        if stages is not None and stage not in stages:
            continue
        part = results[results["stage"].isin(["", stage])]
        _table(part, metric, title=stage or "dense")
        _conclude(part, metric, tolerance)
    console.write(f"written to {run.path}")


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
        console.write(codec.dumps(facts))
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
            _report(one),
        ]
        for name, rounds in zip(names, summaries, strict=True)
        for one in rounds
    ]
    console.show(["run", "stage", "round", "tokens", "pieces", "selection", "report"], rows)


def _with_times(run: Run, stages: Sequence[str] | None) -> pd.DataFrame:
    table = run.results()
    if stages is not None and not table.empty:
        table = table[table["stage"].isin(stages)].copy()
    times = [run.timing(row["stage"], row["seed"], row["round"]) for _, row in table.iterrows()]
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
            rows.append(_mean_row(mean))
        rows.append([""])
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
        _number(row.get(f"selection_{metric}")),
        "diverged" if stopped else _number(row.get(f"report_{metric}")),
        f"{row['seconds']:.0f}",
        f"{row['examples_per_second']:.0f}",
    ]


def _mean_row(one: summary.RoundSummary) -> list[str]:
    return [str(one.round), "mean", "", "", "", "", f"{one.selection:.3f}", _report(one), "", ""]


def _report(one: summary.RoundSummary) -> str:
    return f"{one.report:.3f}" if one.low is None else f"{one.report:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _number(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.3f}"


def _conclude(results: pd.DataFrame, metric: str, tolerance: float) -> None:
    """The base line, a warning where nothing was learned, and the sentence."""
    rounds = summary.summarise(results, metric)
    if not rounds:
        return
    dense = rounds[0]
    console.write(f"always the most common answer: report {metric} {results['majority_report'].mean():.3f}")
    warning = summary.not_learning(results, metric)
    if warning:
        console.write(warning)
    best = summary.smallest(rounds, tolerance)
    if best is not None and len(rounds) > 1:
        console.write(summary.sentence(best, dense, metric, tolerance))


def _facts(run: Run, results: pd.DataFrame, metric: str, tolerance: float) -> dict[str, Any]:
    rounds = summary.summarise(results, metric)
    best = summary.smallest(rounds, tolerance)
    rows = results.astype(object).where(results.notna(), None).to_dict("records")
    return {
        "run": str(run.path),
        "metric": metric,
        "tolerance": tolerance,
        "tickets": rows,
        "rounds": [asdict(one) for one in rounds],
        "best": None if best is None else asdict(best),
    }


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


__all__ = ["compare", "list_runs", "show", "verify"]
