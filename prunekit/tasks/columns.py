"""A task made of columns of the user's own data, and what the columns of a task's data are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prunekit.support.errors import ConfigError
from prunekit.tasks.example import is_field_name
from prunekit.tasks.in_memory import IN_MEMORY
from prunekit.tasks.task import Task

#: What the name of a task begins with that is made of columns.
OWN = "own/"
LABELS_FILE = "labels.json"
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Columns:
    """Which columns of data hold the text and the label.

    Attributes:
        text: in the order of the template's fields; empty where columns are called as the fields.
        label: None where it is called as the task says.
        words: label -> the word that answers; None where the task, `labels.json` or the labels themselves tell.
    """

    text: tuple[str, ...] = ()
    label: str | None = None
    words: Mapping[str, str] | None = None


def own_name(data: str) -> str:
    """What a task of own data is called: own/ and the name of its file, folder or Hub data set."""
    stem = "data" if data == IN_MEMORY else re.sub(r":.*", "", Path(data).name).partition(".")[0]
    return OWN + (re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-._")[:_LONGEST_NAME] or "data")


def own_task(name: str, columns: Columns) -> Task:
    """The task that reads the named columns; its label words are still to be found.

    The template is the columns' names and texts, and ends in the name of the label: "review: {review} stars:".

    Raises:
        ConfigError: where a column of text or label is not named.
    """
    if not columns.text or columns.label is None:
        raise ConfigError(f'task "{name}" is made of columns: name them by --text COLUMN and --label COLUMN')
    if columns.label in columns.text or len(set(columns.text)) < len(columns.text):
        raise ConfigError(f"--text {','.join(columns.text)} --label {columns.label}: name each column once")
    fields = dict(zip(columns.text, _fields(columns.text), strict=True))
    parts = [f"{_written(column)}: {{{field}}}" for column, field in fields.items()]
    return Task(
        name=name.removeprefix(OWN),
        description=f"{', '.join(columns.text)} -> {columns.label}",
        template=" ".join([*parts, f"{_written(columns.label)}:"]),
        metrics=("accuracy", "macro_f1"),
        label=columns.label,
        labels_file=LABELS_FILE,
        columns=fields | {columns.label: columns.label},
    )


def with_columns(task: Task, columns: Columns) -> Task:
    """A task whose fields are read from other columns, in the order in which its template names them.

    Raises:
        ConfigError: where there are more or fewer columns than fields.
    """
    if not columns.text and columns.label is None:
        return task
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
