"""The files of one member's round: from what was learned to bytes, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunekit.pruning.lottery import RoundResult
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import State, Ticket, Values
from prunekit.runs import paths
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import finite, load_ticket, pack, ticket_bytes, unpack
from prunekit.support import atomic
from prunekit.support.errors import ArtifactError
from prunekit.tasks import Example

if TYPE_CHECKING:  # they import transformers, and who only reads records needs none
    from prunekit.engine.evaluate import Evaluation
    from prunekit.engine.train import Checkpoint, Trained


@dataclass(frozen=True)
class Outcome:
    """All that is written about one member's round.

    Attributes:
        importance: scores by kind, empty where training diverged.
        majority: by split, the primary metric of the best answer that ignores the text.
        pruned_by: the kind of score that made the mask, None in the dense round.
    """

    ticket: Ticket
    trained: Trained
    kept_at: Checkpoint
    importance: Mapping[str, Scores]
    validation: Sequence[Example]
    test: Sequence[Example]
    test_evaluation: Evaluation | None
    test_metrics: Mapping[str, float]
    majority: Mapping[str, float]
    pruned_by: str | None
    run: str


def content(outcome: Outcome) -> dict[str, bytes]:
    """File name -> bytes; no file but `timing.json`, which is not here, holds a time."""
    trained = outcome.trained
    files = {
        paths.TICKET: ticket_bytes(outcome.ticket),
        paths.TRAINED: pack(
            _prefixed("best", trained.best.values) | _prefixed("last", trained.last.values),
            {"best_step": trained.best.step, "last_step": trained.last.step, "kept_step": outcome.kept_at.step},
        ),
        paths.LOG: atomic.as_parquet(_log(trained)),
        paths.PREDICTIONS: atomic.as_parquet(_predictions(outcome)),
        paths.RESULT: atomic.as_json(_result(outcome)),
    }
    if outcome.importance:
        files[paths.SCORES] = _packed_scores(outcome.importance)
    if trained.snapshots:
        tensors: dict[str, Any] = {}
        for step, values in trained.snapshots.items():
            tensors |= _prefixed(str(step), values)
        files[paths.SNAPSHOTS] = pack(tensors, {"steps": sorted(trained.snapshots)})
    return files


def load(run: Run, key: RunKey, kind: str, metric: str) -> tuple[Ticket, RoundResult]:
    """A finished round back from disk: the ticket it started from, and what was learned, with its `kind` of scores.

    Args:
        metric: the primary one.

    Raises:
        ArtifactError: naming the file that is missing or damaged.
    """
    ticket = load_ticket(run.read(key, paths.TICKET))
    if (ticket.seed, ticket.round) != (key.seed, key.round):
        raise ArtifactError(f"{run.folder(key)}: holds the ticket of another round or seed")
    names = run.manifest(key)["files"]
    scores = load_scores(run, key)[kind] if paths.SCORES in names else None
    snapshots = {}
    if paths.SNAPSHOTS in names:
        tensors, facts = unpack(run.read(key, paths.SNAPSHOTS))
        snapshots = {step: _unprefixed(str(step), tensors) for step in facts["steps"]}
    result = run.result(key)
    reached = result["validation"][metric] if result["status"] == "done" else None
    return ticket, RoundResult(kept_values(run, key), reached, scores, snapshots)


def kept_values(run: Run, key: RunKey) -> Values:
    """The values that a finished round kept."""
    tensors, facts = unpack(run.read(key, paths.TRAINED))
    return _unprefixed("best" if facts["kept_step"] == facts["best_step"] else "last", tensors)


def finished_ticket(run: Run, key: RunKey) -> Ticket:
    """The ticket as a finished round left it: its mask, and the values that were kept."""
    ticket = load_ticket(run.read(key, paths.TICKET))
    return ticket.at(kept_values(run, key))


def locate(path: Path) -> tuple[Run, RunKey] | None:
    """The run and place of a finished round's directory; None for a ticket file.

    Raises:
        ArtifactError: where the path is neither.
    """
    if path.is_file() and (path.parent / paths.MANIFEST).is_file():
        path = path.parent  # a round's own file holds its start; what is meant is what became of it
    if path.is_file():
        return None
    if not (path / paths.MANIFEST).is_file():
        raise ArtifactError(f"{path}: neither a ticket file nor a finished round's directory (seed=0/round=00)")
    path = path.resolve()
    above = next((one for one in path.parents if (one / paths.SETTINGS).is_file()), None)
    if above is None:
        raise ArtifactError(f"{path}: a round outside its run (no {paths.SETTINGS} above it)")
    try:
        return Run(above), RunKey.parse(path.relative_to(above))
    except ValueError as error:
        raise ArtifactError(f"{path}: not named like a round (seed=0/round=00)") from error


def open_ticket(path: Path) -> Ticket:
    """The ticket that a finished round's directory holds as it was left, or that a ticket file holds.

    Raises:
        ArtifactError: where the path is neither, damaged, or holds values that are no numbers.
    """
    key = locate(path)
    return finite(load_ticket(path) if key is None else finished_ticket(*key), path)


def load_scores(run: Run, key: RunKey) -> dict[str, Scores]:
    """The scores of a finished round, by kind."""
    tensors, facts = unpack(run.read(key, paths.SCORES))
    kinds: dict[str, int] = facts["examples"]
    return {kind: Scores(tensors[f"{kind}.token"], tensors[f"{kind}.piece"], count) for kind, count in kinds.items()}


@dataclass(frozen=True)
class TestEvaluation:
    """What was measured of a ticket that was chosen among others.

    Attributes:
        test: on the `examples` of the test split.
        metrics: on the `examples` of the test split.
        diverged: why there are none, and no scores, or None.
    """

    examples: Sequence[Example]
    test: Evaluation | None
    metrics: Mapping[str, float]
    importance: Mapping[str, Scores]
    diverged: str | None


def chosen(run: Run, key: RunKey, look: TestEvaluation) -> dict[str, bytes]:
    """The files of a ticket that was chosen among others: those of its round, with its look at the test split."""
    files = {name: run.read(key, name).read_bytes() for name in (paths.TICKET, paths.TRAINED, paths.LOG)}
    before = pd.read_parquet(run.read(key, paths.PREDICTIONS))
    tables = [before[before["split"] == "validation"]]
    result = run.result(key) | {"test": dict(look.metrics), "chosen_from": key.stage}
    if look.test is not None:
        tables.append(_predicted("test", look.examples, look.test))
    if look.importance:
        files[paths.SCORES] = _packed_scores(look.importance)
    if look.diverged is not None:
        result |= {"status": "diverged", "reason": look.diverged}
    return files | {
        paths.PREDICTIONS: atomic.as_parquet(pd.concat(tables)),
        paths.RESULT: atomic.as_json(result),
    }


def _packed_scores(importance: Mapping[str, Scores]) -> bytes:
    tensors = {f"{kind}.token": scores.token for kind, scores in importance.items()}
    tensors |= {f"{kind}.piece": scores.piece for kind, scores in importance.items()}
    return pack(tensors, {"examples": {kind: scores.examples for kind, scores in importance.items()}})


def _log(trained: Trained) -> pd.DataFrame:
    rows = [(entry.step, entry.split, entry.metric, entry.value) for entry in trained.log]
    return pd.DataFrame(rows, columns=["step", "split", "metric", "value"])


def _predictions(outcome: Outcome) -> pd.DataFrame:
    """One row per example of `validation` (at the kept values) and of `test`."""
    parts = [
        ("validation", outcome.validation, outcome.kept_at.evaluation),
        ("test", outcome.test, outcome.test_evaluation),
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
        "status": _status(trained),
        "reason": trained.diverged,
        "rewind": str(ticket.rewind),
        "dropped_as": ticket.dropped_as,
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
        "validation": dict(outcome.kept_at.metrics),
        "test": dict(outcome.test_metrics),
        "majority": dict(outcome.majority),
    }


def _status(trained: Trained) -> str:
    if trained.diverged:
        return "diverged"
    return "done" if trained.dropped_at is None else f"dropped at step {trained.dropped_at}"


def _prefixed(prefix: str, values: Values) -> dict[str, Any]:
    return {f"{prefix}/{name}": tensor for name, tensor in values.flat().items()}


def _unprefixed(prefix: str, tensors: State) -> Values:
    start = f"{prefix}/"
    return Values.from_flat({n.removeprefix(start): tensor for n, tensor in tensors.items() if n.startswith(start)})
