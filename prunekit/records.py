"""The files of one member's round: from what was learned to bytes, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from prunekit import disk, runs
from prunekit.cohort import Values
from prunekit.errors import ArtifactError
from prunekit.evaluation import Evaluation
from prunekit.importance import Kind
from prunekit.lottery import Learned
from prunekit.pruning import Scores
from prunekit.runs import Run
from prunekit.tasks import Example
from prunekit.tickets import State, Ticket, pack, unpack
from prunekit.training import Checkpoint, Trained


@dataclass(frozen=True)
class Outcome:
    """All that is written about one member's round.

    importance: scores by kind, empty where training diverged.  majority: by split, the primary metric of the best
    answer that ignores the text.  pruned_by: the kind of score that made the mask, None in the dense round.
    """

    ticket: Ticket
    trained: Trained
    kept_at: Checkpoint
    importance: Mapping[Kind, Scores]
    selection: Sequence[Example]
    report: Sequence[Example]
    report_evaluation: Evaluation | None
    report_metrics: Mapping[str, float]
    majority: Mapping[str, float]
    pruned_by: Kind | None
    run: str


def content(outcome: Outcome) -> dict[str, bytes]:
    """File name -> bytes; no file but `timing.json`, which is not here, holds a time."""
    trained = outcome.trained
    files = {
        runs.TICKET: outcome.ticket.to_bytes(),
        runs.TRAINED: pack(
            _prefixed("best", trained.best.values) | _prefixed("last", trained.last.values),
            {"best_step": trained.best.step, "last_step": trained.last.step, "kept_step": outcome.kept_at.step},
        ),
        runs.LOG: disk.as_parquet(_log(trained)),
        runs.PREDICTIONS: disk.as_parquet(_predictions(outcome)),
        runs.RESULT: disk.as_json(_result(outcome)),
    }
    if outcome.importance:
        files[runs.SCORES] = _packed_scores(outcome.importance)
    if trained.snapshots:
        tensors: dict[str, Any] = {}
        for step, values in trained.snapshots.items():
            tensors |= _prefixed(str(step), values)
        files[runs.SNAPSHOTS] = pack(tensors, {"steps": sorted(trained.snapshots)})
    return files


def load(run: Run, stage: str, seed: int, number: int, kind: Kind) -> tuple[Ticket, Learned]:
    """A finished round back from disk: the ticket it started from, and what was learned, with its `kind` of scores.

    Raises: ArtifactError naming the file that is missing or damaged.
    """
    ticket = Ticket.load(run.read(stage, seed, number, runs.TICKET))
    if (ticket.seed, ticket.round) != (seed, number):
        raise ArtifactError(f"{run.round_path(stage, seed, number)}: holds the ticket of another round or seed")
    names = run.manifest(stage, seed, number)["files"]
    scores = load_scores(run, stage, seed, number)[kind] if runs.SCORES in names else None
    snapshots = {}
    if runs.SNAPSHOTS in names:
        tensors, facts = unpack(run.read(stage, seed, number, runs.SNAPSHOTS))
        snapshots = {step: _unprefixed(str(step), tensors) for step in facts["steps"]}
    return ticket, Learned(kept_values(run, stage, seed, number), scores, snapshots)


def kept_values(run: Run, stage: str, seed: int, number: int) -> Values:
    """The values that a finished round kept."""
    tensors, facts = unpack(run.read(stage, seed, number, runs.TRAINED))
    return _unprefixed("best" if facts["kept_step"] == facts["best_step"] else "last", tensors)


def finished_ticket(run: Run, stage: str, seed: int, number: int) -> Ticket:
    """The ticket as a finished round left it: its mask, and the values that were kept."""
    ticket = Ticket.load(run.read(stage, seed, number, runs.TICKET))
    values = kept_values(run, stage, seed, number)
    return replace(ticket, state=values.state, head=values.head)


def load_scores(run: Run, stage: str, seed: int, number: int) -> dict[Kind, Scores]:
    """The scores of a finished round, by kind."""
    tensors, facts = unpack(run.read(stage, seed, number, runs.SCORES))
    kinds: dict[Kind, int] = facts["examples"]
    return {kind: Scores(tensors[f"{kind}.token"], tensors[f"{kind}.piece"], count) for kind, count in kinds.items()}


def _packed_scores(importance: Mapping[Kind, Scores]) -> bytes:
    tensors = {f"{kind}.token": scores.token for kind, scores in importance.items()}
    tensors |= {f"{kind}.piece": scores.piece for kind, scores in importance.items()}
    return pack(tensors, {"examples": {kind: scores.examples for kind, scores in importance.items()}})


def _log(trained: Trained) -> pd.DataFrame:
    rows = [(entry.step, entry.split, entry.metric, entry.value) for entry in trained.log]
    return pd.DataFrame(rows, columns=["step", "split", "metric", "value"])


def _predictions(outcome: Outcome) -> pd.DataFrame:
    """One row per example of `selection` (at the kept values) and of `report`."""
    parts = [
        ("selection", outcome.selection, outcome.kept_at.evaluation),
        ("report", outcome.report, outcome.report_evaluation),
    ]
    tables = [_predicted(split, examples, found) for split, examples, found in parts if found is not None]
    columns = ["split", "example", "choice", "gold", "loss", "score"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _predicted(split: str, examples: Sequence[Example], found: Evaluation) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "split": split,
            "example": [example.index for example in examples],
            "choice": found.chosen.tolist(),
            "gold": [list(example.gold) for example in examples],
            "loss": found.losses.tolist(),
            "score": found.scores.tolist(),
        }
    )


def _result(outcome: Outcome) -> dict[str, Any]:
    """One row of the results table; metrics are nested by split."""
    ticket, trained = outcome.ticket, outcome.trained
    mask = ticket.mask
    head = sum(value.numel() for value in (ticket.head or {}).values())
    return {
        "run": outcome.run,
        "seed": ticket.seed,
        "round": ticket.round,
        "status": "diverged" if trained.diverged else "done",
        "reason": trained.diverged,
        "rewind": str(ticket.rewind),
        "absent": ticket.absent,
        "method": ticket.method,
        "pruned_by": outcome.pruned_by,
        "tokens": mask.tokens,
        "pieces": int(mask.piece.sum(dim=1).max()),
        "cells": mask.cells,
        "density": mask.density,
        "parameters": ticket.prompt().prompt.trainable(mask),
        "head_parameters": head,
        "steps": trained.steps,
        "kept_step": outcome.kept_at.step,
        "selection": dict(outcome.kept_at.metrics),
        "report": dict(outcome.report_metrics),
        "majority": dict(outcome.majority),
    }


def _prefixed(prefix: str, values: Values) -> dict[str, Any]:
    return {f"{prefix}/{name}": tensor for name, tensor in values.flat().items()}


def _unprefixed(prefix: str, tensors: State) -> Values:
    start = f"{prefix}/"
    return Values.from_flat({n.removeprefix(start): tensor for n, tensor in tensors.items() if n.startswith(start)})
