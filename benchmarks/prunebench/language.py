"""What the bench asks of a language model: a task's rows beside an instruction, and the rows measured so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch

from benchmarks.prunebench.entry import Entry
from benchmarks.prunebench.instruction import PlantedInstruction
from benchmarks.prunebench.row_file import RowFile
from prunekit import models
from prunekit.experiment.prepare import encode
from prunekit.models import Encoded
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator
from prunekit.tasks import Task, load_splits

COLUMNS = (
    "model", "task", "instruction", "tokens", "rows", "seed", "entry", "examples", "truth", "words", "found", "passes",
)  # fmt: skip


def planted_instruction(
    model: str, task: Task, data: str | None, instruction: str, *, tokens: int, sizes: tuple[int, int]
) -> PlantedInstruction:
    """The instruction on a model and a task.

    Args:
        model: a folder or a Hub name.
        data: of the task; None: its own.
        instruction: in words; a line's end follows, as between an instruction and a text.
        tokens: P, of the prompts.
        sizes: rows of train and of validation.

    Raises:
        ConfigError: where the model answers by a head or the task's answers are written.
    """
    if task.open:
        raise ConfigError(f"task = {task.name}: its answers are written; give a task whose answers are chosen")
    frozen = models.load(model)
    if frozen.answers_by_head:
        raise ConfigError(f"model = {model}: it answers by a head, and reads no instruction; give one that writes")
    splits = load_splits(task, data=data, train_examples=sizes[0], validation_examples=sizes[1], test_examples=1)
    (ids,) = frozen.reader.ids([f"{instruction}\n"], plain=True)
    train, validation = (_shuffled(encode(frozen, task, part, tokens)) for part in (splits.train, splits.validation))
    return PlantedInstruction(frozen, tuple(ids), tokens, train, validation)


def _shuffled(rows: Sequence[Encoded]) -> list[Encoded]:
    """The first few are a draw: finders and ranking see no more, and data sets may be sorted by their labels."""
    order = torch.randperm(len(rows), generator=generator("planted rows")).tolist()
    return [rows[place] for place in order]


def measured_rows(
    prompts: PlantedInstruction,
    entries: Sequence[Entry],
    seeds: int,
    file: RowFile,
    cell: dict[str, str],
    say: Callable[[str], None],
) -> pd.DataFrame:
    """The rows of all seeds; what the file lacks is measured and added, seed by seed.

    Args:
        cell: model, task and instruction, as the file has them.
        say: is given a line for each seed that was measured, with its minutes.

    Columns:
        those of `COLUMNS`.
    """
    file.begin()
    equal = {**cell, "tokens": prompts.tokens, "rows": len(prompts.validation)}
    for seed in range(seeds):
        lacking = [
            entry for entry in entries if not file.has([seed], entry=entry.name, examples=entry.examples, **equal)
        ]
        if lacking:
            started = time.monotonic()
            file.add(prompts.measure(lacking, seed).assign(**equal))
            say(f"seed {seed}: {(time.monotonic() - started) / 60:.1f} minutes")
    rows = file.rows(**equal)
    examples = rows["entry"].map({entry.name: entry.examples for entry in entries})
    return rows[(rows["examples"] == examples) & (rows["seed"] < seeds)]


def file_name(model: str, task: str) -> str:
    """Of the page: such as prunebench-smollm2-135m-instruct-sst2."""
    return f"prunebench-{Path(model).name}-{task.replace('/', '-')}"
