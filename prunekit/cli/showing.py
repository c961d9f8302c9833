"""`tasks show`: what a model will read of a task, its answers as tokens, and how long its texts are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from prunekit.experiment import settings_io
from prunekit.experiment.prepare import model_of
from prunekit.models import FrozenModel
from prunekit.models.encoding import EncodingOptions, TaskEncoder, encode, text_lengths
from prunekit.support import terminal
from prunekit.support.errors import PrunekitError
from prunekit.tasks import Example, Splits, Task, load_splits, load_task

_SPLITS = ("train", "validation", "test")
# tokens of a text's end that are shown before each answer
_TOKENS_BEFORE = 3


def show_task(settings: Mapping[str, Any], *, json: bool) -> None:
    """One rendered example of a task, its label words and the lengths of its texts, in tokens where a model is named.

    Args:
        settings: flags; `task` names the task, `model` is left out for lengths in words.

    Raises:
        ConfigError: where task, data or model cannot be used.
        DataError: where task, data or model cannot be used.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    task = load_task(given["task"], given.get("data"))
    splits = load_splits(
        task,
        data=given.get("data"),
        revision=given.get("data_revision"),
        train_examples=None,
        validation_examples=None,
    )
    named = "model" in given or task.testbed is not None
    experiment = settings_io.experiment(None, given) if named else None
    model = model_of(experiment) if experiment else None
    facts = {
        "task": task.name,
        "description": task.description,
        "metrics": list(task.metrics),
        "template": task.template,
        "origin": dict(splits.origin),
        "example": _example(splits.train[0]),
        "answers": _answers(task, splits.train[0], model),
        "faults": _faults(task, splits, model, experiment.prompt.tokens) if model and experiment else [],
        "unit": "tokens" if model else "words",
        "lengths": {name: _lengths(task, getattr(splits, name), model) for name in _SPLITS},
    }
    if json:
        terminal.write_json(facts)
    else:
        _show(facts, splits, model)


def _example(example: Example) -> dict[str, Any]:
    return {"text": example.text, "right": [example.choices[place] for place in example.gold]}


def _answers(task: Task, example: Example, model: FrozenModel | None) -> list[dict[str, Any]]:
    """Each answer with its label and, where a model is known, its tokens; an example's own where they differ.

    behind: the last tokens of the text before it, where the two are read together.  merged: the tokens from the border
    on, where one of them reaches over it.
    """
    labels = task.labels or [""] * len(example.choices)
    rows: list[dict[str, Any]] = [
        {"label": label, "word": word, "tokens": None} for label, word in zip(labels, example.choices, strict=False)
    ]
    if model is None:
        return rows
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
    first = splits.train[0]
    options = _encoding_options(task, model, prompt_tokens)
    lines = TaskEncoder(model.reader, first, options).faults(first)
    try:
        for name in _SPLITS:
            encode(model.reader, getattr(splits, name), options)
    except PrunekitError as error:
        lines = lines or [str(error)]
    return lines


def _encoding_options(task: Task, model: FrozenModel, prompt_tokens: int = 0) -> EncodingOptions:
    return model.encoding_options(task.choices is None, prompt_tokens)


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


_SHARES = {"least": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "90 %": 0.9, "most": 1.0}


def _show(facts: Mapping[str, Any], splits: Splits, model: FrozenModel | None) -> None:
    terminal.write(f"{facts['task']}: {facts['description']}")
    terminal.write(f"judged by {', '.join(facts['metrics'])}")
    for name in _SPLITS:
        terminal.write(f"{name}: {splits.origin[name]}")
    terminal.write(f"\nthe first text of train, as it is read:\n{facts['example']['text']}")
    terminal.write(f"right answer: {' or '.join(facts['example']['right'])}\n")
    _show_answers(facts["answers"], model)
    for line in facts["faults"]:
        terminal.write(f"training on this would be refused: {line}")
    lengths = facts["lengths"]
    names = list(lengths["train"])
    rows = [[name, *[str(lengths[name][column]) for column in names]] for name in _SPLITS]
    terminal.show(["split", *names], rows, title=f"lengths of texts in {facts['unit']}")
    if model is None:
        terminal.write("--model counts its tokens")


def _show_answers(answers: Sequence[Mapping[str, Any]], model: FrozenModel | None) -> None:
    columns = ["label", "word"] if model is None else ["label", "word", "tokens"]
    if "behind" in answers[0]:
        columns[-1] = "end of the text | tokens of the answer"
    rows = [[row["label"], row["word"], *([] if model is None else [_tokens(row)])] for row in answers]
    title = "answers" if model is None or not model.answers_by_head else "answers (an encoder's head gives them)"
    terminal.show(columns, rows, title=title)


def _tokens(row: Mapping[str, Any]) -> str:
    """An answer's tokens behind those of the text, with a mark at the border where there is one."""
    if row.get("merged"):
        return f"{' '.join([*row['behind'], *row['merged']])} (joined over the border)"
    return " ".join([*row["behind"], "|", *row["tokens"]] if "behind" in row else row["tokens"])
