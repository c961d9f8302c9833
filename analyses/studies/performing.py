"""A study's experiments: run them, or go on where they were stopped, and name what they left."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from analyses.studies.study import PARTS, PartRuns, pool
from prunekit.analysis.measure import score
from prunekit.experiment.experiment_of import experiment_of
from prunekit.experiment.settings import Settings
from prunekit.experiment.sweep.grid import Grid
from prunekit.experiment.sweep.resources import weight_bytes
from prunekit.experiment.sweep.sweep import finished_outcomes, sweep
from prunekit.runs.paths import UNTRAINED
from prunekit.runs.run import Run
from prunekit.support import atomic, terminal, toml
from prunekit.support.errors import ConfigError, nearest

# what a study's file may name before it is known: the folder of models and data, a finished run, its pruning
_SHARED, _RUN, _STAGE = "{shared}", "{run %s}", "{stage %s}"


class Score(Settings):
    """An importance that is measured on every prompt of a part: flags of `prunekit score`."""

    on: Literal["dense", "untrained"] = Field("dense", description="the trained dense prompt, or the one at its start")
    kind: str = "leave-one-out"
    level: Literal["token", "piece"] = "token"
    examples: int | None = None
    permutations: int = 16
    flags: dict[str, str] = Field({}, description="flags of `prunekit score` beside these")
    only: dict[str, tuple[Any, ...]] = Field(
        {}, description="dotted settings that an experiment must have: one of these"
    )


#: A prompt's folder, and the keyword arguments of `score`.
Measuring = tuple[Path, dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """One grid of a study.

    Attributes:
        table: as in a file for `prunekit sweep`.
        scores: measured on what it trains.
    """

    name: str
    table: Mapping[str, Any]
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Budget:
    """What a study may use.

    Attributes:
        runs: where runs are kept; studies with equal settings share them.
        shared: folder of models/ and data/.
        workers: at a time, one thread each.
        device: cpu, or cuda, which the workers share.
    """

    runs: Path
    shared: Path
    workers: int = len(os.sched_getaffinity(0))
    device: str = "cpu"

    @property
    def flags(self) -> dict[str, Any]:
        """Flags of every call of the toolkit."""
        return {"device": self.device}


@dataclass(frozen=True)
class StudyParts:
    """What a study's file asks for: its parts, each for the same seeds but where it names its own."""

    parts: tuple[Part, ...]
    seeds: tuple[int, ...]

    def named(self, part: str | None) -> StudyParts:
        """The part of that name alone; all where it is None.

        Raises:
            ConfigError: where there is none of that name.
        """
        names = [every.name for every in self.parts]
        if part is not None and part not in names:
            raise ConfigError(f"no part {part}: {nearest(part, names)}")
        return self if part is None else replace(self, parts=(self.parts[names.index(part)],))

    def only(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of these seeds: a run directory may hold more, those of other studies."""
        column = next((name for name in ("seed", "unit") if name in table), None)
        return table if column is None else table[table[column].isin(self.seeds)].reset_index(drop=True)


def study_parts(folder: Path, *, pilot: bool = False) -> StudyParts:
    """What the file in a study's folder asks for; of the pilot the parts that its `[pilot]` table names, and its seeds.

    A part with `pilot = true` is the pilot's alone, such as one that finds the learning rates of the others; one with
    `first_seeds = N` takes no more than the first N seeds.

    Raises:
        ConfigError: naming the file where it is not of this shape.
    """
    path = folder / PARTS
    table = toml.read_table(path)
    pilots = table.get("pilot", {})
    seeds = tuple(pilots["seeds"]) if pilot else tuple(range(table["seeds"]))
    parts = []
    for entry in table["part"]:
        settings = dict(entry)
        name, of_pilot, count = (
            settings.pop(key, default) for key, default in (("name", ""), ("pilot", False), ("first_seeds", len(seeds)))
        )
        scores = tuple(toml.parse(wanted, Score, where=f"{path}: {name}") for wanted in settings.pop("score", []))
        if name in pilots["parts"] if pilot else not of_pilot:
            parts.append(Part(name, {"seeds": list(seeds[:count])} | settings, scores))
    return StudyParts(tuple(parts), seeds)


def perform(name: str, wanted: Sequence[Part], budget: Budget) -> dict[str, PartRuns]:
    """Run what is not finished of every part; returns what there is.

    Args:
        name: of the study, for the grids that are written beside the runs.

    Raises:
        PrunekitError: where an experiment failed; what is finished is kept, the same call goes on.
    """
    parts, values = {}, {_SHARED: str(budget.shared)}
    for part in wanted:
        terminal.Screen().say(f"{name}: {part.name}")
        file = budget.runs / "studies" / f"{name}-{part.name}.toml"
        atomic.replace(file, toml.dump(filled(dict(part.table), values)).encode())
        result = sweep(file, out=budget.runs, workers=budget.workers, **budget.flags)
        result.check_ended()
        grid = result.grid
        runs = tuple(_finished(grid, budget.runs))
        parts[part.name] = PartRuns(part.name, runs, grid.experiments[0].seeds)
        for experiment, (run, _, stage) in zip(grid.experiments, runs, strict=True):
            label = f"{part.name}: {grid.label(experiment)}"
            values |= {_RUN % label: str(run), _STAGE % label: str(run / stage)}
    _measure([(part, parts[part.name]) for part in wanted], budget)
    return parts


def _finished(grid: Grid, runs: Path) -> Iterator[tuple[Path, Mapping[str, Any], str]]:
    for experiment, outcome in finished_outcomes(grid, runs):
        yield runs / outcome.run, grid.values(experiment), outcome.stage


def _measure(parts: Sequence[tuple[Part, PartRuns]], budget: Budget) -> None:
    """Measure importance on all prompts of all parts; what was measured before is found again at once."""
    by_run: dict[Path, list[Measuring]] = {}
    for part, finished in parts:
        for path, settings, _ in finished.runs:
            for wanted in part.scores:
                if all(settings[name] in values for name, values in wanted.only.items()):
                    by_run.setdefault(path, []).extend(_prompts(Run.open(path), finished.seeds, wanted))
    if not by_run:
        return

    def size(path: Path) -> tuple[int, int]:
        return weight_bytes(experiment_of(Run.open(path)).model.name), len(by_run[path])

    order = sorted(by_run, key=size, reverse=True)  # the longest first: else all wait for the last in the end
    # a run at a time for each, since a run has one writer
    with pool(budget.workers) as processes, terminal.Screen().track("importance", len(order), "runs") as tick:
        futures = [processes.submit(_score, by_run[path], budget.flags) for path in order]
        for count, future in enumerate(as_completed(futures), start=1):
            future.result()
            tick(count)


def _prompts(run: Run, seeds: Sequence[int], wanted: Score) -> list[Measuring]:
    """The prompts of a run that are measured, each with how."""
    stage = "" if wanted.on == "dense" else UNTRAINED
    arguments = wanted.model_dump(exclude={"on", "flags", "only"}) | wanted.flags
    arguments["allow_changed"] = bool(wanted.flags)
    keys = [key for key in run.tickets() if (key.stage, key.round) == (stage, 0) and key.seed in seeds]
    return [(run.folder(key), arguments) for key in keys if run.result(key)["status"] == "done"]


def _score(prompts: Sequence[Measuring], flags: dict[str, Any]) -> None:
    """In a worker: measured importances, written beside their run."""
    for folder, arguments in prompts:
        score(folder, quiet=True, **{"threads": 1} | flags | arguments)


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """The table with what is known by now in the place of its names."""
    if isinstance(value, dict):
        return {name: filled(entry, values) for name, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, values) for entry in value]
    if isinstance(value, str):
        for name, meant in values.items():
            value = value.replace(name, meant)
    return value
