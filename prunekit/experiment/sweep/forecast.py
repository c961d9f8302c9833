"""What a sweep would run, and for how long at most; nothing is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prunekit.experiment import cost, dry_run, pace
from prunekit.experiment.baselines import measure as baselines
from prunekit.experiment.round_runner import Progress
from prunekit.experiment.settings import Experiment
from prunekit.experiment.sweep.grid import Grid
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.experiment.sweep.plan import spread
from prunekit.experiment.sweep.sweep import SweepOptions, begun
from prunekit.experiment.sweep.worker import ready
from prunekit.runs.store import Store


@dataclass(frozen=True)
class SweepForecast:
    """What a sweep would run.

    Attributes:
        table: a row for each experiment: experiment, run, state (finished, begun or new), tickets, minutes at most.
        left: experiments that would be run.
        minutes: of all workers together.
        wall_minutes: until all is done, on so many `workers`.
    """

    table: pd.DataFrame
    left: int
    minutes: float
    workers: int
    wall_minutes: float

    @property
    def facts(self) -> dict[str, Any]:
        """The same by name."""
        return {
            "experiments": self.table.to_dict("records"),
            "minutes": self.minutes,
            "workers": self.workers,
            "wall_minutes": self.wall_minutes,
        }


def forecast_sweep(grid: Grid, options: SweepOptions, progress: Progress) -> SweepForecast:
    """Every experiment of a grid with its run directory and minutes at most; what several share is loaded once."""
    with begun(grid, options, progress) as start:
        paces = _Paces({})
        rows: dict[Experiment, dict[str, Any]] = {}
        for experiment in sorted(grid.experiments, key=_loads):
            outcome = start.finished.get(experiment)
            rows[experiment] = _new(grid, experiment, options, paces) if outcome is None else _finished(outcome)
        table = pd.DataFrame(
            [{"experiment": grid.label(experiment), **rows[experiment]} for experiment in grid.experiments]
        )
        minutes = [rows[experiment]["minutes at most"] for experiment in sorted(start.left, key=_loads)]
        workers = start.resources.workers
        return SweepForecast(table, len(minutes), sum(minutes), workers, spread(minutes, workers))


@dataclass(frozen=True)
class _Paces:
    """The pace of experiments, measured once for all that take as long."""

    by_key: dict[str, pace.Pace]

    def of(self, prepared: Any) -> pace.Pace:
        alike = dry_run.timing_key(prepared)
        if alike not in self.by_key:
            self.by_key[alike] = pace.measured(prepared)
        return self.by_key[alike]


def _finished(outcome: Outcome) -> dict[str, Any]:
    return {"run": outcome.run, "state": "finished", "tickets": 0, "minutes at most": 0.0}


def _new(grid: Grid, experiment: Experiment, options: SweepOptions, paces: _Paces) -> dict[str, Any]:
    prepared = ready(experiment)
    parts = dry_run.parts(prepared, grid.options.verb, grid.options.controls)
    if options.store:
        begun_before = bool(Store(options.store).names(prepared.name))
    else:
        begun_before = (options.out / prepared.name).exists()
    spent = cost.costs([*parts, *baselines.parts(prepared)], cost.Workload.of(prepared), paces.of(prepared))
    return {
        "run": prepared.name,
        "state": "begun" if begun_before else "new",
        "tickets": sum(part.tickets for part in parts),
        "minutes at most": sum(part.minutes for part in spent),
    }


def _loads(experiment: Experiment) -> str:
    """Equal for experiments that need the same model and rows, in an order that keeps those of one model together."""
    settings = experiment.model_dump(mode="json", include={"model", "machine", "task", "prompt"})
    return json.dumps([settings["model"], settings["machine"], settings["task"], settings["prompt"]["tokens"]])
