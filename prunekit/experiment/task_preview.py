"""What a model will read of a task, its answers as tokens, and how long its texts are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunekit.experiment import settings_io
from prunekit.experiment.prepare import model_of
from prunekit.experiment.settings import Experiment
from prunekit.experiment.task_of import task_of
from prunekit.models import FrozenModel
from prunekit.models.encoding import EncodingOptions, TaskEncoder, encode, text_lengths
from prunekit.support.errors import PrunekitError
from prunekit.tasks import Example, Splits, Task

SPLITS = ("train", "validation", "test")
# tokens of a text's end that are shown before each answer
_TOKENS_BEFORE = 3
_SHARES = {"least": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "90 %": 0.9, "most": 1.0}


@dataclass(frozen=True)
class TaskPreview:
    """A task as it is read.

    Attributes:
        facts: task, description, metrics, template, instruction, origin of the splits, examples of train, answers,
            faults (why training on it would be refused), unit (tokens or words), lengths by split.
        answers_by_head: whether the model has a head that gives the answers.
    """

    facts: dict[str, Any]
    answers_by_head: bool


def preview(settings: Mapping[str, Any], rows: int = 1) -> TaskPreview:
    """Rendered examples of a task, its label words and the lengths of its texts, in tokens where a model is named.

    Args:
        settings: flags; `task` or `data` names the task, `model` is left out for lengths in words.
        rows: how many examples of train to render.

    Raises:
        ConfigError: where task, data or model cannot be used.
        DataError: where task, data or model cannot be used.
    """
    flags = {name: value for name, value in settings.items() if value is not None}
    has_model = "model" in flags or str(flags.get("task", "")).startswith("testbed/")
    experiment = settings_io.experiment(None, flags) if has_model else Experiment(task=settings_io.task_settings(flags))
    task, splits = task_of(experiment)
    model = model_of(experiment) if has_model else None
    first = _in_chat(splits.train[0], model)
    facts = {
        "task": task.name,
        "description": task.description,
        "metrics": list(task.metrics),
        "template": task.template,
        "instruction": task.instruction,
        "origin": dict(splits.origin),
        "example": _example(first),
        "examples": [_example(_in_chat(example, model)) for example in splits.train[:rows]],
        "answers": _answers(task, first, model),
        "faults": _faults(task, splits, model, experiment.prompt.tokens) if model else [],
        "unit": "tokens" if model else "words",
        "lengths": {name: _lengths(task, getattr(splits, name), model) for name in SPLITS},
    }
    return TaskPreview(facts, model is not None and model.answers_by_head)


def _in_chat(example: Example, model: FrozenModel | None) -> Example:
    """The example in the words of the model's chat template, where its task is one of a chat."""
    return model.reader.in_chat(example) if model else example


def _example(example: Example) -> dict[str, Any]:
    right = list(example.references) or [example.choices[number] for number in example.gold]
    return {"text": example.text, "right": right}


def _answers(task: Task, example: Example, model: FrozenModel | None) -> list[dict[str, Any]]:
    """Each answer with its label and, where a model is given, its tokens; an example's own where they differ.

    behind: the last tokens of the text before it, where the two are read together.  merged: the tokens from the border
    on, where one of them reaches over it.
    """
    labels = task.labels or [""] * len(example.choices)
    rows: list[dict[str, Any]] = [
        {"label": label, "word": word, "tokens": None} for label, word in zip(labels, example.choices, strict=False)
    ]
    if model is None:
        return [] if task.open else rows  # a target alone says nothing that the row has not said
    encoder, reader = TaskEncoder(model.reader, example, _encoding_options(task, model)), model.reader
    if encoder.options.answer_place == "behind":
        for row, join in zip(rows, encoder.joins([example])[0], strict=True):
            row["behind"] = reader.token_names(join.text[: join.border][-_TOKENS_BEFORE:])
            row["tokens"] = reader.token_names(join.answer)
            row["merged"] = reader.token_names(join.whole[join.border :]) if join.merges else []
        return rows
    for row, ids in zip(rows, encoder.alone(example.choices), strict=True):
        row["tokens"] = reader.token_names(ids)
    return rows


def _faults(task: Task, splits: Splits, model: FrozenModel, prompt_tokens: int) -> list[str]:
    """Why training on this task would be refused, a line each; at most one of what lies in other than its first row."""
    first = _in_chat(splits.train[0], model)
    options = _encoding_options(task, model, prompt_tokens)
    lines = TaskEncoder(model.reader, first, options).faults(first)
    try:
        for name in SPLITS:
            encode(model.reader, getattr(splits, name), options)
    except PrunekitError as error:
        lines = lines or [str(error)]
    return lines


def _encoding_options(task: Task, model: FrozenModel, prompt_tokens: int = 0) -> EncodingOptions:
    return model.encoding_options(task.open or task.choices is None, prompt_tokens)


def _lengths(task: Task, examples: Sequence[Example], model: FrozenModel | None) -> dict[str, float | int]:
    """Least, quartiles, the longest tenth and most; how many are cut."""
    if model is None:
        lengths = sorted(len(example.text.split()) for example in examples)
    else:
        lengths = sorted(text_lengths(model.reader, examples, _encoding_options(task, model)))
    at = {name: lengths[min(len(lengths) - 1, int(share * len(lengths)))] for name, share in _SHARES.items()}
    limit = model.max_input_tokens if model else None
    cut = {} if limit is None else {"cut": sum(length > limit for length in lengths), "limit": limit}
    return {"examples": len(lengths), "mean": round(statistics.fmean(lengths), 1), **at, **cut}
