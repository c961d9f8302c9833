"""What an engine is given, and what it gives back: one job per run directory, as text.

A job holds the experiments that share a run directory (they differ in pruning, search or seeds alone), so that one
process at a time writes there. What was done is found again by receipts, small files beside the runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prunekit.experiment.settings import SCHEMA, Experiment
from prunekit.experiment.sweep.grid import Grid
from prunekit.runs.paths import MANIFEST, SETTINGS
from prunekit.support import atomic
from prunekit.support.digest import identity
from prunekit.support.errors import ArtifactError, ConfigError
from prunekit.tasks.catalog import task_places

#: Beside the runs: receipts of finished experiments, and an engine's own files.
LEDGER = ".sweep"

# these decide no part of round 0, or not what comes out
_NOT_ROUND_0 = {"pruning", "search", "seeds", "machine"}


@dataclass(frozen=True)
class Task:
    """One experiment of a job. key: hex digits over its settings and over what its files look like from outside."""

    key: str
    label: str
    experiment: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What one engine task does, in order.

    Attributes:
        out: the folder that holds runs.
        folder: where relative paths start.
        environment: variables that the worker sets.
        store: URL of the store that holds the runs in place of `out`, or "".
    """

    key: str
    verb: str
    controls: bool
    out: str
    folder: str
    tasks: tuple[Task, ...]
    environment: dict[str, str] = field(default_factory=dict)
    store: str = ""

    def to_text(self) -> str:
        """The job as JSON."""
        return json.dumps(asdict(self))  # in the order of the settings: that of label words counts

    @classmethod
    def from_text(cls, text: str) -> Job:
        """The inverse of `to_text`."""
        table = json.loads(text)
        return cls(**table | {"tasks": tuple(Task(**task) for task in table["tasks"])})


@dataclass(frozen=True)
class Outcome:
    """What became of one task.

    Attributes:
        run: name of its run directory, "" where it failed before it had one.
        stage: of its tickets.
        places: the rounds that it finished or found finished.
        trained: trainings that were made for it now.
        failed: why, in one line, or "".
        worker: host, process and node.
        again: rounds that the store held damaged, which were left out and done again.
    """

    key: str
    label: str
    run: str = ""
    stage: str = ""
    places: tuple[str, ...] = ()
    trained: int = 0
    seconds: float = 0.0
    failed: str = ""
    worker: str = ""
    again: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What became of it, in a line."""
        news = f"failed: {self.failed}" if self.failed else self.run
        spent = f"{self.trained} training(s), {self.seconds:.0f} s, {self.worker or 'worker gone'}"
        if self.again:
            spent += f"; damaged in the store and done again: {', '.join(self.again)}"
        return f"{self.label}: {news} ({spent})"

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Outcome:
        """From what `asdict` gave, through JSON."""
        return cls(**table | {name: tuple(table[name]) for name in ("places", "again")})


def jobs(grid: Grid, out: Path, experiments: Sequence[Experiment], store: str = "") -> list[Job]:
    """Jobs for some of a grid's experiments: those of one model together, so that a worker finds it loaded."""
    groups: dict[str, list[Task]] = {}
    order: dict[str, tuple[str, str]] = {}
    for experiment in experiments:
        settings = experiment.model_dump(mode="json")
        shared = {name: part for name, part in settings.items() if name not in _NOT_ROUND_0}
        group = identity({"settings": shared, "verb": grid.options.verb}, 12)
        groups.setdefault(group, []).append(Task(key(experiment, grid), grid.label(experiment), settings))
        order.setdefault(group, (str(settings["model"]), str(settings["task"])))
    parts = dict.fromkeys(part for pair in order.values() for part in pair)
    rank = {part: number for number, part in enumerate(parts)}
    names = sorted(groups, key=lambda group: [rank[part] for part in order[group]])
    options, offline = grid.options, os.environ.get("HF_HUB_OFFLINE")
    environment = {} if offline is None else {"HF_HUB_OFFLINE": offline}
    where = (options.verb, options.controls, str(out), str(Path.cwd()))
    return [Job(name, *where, tuple(groups[name]), environment, store) for name in names]


def key(experiment: Experiment, grid: Grid) -> str:
    """A name for what an experiment of a grid asks for.

    It is over the settings and over names, sizes and dates of the files of a local model, of the task with its rows and
    label words, and of what the prompt starts from: a changed file makes the run be looked at again, by content. Where
    it runs is no part of it.
    """
    settings = experiment.model_dump(mode="json", exclude={"machine"})
    facts = {"schema": SCHEMA, "settings": settings, "files": [_file_facts(name) for name in _places(experiment)]}
    return identity(facts | {"verb": grid.options.verb, "controls": grid.options.controls}, 16)


def receipt(out: Path, key: str) -> Outcome | None:
    """The receipt of a finished experiment, where its run directory still holds what it names."""
    outcome = read_receipt(out, key)
    if outcome is None:
        return None
    try:
        folder = out / outcome.run
        whole = (folder / SETTINGS).is_file() and all((folder / place / MANIFEST).is_file() for place in outcome.places)
    except (OSError, ValueError, TypeError):
        return None
    return outcome if whole else None


def read_receipt(out: Path, key: str) -> Outcome | None:
    """The receipt by itself; a damaged one is as none: the run itself is looked at."""
    from prunekit.runs import checksums

    try:
        table = checksums.read_stamped(out / receipt_name(key))
        outcome = Outcome.from_table({name: value for name, value in table.items() if name != "sha256"})
    except (ArtifactError, ValueError, TypeError, KeyError):
        return None
    return outcome if outcome.key == key else None


def write_receipt(out: Path, outcome: Outcome) -> None:
    """Say that an experiment is finished; written last, by who finished it."""
    from prunekit.runs import checksums

    atomic.replace(out / receipt_name(outcome.key), checksums.stamped(asdict(outcome)))


def receipt_name(key: str) -> str:
    """Where a receipt lies beside the runs."""
    return f"{LEDGER}/{key}.json"


def _places(experiment: Experiment) -> list[str]:
    """Where that lies which a run is made of."""
    task, prompt = experiment.task, experiment.prompt
    of_prompt = [place for place in (prompt.init_from, prompt.start_from, *(prompt.subspace_from or ())) if place]
    of_task = [task.name]
    with suppress(ConfigError):  # the run itself says what is wrong with its task
        of_task = task_places(task.name, task.data, task.columns)
    return [experiment.model.name, *of_task, *of_prompt]


def _file_facts(name: str) -> list[Any]:
    """Names, sizes and dates of the files of a local folder or file; a Hub name alone."""
    path = Path(name)
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []
    facts = [(str(file.relative_to(path)), file.stat()) for file in files if file.is_file()]
    return [name, *[[inside, stat.st_size, stat.st_mtime_ns] for inside, stat in facts]]
