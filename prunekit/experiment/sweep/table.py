"""The table of a whole sweep, made anew from the manifests of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.experiment.settings import Experiment
from prunekit.experiment.sweep.grid import Grid
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.runs import summary
from prunekit.runs.baselines import BaseLines, best_of_stage
from prunekit.runs.paths import DENSE, PRUNING_VERBS, UNTRAINED, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.runs.snapshot import Snapshot

RESULTS = "results.parquet"


def places_of(run: RunReader, stage: str, seeds: Sequence[int], *, controls: bool) -> list[RunKey]:
    """The tickets of a run that belong to one experiment: its dense rounds, base line and stage.

    Args:
        controls: also the arms beside the stage's tickets. A search's trials stay in the run's own table.
    """

    def is_wanted(of_round: Stage) -> bool:
        is_control = bool(stage) and of_round.top == stage and bool(of_round.arm) and not of_round.is_trial
        return of_round in (DENSE, UNTRAINED, stage) or (controls and is_control)

    return [key for key in run.tickets() if key.seed in seeds and is_wanted(key.stage)]


def results(out: Path, grid: Grid, outcomes: Mapping[Experiment, Outcome]) -> pd.DataFrame:
    """One row per finished ticket of a sweep, in the order of its grid; nothing in it depends on who did what when.

    Columns:
        directory (of the run), task, model, every setting that varies, by dotted name, then those of a run's own table.
            A row that two experiments share, such as a dense round, stands once, with the first of them.

    Raises:
        ArtifactError: naming the file that is missing or damaged.
    """
    tables = []
    for experiment in grid.experiments:
        outcome = outcomes.get(experiment)
        if outcome is not None and not outcome.failed:
            tables.append(_rows(out, grid, experiment, outcome))
    if not tables:
        return pd.DataFrame(columns=["directory", "task", "model", *grid.varied])
    table = pd.concat(tables, ignore_index=True)
    table = table.drop_duplicates(["directory", "stage", "arm", "seed", "round"], ignore_index=True)
    for name in grid.varied:
        table[name] = _one_kind(table[name])
    return table


def experiment_row(
    grid: Grid, experiment: Experiment, outcome: Outcome, tickets: pd.DataFrame, runs: Path, tolerance: float
) -> dict[str, Any]:
    """One finished experiment in short: its dense prompt, and its smallest good or its chosen ticket, means over seeds.

    Where the dense prompt does not beat its base lines, the smallest good ticket is the dense one.

    Args:
        tickets: of the whole sweep, as `results` gives them.
        runs: the folder of its run directory.
        tolerance: how far below dense on validation the smallest good ticket may be.
    """
    run = Snapshot.open(runs / outcome.run)
    metric = run.settings()["metric"]
    stages = tickets["stage"].isin(["", UNTRAINED, outcome.stage])
    rows = tickets[(tickets["directory"] == outcome.run) & stages]
    rounds = summary.summarise(rows, metric, verbs=PRUNING_VERBS)
    front: dict[str, Any] = {**grid.values(experiment), "metric": metric, "seeds": len(experiment.seeds)}
    front["stopped"] = int((rows["status"] == "diverged").sum())
    if not rounds:
        return front
    best = best_of_stage(rows, Stage(outcome.stage), tolerance, BaseLines.of(run)) or rounds[0]
    members = rows[(rows["round"] == best.round) & (rows["arm"] == "") & rows["stage"].isin(["", outcome.stage])]
    density = float(members[members["status"] == "done"]["density"].mean())  # of a search every seed has its own
    return front | {
        "dense": rounds[0].test,
        "density": density,
        "test": best.test,
        "low": best.low,
        "high": best.high,
    }


def _rows(out: Path, grid: Grid, experiment: Experiment, outcome: Outcome) -> pd.DataFrame:
    tickets = Snapshot.open(out / outcome.run).results([RunKey.parse(Path(place)) for place in outcome.places])
    front: dict[str, Any] = {
        "directory": outcome.run,
        "task": experiment.task.name,
        "model": experiment.model.name,
        **grid.values(experiment),
    }
    return pd.concat([pd.DataFrame([front] * len(tickets), index=tickets.index), tickets], axis=1)


def _one_kind(column: pd.Series) -> pd.Series:
    """A column that parquet can hold: words where kinds differ, such as "auto" beside 0.3."""
    kinds = {type(value) for value in column if value is not None}
    if len(kinds) <= 1 and not kinds & {list, dict}:
        return column
    return column.map(lambda value: None if value is None else str(value))
