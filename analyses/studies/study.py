"""What a study is: a folder, questions named beforehand, and how runs become its small tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

from analyses.studies.effects import Question
from analyses.studies.subsets import by_subset
from prunekit.analysis import tables
from prunekit.runs.snapshot import Snapshot
from prunekit.support import toml
from prunekit.support.errors import DataError

PLAN, PARTS, PAGE, PICTURE, RESULTS = "plan.md", "study.toml", "README.md", "effects.svg", "results"
#: Of every study: rows of `effects.units`, on which its questions are answered.
UNITS = "units"
#: The simulated power of its questions.
POWER_TABLE = "power.csv"
#: Of every study with results: the verdicts that its units had by the rule before (question, verdict).
EARLIER = "earlier"
#: The pilot's tables, on other seeds; of their units only the spread is used.
PILOT = "pilot"

Tables = Mapping[str, pd.DataFrame]
Item = TypeVar("Item")


@dataclass(frozen=True)
class PartRuns:
    """What one part of a study left: its finished experiments.

    Attributes:
        runs: of each the run directory, the settings that set it apart, by dotted name, and the stage of its tickets.
        seeds: those that were asked for; a run directory may hold more.
    """

    name: str
    runs: tuple[tuple[Path, Mapping[str, Any], str], ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        folder: with the files named above.
        questions: the primary one first.
        collect: parts by name -> tables by name, "units" among them, each small enough to be committed.
        describe: tables -> titles and tables that the page shows beside the effects.
        prompts: tables -> what the trained prompts reached (columns task, model, seed, test), to be held against base
            lines; None where the tables do not say.
    """

    name: str
    title: str
    folder: Path
    questions: tuple[Question, ...]
    collect: Callable[[Mapping[str, PartRuns]], dict[str, pd.DataFrame]]
    describe: Callable[[Tables], Sequence[tuple[str, pd.DataFrame]]]
    prompts: Callable[[Tables], pd.DataFrame] | None = None

    def tables(self) -> dict[str, pd.DataFrame]:
        """The committed tables, by name; of a study that ran part by part, those of all parts, one below the other.

        Raises:
            DataError: where a part has none yet.
        """
        parts = self.parts()
        if not self.has_run():
            lacking = ", ".join(part for part, ended in parts.items() if not ended)
            raise DataError(
                f"{self.folder / RESULTS}: no results yet of {lacking}; make them with python -m analyses.studies run"
            )
        by_name: dict[str, list[pd.DataFrame]] = {}
        for folder in (self.folder / RESULTS, *(self.folder / RESULTS / part for part in parts)):
            for path in sorted(folder.glob("*.csv")):
                by_name.setdefault(path.stem, []).append(pd.read_csv(path))
        return {name: pd.concat(tables, ignore_index=True) for name, tables in by_name.items()}

    def has_run(self) -> bool:
        """Whether all of it has: nothing is looked at before the last part has ended."""
        return (self.folder / RESULTS / f"{UNITS}.csv").exists() or all(self.parts().values())

    def parts(self) -> dict[str, bool]:
        """Of every part that is no pilot's alone: whether it has run by itself and left its tables."""
        wanted = toml.read_table(self.folder / PARTS)["part"]
        names = [str(part["name"]) for part in wanted if not part.get("pilot", False)]
        return {name: any((self.folder / RESULTS / name).glob("*.csv")) for name in names}

    def earlier(self) -> dict[str, str]:
        """By question the verdict of the rule before; empty where a study has none."""
        path = self.folder / f"{EARLIER}.csv"
        return dict(pd.read_csv(path).itertuples(index=False)) if path.exists() else {}

    def pilot(self) -> pd.DataFrame | None:
        """The units of the pilot, a row each, or None where none was run."""
        path = self.folder / PILOT / f"{UNITS}.csv"
        return pd.read_csv(path) if path.exists() else None


def runs_of(part_runs: PartRuns) -> list[Snapshot]:
    """The runs of a part, each once."""
    return [tables.opened(path) for path in dict.fromkeys(path for path, _, _ in part_runs.runs)]


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes of one thread each; spawned, since torch's threads do not survive a fork."""
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )


def on_all_cores(function: Callable[[Item], pd.DataFrame], items: Sequence[Item]) -> pd.DataFrame:
    """The rows that `function` makes of each item, such as a run directory, in order; a core works on one at a time."""
    with pool(len(os.sched_getaffinity(0))) as workers:
        rows: pd.DataFrame = pd.concat(workers.map(function, items), ignore_index=True)
    return rows


def by_task(table: pd.DataFrame, value: str = "test", arm: str = "arm") -> pd.DataFrame:
    """Means over seeds: a row for each arm, a column for each task.

    Args:
        table: with columns task, and those that `value` and `arm` name.

    Columns:
        arm; the tasks' names.
    """
    return table.pivot_table(index=arm, columns="task", values=value, sort=False).reset_index()


def sizes(table: pd.DataFrame) -> pd.DataFrame:
    """What is left of the prompt in each arm, and what it reached: means over all tasks and seeds.

    Args:
        table: rows of `reached`.

    Columns:
        arm, tokens, density, updates, test.
    """
    return table.groupby("arm", sort=False)[["tokens", "density", "updates", "test"]].mean().reset_index()


def in_subsets(arms: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """What every arm reached in each training subset, and what is left of the prompt in it: two tables with titles.

    Args:
        arms: rows of `reached`.
    """
    return [
        ("Test accuracy by training subset, means over seeds", by_task(arms)),
        ("Size, updates and test accuracy, means over all", sizes(arms)),
    ]


def dense_prompts(results: Tables) -> pd.DataFrame:
    """What the dense prompts came to, of a study whose table `arms` holds them."""
    return results["arms"][results["arms"]["arm"] == "dense"]


def reached(
    part_runs: PartRuns, arm: str | None = None, named: Callable[[Mapping[str, Any]], str] | None = None
) -> pd.DataFrame:
    """What one arm of every experiment of a part came to, or all: `tables.arms`' columns, models by their last name.

    Training subsets are told apart as by `subsets.by_subset`.

    Args:
        arm: such as "ticket" or "dense"; None for all, by their own names.
        named: settings of an experiment -> what the study calls that one arm, which keeps its own name by default.
    """
    by_run = []
    for path, settings, stage in part_runs.runs:
        arms = tables.arms(tables.opened(path), stage)
        if arm is not None:
            arms = arms[arms["arm"] == arm].assign(arm=named(settings) if named else arm)
        by_run.append(by_subset(arms, settings))
    return short_models(pd.concat(by_run, ignore_index=True))


def short_models(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each model by the last name of its path."""
    return table.assign(model=table["model"].map(lambda path: Path(path).name))
