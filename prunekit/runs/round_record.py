"""One member's round as it is written: from what was learned to the bytes of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket, Values
from prunekit.runs import paths
from prunekit.runs.paths import RunKey
from prunekit.runs.reader import RunReader
from prunekit.runs.ticket_file import pack, ticket_bytes
from prunekit.support import atomic
from prunekit.tasks import Example, Splits, Task

if TYPE_CHECKING:  # they import transformers, and who only writes records needs none
    from prunekit.engine.evaluate import Evaluation
    from prunekit.engine.train import Checkpoint, Trained


# characters of a question that a page shows
_TEXT_SHOWN = 1_000


@dataclass(frozen=True)
class RoundRecord:
    """All that is written about one member's round.

    Attributes:
        importance: scores by kind, empty where training diverged.
        validation: what was answered at the kept values.
        test: what was answered to the test split, None where nobody looked.
        majority: by split, the primary metric of the best answer that ignores the text.
        pruned_by: the kind of score that made the mask, None in the dense round.
        cache: of a prefix of keys and values: the bytes that a request keeps of it, and how many layers and key-value
            heads its model has; nothing of input vectors.
    """

    ticket: Ticket
    trained: Trained
    kept_at: Checkpoint
    importance: Mapping[str, Scores]
    task: Task
    splits: Splits
    validation: Evaluation | None
    test: Evaluation | None
    majority: Mapping[str, float]
    pruned_by: str | None
    run: str
    cache: Mapping[str, int] = field(default_factory=dict)


def content(record: RoundRecord) -> dict[str, bytes]:
    """The files of a round, bytes by name; no file but `timing.json`, which is not here, holds a time."""
    trained = record.trained
    files = {
        paths.TICKET: ticket_bytes(record.ticket),
        paths.TRAINED: pack(
            _prefixed("best", trained.best.values) | _prefixed("last", trained.last.values),
            {"best_step": trained.best.step, "last_step": trained.last.step, "kept_step": record.kept_at.step},
        ),
        paths.LOG: atomic.as_parquet(_log(trained)),
        paths.PREDICTIONS: atomic.as_parquet(_predictions(record)),
        paths.RESULT: atomic.as_json(_result(record)),
    }
    if record.importance:
        files[paths.SCORES] = packed_scores(record.importance)
    if trained.snapshots:
        tensors: dict[str, Any] = {}
        for step, values in trained.snapshots.items():
            tensors |= _prefixed(str(step), values)
        files[paths.SNAPSHOTS] = pack(tensors, {"steps": sorted(trained.snapshots)})
    return files


@dataclass(frozen=True)
class TestEvaluation:
    """What was measured of a ticket that was chosen among others.

    Attributes:
        validation: what it wrote to that split, where answers are written; else what is on record stands.
        test: what it answered to that split, or None where it diverged.
        importance: scores by kind.
        diverged: why there is neither test nor importance, or None.
    """

    task: Task
    splits: Splits
    validation: Evaluation | None
    test: Evaluation | None
    importance: Mapping[str, Scores]
    diverged: str | None


def chosen(run: RunReader, key: RunKey, look: TestEvaluation) -> dict[str, bytes]:
    """The files of a ticket that was chosen among others: those of its round, with its look at the test split.

    Args:
        run: where the round lies.
        key: of the round that it is a copy of.
        look: what was measured on the test split.
    """
    files = {name: run.content(key, name) for name in (paths.TICKET, paths.TRAINED, paths.LOG)}
    before = run.table(key, paths.PREDICTIONS)
    tables = [before[before["split"] == "validation"]]
    result = run.result(key) | {"test": {}, "chosen_from": str(key.stage)}
    if look.validation is not None:
        tables = [_predicted(look.task, "validation", look.splits.validation, look.validation)]
        result["validation"] = metrics_of(look.task, look.splits.validation, look.validation)
    if look.test is not None:
        tables.append(_predicted(look.task, "test", look.splits.test, look.test))
        result["test"] = metrics_of(look.task, look.splits.test, look.test)
    if look.importance:
        files[paths.SCORES] = packed_scores(look.importance)
    if look.diverged is not None:
        result |= {"status": "diverged", "reason": look.diverged}
    return files | {
        paths.PREDICTIONS: atomic.as_parquet(pd.concat(tables)),
        paths.RESULT: atomic.as_json(result),
    }


def packed_scores(importance: Mapping[str, Scores]) -> bytes:
    """The file of scores by kind."""
    tensors = {f"{kind}.token": scores.token for kind, scores in importance.items()}
    tensors |= {f"{kind}.piece": scores.piece for kind, scores in importance.items()}
    facts: dict[str, Any] = {"examples": {kind: scores.examples for kind, scores in importance.items()}}
    if more := {kind: dict(scores.facts) for kind, scores in importance.items() if scores.facts}:
        facts["facts"] = more
    return pack(tensors, facts)


def _log(trained: Trained) -> pd.DataFrame:
    rows = [(entry.step, entry.split, entry.metric, entry.value) for entry in trained.log]
    return pd.DataFrame(rows, columns=["step", "split", "metric", "value"])


def _predictions(record: RoundRecord) -> pd.DataFrame:
    """One row per example of `validation` (at the kept values) and of `test`."""
    parts = [
        ("validation", record.splits.validation, record.validation),
        ("test", record.splits.test, record.test),
    ]
    return predictions(record.task, parts)


def predictions(
    task: Task, parts: Iterable[tuple[str, Sequence[Example], Evaluation | None]], *, with_texts: bool = False
) -> pd.DataFrame:
    """What was answered, as it is on record.

    Args:
        task: what judges the answers.
        parts: split, its examples, and what was answered to them.
        with_texts: beside what is written, also the questions and references, for a page of the run to show.

    Columns:
        split, example (its index), choice, gold (indices of the right answers), loss, score (of the choice); where
        answers are written also answer (text), tokens, ended ("end", "stop" or "length"), and for each metric what the
        row adds to it (list of numbers, see `TextMetric`): choice and gold are then 0, since only the target is scored;
        text (its end) and references (list of texts), where asked for.
    """
    tables = [
        _predicted(task, split, examples, evaluation, with_texts=with_texts)
        for split, examples, evaluation in parts
        if evaluation is not None
    ]
    columns = ["split", "example", "choice", "gold", "loss", "score"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def metrics_of(task: Task, examples: Sequence[Example], evaluation: Evaluation) -> dict[str, float]:
    """The metrics of a task, and the mean loss where answers are written."""
    metrics = task.score(examples, evaluation.answers)
    return metrics | {"loss": float(evaluation.losses.mean())} if task.open else metrics


def _predicted(
    task: Task, split: str, examples: Sequence[Example], evaluation: Evaluation, *, with_texts: bool = False
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "split": split,
            "example": [example.index for example in examples],
            "choice": evaluation.chosen.tolist(),
            "gold": [list(example.gold) for example in examples],
            "loss": evaluation.losses.tolist(),
            "score": evaluation.scores.tolist(),
        }
    )
    if (written := evaluation.written) is None:
        return table
    texts = [answer.text for answer in written]
    columns: dict[str, list[Any]] = {
        "answer": texts,
        "tokens": [len(answer.ids) for answer in written],
        "ended": [answer.ended for answer in written],
    }
    columns |= {name: rows.tolist() for name, rows in task.row_statistics(examples, texts).items()}
    if with_texts:
        columns["text"] = [example.text[-_TEXT_SHOWN:] for example in examples]
        columns["references"] = [list(example.references) for example in examples]
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def _validation_metrics(record: RoundRecord) -> dict[str, float]:
    """Those of the checkpoint that was kept; of written answers, as far as they were read, with the loss that chose."""
    if not record.task.open or record.validation is None:
        return dict(record.kept_at.metrics)
    if record.validation.written is None:
        return {"loss": float(record.validation.losses.mean())}
    return metrics_of(record.task, record.splits.validation, record.validation)


def _result(record: RoundRecord) -> dict[str, Any]:
    """One row of the results table; metrics are nested by split."""
    ticket, trained = record.ticket, record.trained
    mask = ticket.mask
    head = sum(value.numel() for value in (ticket.head or {}).values())
    return {
        "run": record.run,
        "seed": ticket.seed,
        "round": ticket.round,
        "status": _status(trained),
        "reason": trained.diverged,
        "rewind": str(ticket.rewind),
        "dropped_as": ticket.dropped_as,
        "method": ticket.method,
        "pruned_by": record.pruned_by,
        "tokens": mask.tokens,
        "pieces": ticket.pieces,
        "cells": mask.cells,
        "density": ticket.density,
        "parameters": ticket.prompt().prompt.trainable(ticket.learning),
        "head_parameters": head,
        "steps": trained.steps,
        "kept_step": record.kept_at.step,
        "validation": _validation_metrics(record),
        "test": {} if record.test is None else metrics_of(record.task, record.splits.test, record.test),
        "majority": dict(record.majority),
        **({} if ticket.rank is None else {"rank": ticket.rank}),
        **record.cache,
    }


def _status(trained: Trained) -> str:
    if trained.diverged:
        return "diverged"
    return "done" if trained.dropped_at is None else f"dropped at step {trained.dropped_at}"


def _prefixed(prefix: str, values: Values) -> dict[str, Any]:
    return {f"{prefix}/{name}": tensor for name, tensor in values.flat().items()}
