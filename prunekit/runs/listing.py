"""The runs of a folder at a glance, from few small files of each: a folder of hundreds is listed in a second.

What is shown is read from the journal, the settings and the results of the rounds as they are; `verify` compares them.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from prunekit.runs.address import TOLERANCE
from prunekit.runs.overview import runs_in
from prunekit.runs.paths import JOURNAL, RESULT, SETTINGS, RunKey
from prunekit.runs.reader import RunReader
from prunekit.runs.summary import RoundSummary, rank_of, shared_seeds, smallest
from prunekit.support import reading
from prunekit.support.errors import PrunekitError


@dataclass(frozen=True)
class ListedRun:
    """A run in a line.

    Attributes:
        changed: when its last round was finished, seconds since 1970.
        finished_tickets: all rounds that trained or chose a ticket, controls and trials among them.
        dense: mean of the primary metric on test over seeds, None where none finished.
        best: the same of the smallest ticket within 0.01 of dense on validation.
        kept: what that ticket keeps, such as "5 x 8" or "rank 4"; "" where it is the dense prompt.
        problem: why nothing is told of it, "" where something is.
    """

    path: Path
    changed: float
    model: str = ""
    task: str = ""
    metric: str = ""
    seeds: tuple[int, ...] = ()
    finished_tickets: int = 0
    dense: float | None = None
    best: float | None = None
    kept: str = ""
    problem: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """The same by name, without what is not told."""
        if self.problem:
            return {"run": str(self.path), "changed": self.date, "problem": self.problem}
        facts = {name: value for name, value in vars(self).items() if name not in ("path", "problem")}
        return {"run": str(self.path), **facts, "seeds": list(self.seeds), "changed": self.date}

    @property
    def date(self) -> str:
        """When it changed, in local time, such as "2026-11-27 22:51"."""
        return f"{datetime.fromtimestamp(self.changed).astimezone():%Y-%m-%d %H:%M}"


def list_runs(folder: Path) -> list[ListedRun]:
    """Every run of a folder, the newest last."""
    return sorted(map(_listed, runs_in(folder)), key=lambda run: (run.changed, run.path.name))


def _listed(path: Path) -> ListedRun:
    """A run's line, or the first thing that is wrong."""
    changed = max((_time(path / name) for name in (JOURNAL, SETTINGS)), default=0.0)
    try:
        return _summarised(RunReader(path), changed)
    except (PrunekitError, OSError, KeyError, TypeError, ValueError) as error:
        return ListedRun(path, changed, problem=str(error) or type(error).__name__)


def _summarised(run: RunReader, changed: float) -> ListedRun:
    settings = run.first_settings()
    metric = str(settings["metric"])
    there = os.path.exists  # making a Path of each takes as long as all the rest
    keys = [key for key in _rounds(run) if there(f"{run.path}/{key}/{RESULT}")]
    rounds = _summaries(run, [key for key in keys if key.stage.is_dense or key.stage.is_pruned], metric)
    dense, best = next((entry for entry in rounds if not entry.round), None), smallest(rounds, TOLERANCE)
    return ListedRun(
        run.path,
        changed,
        model=Path(settings["model"]["name"]).name,
        task=settings["task"]["name"],
        metric=metric,
        seeds=tuple(settings["seeds"]),
        finished_tickets=len(keys),
        dense=None if dense is None else dense.test,
        best=None if best is None else best.test,
        kept=best.keep.brief if best and best.round else "",
    )


def _rounds(run: RunReader) -> Iterable[RunKey]:
    """The finished rounds, as the run says itself."""
    written = run.written_journal()
    return run.rounds() if written is None else written[0].rounds


def _summaries(run: RunReader, keys: Iterable[RunKey], metric: str) -> list[RoundSummary]:
    """The rounds of tickets over the seeds that all have come to; controls and trials are no tickets."""
    tickets = [key for key in keys if not key.stage.arm]
    seeds: dict[tuple[str, int], set[int]] = defaultdict(set)
    for key in tickets:
        seeds[key.stage, key.round].add(key.seed)
    shared = shared_seeds(seeds.values())
    rounds: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for key in tickets:
        result = json.loads(reading.content(run.folder(key) / RESULT, reading.JSON, run.path))
        if result["status"] == "done" and (key.seed in shared or not shared):
            rounds[key.stage, key.round].append(result)
    return [_mean(stage, round, results, metric) for (stage, round), results in sorted(rounds.items())]


def _mean(stage: str, round: int, results: list[dict[str, Any]], metric: str) -> RoundSummary:
    first = results[0]
    validation, test = (fmean(result[split][metric] for result in results) for split in ("validation", "test"))
    kept = {name: first[name] for name in ("tokens", "pieces", "cells", "density")}
    return RoundSummary(
        stage=stage,
        round=round,
        seeds=len(results),
        validation=validation,
        test=test,
        low=None,
        high=None,
        rank=rank_of(first),
        **kept,
    )


def _time(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
