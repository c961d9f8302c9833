"""A task made of columns of the user's own data, and what the columns of a task's data are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding
from prunekit.tasks.example import is_field_name
from prunekit.tasks.in_memory import IN_MEMORY
from prunekit.tasks.task import Task

#: What the name of a task begins with that is made of columns.
OWN = "own/"
LABELS_FILE = "labels.json"
_LONGEST_NAME = 40
# most tokens of the answers to own data, where no task file says otherwise
_TARGET_TOKENS = 64
# the field that holds the target of own data
_TARGET = "prunekit target"


@dataclass(frozen=True)
class Columns:
    """Which columns of data hold the text and the label.

    Attributes:
        text: in the order of the template's fields; empty where columns are called as the fields.
        label: None where it is called as the task says.
        target: the answer that the model is to write, in place of a label; a list of texts holds several right ones.
        words: label -> the word that answers; None where the task, `labels.json` or the labels themselves tell.
    """

    text: tuple[str, ...] = ()
    label: str | None = None
    words: Mapping[str, str] | None = None
    target: str | None = None

    @property
    def answer(self) -> str | None:
        """The column of label or target."""
        return self.target or self.label


def own_name(data: str) -> str:
    """What a task of own data is called: own/ and the name of its file, folder or Hub data set."""
    stem = "data" if data == IN_MEMORY else re.sub(r":.*", "", Path(data).name).partition(".")[0]
    return OWN + (re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-._")[:_LONGEST_NAME] or "data")


def own_task(name: str, columns: Columns) -> Task:
    """The task that reads the named columns; its label words, where it has labels, are still to be found.

    The template is the columns' names and texts, and ends in the name of the label: "review: {review} stars:".

    Raises:
        ConfigError: where a column of text, or of label or target, is not named.
    """
    answer = columns.answer
    if not columns.text or answer is None:
        raise ConfigError(
            f'task "{name}" is made of columns: name them by --text COLUMN and --label COLUMN, or --target COLUMN for '
            "answers that are written"
        )
    if columns.label and columns.target:
        raise ConfigError("--label and --target: answers are chosen or written; name one of them")
    if answer in columns.text or len(set(columns.text)) < len(columns.text):
        what = "target" if columns.target else "label"
        raise ConfigError(f"--text {','.join(columns.text)} --{what} {answer}: name each column once")
    fields = dict(zip(columns.text, _fields(columns.text), strict=True))
    parts = [f"{_written(column)}: {{{field}}}" for column, field in fields.items()]
    task = Task(
        name=name.removeprefix(OWN),
        description=f"{', '.join(columns.text)} -> {answer}",
        template=" ".join([*parts, f"{_written(answer)}:"]),
        columns=fields | {answer: _TARGET if columns.target else answer},
    )
    if columns.target:
        decoding = Decoding(_TARGET_TOKENS, stop=("\n",))
        return replace(task, target=f"{{{_TARGET}}}", metrics=("squad_f1", "squad_exact_match"), decoding=decoding)
    return replace(task, metrics=("accuracy", "macro_f1"), label=answer, labels_file=LABELS_FILE)


def with_columns(task: Task, columns: Columns) -> Task:
    """A task whose fields are read from other columns, in the order in which its template names them.

    Raises:
        ConfigError: where there are more or fewer columns than fields.
    """
    if not columns.text and columns.answer is None:
        return task
    if columns.target:
        raise ConfigError(
            f'--target {columns.target}: goes with own data alone; leave out --task, or write target = "{{...}}" into a '
            "task file"
        )
    if task.testbed is not None or task.transform != "none":
        raise ConfigError(f'task "{task.name}" reads rows of a form of its own; leave out --text and --label')
    fields = task.placeholders
    if columns.text and len(columns.text) != len(fields):
        raise ConfigError(
            f'--text {",".join(columns.text)}: task "{task.name}" reads {len(fields)} ({", ".join(fields)}); name as '
            "many columns, in this order"
        )
    names = dict(zip(columns.text, fields, strict=False))
    return replace(task, columns=names if columns.label is None else names | {columns.label: task.label})


def _fields(columns: Sequence[str]) -> list[str]:
    """A name for each column that can stand in a template."""
    names = [column if is_field_name(column) else re.sub(r"\W+", "_", column).strip("_") for column in columns]
    usable = [name if is_field_name(name) else f"column_{name}".strip("_") for name in names]
    return usable if len(set(usable)) == len(usable) else [f"text_{number}" for number in range(1, len(usable) + 1)]


def _written(column: str) -> str:
    """A column's name as words of a template."""
    return " ".join(column.replace("_", " ").split()).replace("{", "{{").replace("}", "}}")
