"""A study's experiments: run them, or go on where they were stopped, and name what they left."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from analyses.studies.study import PARTS, PartRuns, pool
from prunekit.analysis.model_access import experiment_of
from prunekit.cli.scoring import Wish as Scoring
from prunekit.cli.scoring import score
from prunekit.cli.sweeping import Wish, parsed, sweep, weight_bytes
from prunekit.experiment.settings import Settings
from prunekit.experiment.sweep import grid
from prunekit.experiment.sweep.grid import Grid
from prunekit.experiment.sweep.jobs import key, receipt
from prunekit.runs.paths import UNTRAINED
from prunekit.runs.run import Run
from prunekit.support import atomic, terminal, toml
from prunekit.support.errors import ArtifactError

# what a study's file may name before it is known: the folder of models and data, a finished run, its pruning
_SHARED, _RUN, _STAGE = "{shared}", "{run %s}", "{stage %s}"


class Score(Settings):
    """An importance that is measured on every prompt of a part: flags of `prunekit score`."""

    on: Literal["dense", "untrained"] = Field("dense", description="the trained dense prompt, or the one at its start")
    kind: str = "leave-one-out"
    level: Literal["token", "piece"] = "token"
    examples: int | None = None
    permutations: int = 16
    given: dict[str, str] = Field({}, description="flags of `prunekit score` beside these")
    only: dict[str, tuple[Any, ...]] = Field(
        {}, description="dotted settings that an experiment must have: one of these"
    )


#: A prompt's folder, what is measured, and further flags.
Measuring = tuple[Path, Scoring, dict[str, str]]


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
class Asked:
    """What a study's file asks for: its parts, each for the same seeds but where it names its own."""

    parts: tuple[Part, ...]
    seeds: tuple[int, ...]

    def only(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of these seeds: a run directory may hold more, those of other studies."""
        column = next((name for name in ("seed", "unit") if name in table), None)
        return table if column is None else table[table[column].isin(self.seeds)].reset_index(drop=True)


def asked(folder: Path, *, pilot: bool = False) -> Asked:
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
    found = []
    for one in table["part"]:
        own = dict(one)
        name, alone, few = own.pop("name"), own.pop("pilot", False), own.pop("first_seeds", len(seeds))
        scores = tuple(toml.parse(entry, Score, where=f"{path}: {name}") for entry in own.pop("score", []))
        if name in pilots["parts"] if pilot else not alone:
            found.append(Part(name, {"seeds": list(seeds[:few])} | own, scores))
    return Asked(tuple(found), seeds)


def perform(name: str, wanted: Sequence[Part], budget: Budget) -> dict[str, PartRuns]:
    """Run what is not finished of every part; returns what there is.

    Args:
        name: of the study, for the grids that are written beside the runs.

    Raises:
        PrunekitError: where an experiment failed; what is finished is kept, the same call goes on.
    """
    found, known = {}, {_SHARED: str(budget.shared)}
    for part in wanted:
        terminal.Screen().say(f"{name}: {part.name}")
        file = budget.runs / "studies" / f"{name}-{part.name}.toml"
        atomic.replace(file, toml.dump(_filled(dict(part.table), known)).encode())
        sweep(file, Wish(out=budget.runs, workers=budget.workers, settings=budget.flags))
        cells = grid.read(file, lambda settings: parsed(settings, budget.flags))
        found[part.name] = PartRuns(part.name, tuple(_finished(cells, budget.runs)), cells.experiments[0].seeds)
        for experiment, (run, _, stage) in zip(cells.experiments, found[part.name].runs, strict=True):
            label = f"{part.name}: {cells.label(experiment)}"
            known |= {_RUN % label: str(run), _STAGE % label: str(run / stage)}
    _measure([(part, found[part.name]) for part in wanted], budget)
    return found


def _finished(cells: Grid, runs: Path) -> Iterator[tuple[Path, Mapping[str, Any], str]]:
    for experiment in cells.experiments:
        outcome = receipt(runs, key(experiment, cells))
        if outcome is None:  # `sweep` has raised where one failed
            raise ArtifactError(f"{runs}: the receipt of {cells.label(experiment)} is gone; run the study again")
        yield runs / outcome.run, cells.values(experiment), outcome.stage


def _measure(parts: Sequence[tuple[Part, PartRuns]], budget: Budget) -> None:
    """Measure importance on all prompts of all parts; what was measured before is found again at once."""
    asked: dict[Path, list[Measuring]] = {}
    for part, found in parts:
        for path, settings, _ in found.runs:
            for one in part.scores:
                if all(settings[name] in values for name, values in one.only.items()):
                    asked.setdefault(path, []).extend(_prompts(Run.open(path), found.seeds, one))
    if not asked:
        return
    # the longest first: else all wait for the last in the end
    order = sorted(asked, key=lambda path: (-weight_bytes(experiment_of(Run.open(path)).model.name), -len(asked[path])))
    # a run at a time for each, since a run has one writer
    with pool(budget.workers) as processes, terminal.Screen().track("importance", len(order), "runs") as tick:
        work = [processes.submit(_score, asked[path], budget.flags) for path in order]
        for count, done in enumerate(as_completed(work), start=1):
            done.result()
            tick(count)


def _prompts(run: Run, seeds: Sequence[int], one: Score) -> list[Measuring]:
    """The prompts of a run that are measured, each with how."""
    stage = "" if one.on == "dense" else UNTRAINED
    wish = Scoring(**one.model_dump(exclude={"on", "given", "only"}))
    places = [place for place in run.tickets() if (place.stage, place.round) == (stage, 0) and place.seed in seeds]
    return [(run.folder(place), wish, one.given) for place in places if run.result(place)["status"] == "done"]


def _score(prompts: Sequence[Measuring], flags: dict[str, Any]) -> None:
    """In a worker: measured importances, written beside their run."""
    for place, wish, given in prompts:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            score(place, wish, {"threads": 1} | flags | given, json=True, allow_changed=bool(given))


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    """The table with what is known now in the place of its names."""
    if isinstance(value, dict):
        return {name: _filled(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, known) for one in value]
    if isinstance(value, str):
        for name, meant in known.items():
            value = value.replace(name, meant)
    return value
