"""Measures the base lines of a run, or says what that would be; what lies there already is left as it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from prunekit.experiment import environment
from prunekit.experiment.baselines import BASE_LINES, Answers, BaseLine
from prunekit.experiment.dry_run import Part
from prunekit.experiment.prepare import Prepared
from prunekit.experiment.round_runner import RoundRunner
from prunekit.runs import round_record
from prunekit.runs.paths import BASELINES, FACTS, PREDICTIONS, RunKey
from prunekit.runs.reader import RunReader
from prunekit.runs.run import Files
from prunekit.support import atomic


def measure(runner: RoundRunner) -> None:
    """Every base line that applies, each committed as soon as it is measured; what it reached on validation is said."""
    for base_line, keys in _keys(runner.prepared).items():
        for key in keys:
            if not runner.directory.done([key]):
                _commit(runner, base_line, key)


def parts(prepared: Prepared, run: RunReader | None = None) -> list[Part]:
    """What `measure` would do; of a `run` that is there, also what of it is finished.

    One without training is taken to read validation and test once, and LoRA to take as long as a dense round.
    """
    length = fmean(row.length for row in (*prepared.training_data.validation, *prepared.test))
    prompt_tokens = prepared.experiment.prompt.tokens  # in whose place LoRA has gradients of weights
    return [
        Part(
            base_line.label(prepared),
            tokens="",
            pieces="",
            tickets=len(keys),
            prompt_tokens=prompt_tokens,
            share=base_line.share,
            finished=sum(run.done([key]) for key in keys) if run else 0,
            row_tokens=min(base_line.texts(prepared) * length + prompt_tokens, prepared.model.most_positions),
        )
        for base_line, keys in _keys(prepared).items()
    ]


def _keys(prepared: Prepared) -> dict[BaseLine, list[RunKey]]:
    """Every base line that applies, and where it lies."""
    return {
        base_line: [
            RunKey(BASELINES.inside(base_line.folder(prepared)), seed, 0)
            for seed in (prepared.experiment.seeds if base_line.seeded else (0,))
        ]
        for base_line in BASE_LINES
        if base_line.applies(prepared)
    }


def _commit(runner: RoundRunner, base_line: BaseLine, key: RunKey) -> None:
    prepared, started = runner.prepared, time.perf_counter()
    total, unit = base_line.work(prepared)
    with runner.progress.track(base_line.label(prepared), total, unit) as tick:
        answers = base_line.answers(prepared, key.seed, tick)
        tick(total)
    facts = _facts(runner, base_line, answers)
    parts = [
        ("validation", prepared.splits.validation, answers.validation),
        ("test", prepared.splits.test, answers.test),
    ]
    content = {
        FACTS: atomic.as_json(facts),
        PREDICTIONS: atomic.as_parquet(round_record.predictions(prepared.task, parts, with_texts=base_line.bare)),
    }
    environment.record(runner.directory, [key], prepared.experiment.machine.device)
    runner.directory.commit([Files(key, content, {"seconds": time.perf_counter() - started})])
    metric = prepared.task.metrics[0]
    seed = f", seed {key.seed}" if base_line.seeded else ""
    runner.progress.say(f"{facts['label']}{seed}: validation {metric} {facts['validation'][metric]:.3f}{_notes(facts)}")


def _facts(runner: RoundRunner, base_line: BaseLine, answers: Answers) -> dict[str, Any]:
    task, splits = runner.prepared.task, runner.prepared.splits
    return {
        "label": base_line.label(runner.prepared),
        "kind": base_line.kind,
        "seeded": base_line.seeded,
        "validation": round_record.metrics_of(task, splits.validation, answers.validation),
        "test": round_record.metrics_of(task, splits.test, answers.test),
        **answers.facts,
    }


def _notes(facts: Mapping[str, Any]) -> str:
    """What stands against a base line's number."""
    notes = []
    if facts.get("rows_with_fewer"):
        notes.append(f"{facts['rows_with_fewer']} rows had no room for all of them")
    if facts.get("cut"):
        notes.append(f"{facts['cut']} texts were cut")
    return f" ({'; '.join(notes)})" if notes else ""
