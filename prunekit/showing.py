"""`tasks show`: what a model will read of a task, its answers as tokens, and how long its texts are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from prunekit import console, flags
from prunekit.backbones import Backbone
from prunekit.config import Experiment
from prunekit.prepare import backbone_of
from prunekit.tasks import Example, Splits, Task, load_splits, load_task

_SPLITS = ("train", "selection", "report")


def show_task(settings: Mapping[str, Any], *, json: bool) -> None:
    """One rendered example of a task, its label words and the lengths of its texts, in tokens where a model is named.

    settings: flags; `task` names the task, `model` is left out for lengths in words.

    Raises: ConfigError or DataError where task, data or model cannot be used.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    task = load_task(given["task"], given.get("data"))
    splits = load_splits(
        task,
        data=given.get("data"),
        revision=given.get("data_revision"),
        train_examples=None,
        selection_examples=None,
    )
    named = "model" in given or task.testbed is not None
    experiment = flags.experiment(None, given) if named else None
    backbone = backbone_of(experiment) if experiment else None
    facts = {
        "task": task.name,
        "description": task.description,
        "metrics": list(task.metrics),
        "template": task.template,
        "origin": dict(splits.origin),
        "example": _example(splits.train[0]),
        "answers": _answers(task, splits.train[0], backbone),
        "unit": "tokens" if backbone else "words",
        "lengths": {name: _lengths(getattr(splits, name), backbone, experiment) for name in _SPLITS},
    }
    if json:
        console.write_json(facts)
    else:
        _show(facts, splits, backbone)


def _example(example: Example) -> dict[str, Any]:
    return {"text": example.text, "right": [example.choices[place] for place in example.gold]}


def _answers(task: Task, example: Example, backbone: Backbone | None) -> list[dict[str, Any]]:
    """Each answer with its label and, where a model is known, its tokens; an example's own where they differ."""
    words = task.choices or example.choices
    labels = task.labels or [""] * len(words)
    found: list[dict[str, Any]] = []
    for label, word in zip(labels, words, strict=False):
        tokens = None
        if backbone is not None:
            tokens = backbone.tokenizer.convert_ids_to_tokens(list(backbone.answer_ids(word)))
        found.append({"label": label, "word": word, "tokens": tokens})
    return found


def _lengths(
    examples: Sequence[Example], backbone: Backbone | None, experiment: Experiment | None
) -> dict[str, float | int]:
    """Least, quartiles, the longest tenth and most; how many are cut."""
    texts = [example.text for example in examples]
    if backbone is None:
        lengths = sorted(len(text.split()) for text in texts)
    else:
        lengths = sorted(len(ids) for ids in backbone.tokenizer(texts)["input_ids"])
    at = {name: lengths[min(len(lengths) - 1, int(share * len(lengths)))] for name, share in _SHARES.items()}
    limit = experiment.model.max_input_tokens if experiment else None
    cut = {} if limit is None else {"cut": sum(length > limit for length in lengths), "limit": limit}
    return {"examples": len(lengths), "mean": round(statistics.fmean(lengths), 1), **at, **cut}


_SHARES = {"least": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "90 %": 0.9, "most": 1.0}


def _show(facts: Mapping[str, Any], splits: Splits, backbone: Backbone | None) -> None:
    console.write(f"{facts['task']}: {facts['description']}")
    console.write(f"judged by {', '.join(facts['metrics'])}")
    for name in _SPLITS:
        console.write(f"{name}: {splits.origin[name]}")
    console.write(f"\nthe first text of train, as it is read:\n{facts['example']['text']}")
    console.write(f"right answer: {' or '.join(facts['example']['right'])}\n")
    columns = ["label", "word"] if backbone is None else ["label", "word", "tokens"]
    rows = [
        [one["label"], one["word"], *([] if backbone is None else [" ".join(one["tokens"])])]
        for one in facts["answers"]
    ]
    title = "answers" if backbone is None or not backbone.answers_by_head else "answers (an encoder's head gives them)"
    console.show(columns, rows, title=title)
    lengths = facts["lengths"]
    names = list(lengths["train"])
    rows = [[name, *[str(lengths[name][column]) for column in names]] for name in _SPLITS]
    console.show(["split", *names], rows, title=f"lengths of texts in {facts['unit']}")
    if backbone is None:
        console.write("--model counts its tokens")
