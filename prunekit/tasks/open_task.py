"""A task and its rows, with the label words that its data tells."""

from __future__ import annotations

import shlex

from prunekit.support.errors import ConfigError, DataError
from prunekit.support.names import joined
from prunekit.tasks.catalog import BY_NAME, load_task
from prunekit.tasks.columns import OWN, Columns
from prunekit.tasks.data import Data, read_data, read_sources
from prunekit.tasks.guess import guess_columns
from prunekit.tasks.label_words import words_of
from prunekit.tasks.labels import infer_labels
from prunekit.tasks.rows import Source, near_column
from prunekit.tasks.task import Task


def open_task(
    name_or_path: str, data: Data | None = None, revision: str | None = None, columns: Columns = BY_NAME
) -> tuple[Task, dict[str, Source]]:
    """A task as `load_task` gives it, and the splits of its data for `load_splits`.

    Label words that neither the task nor `labels.json` nor `columns` names are made of the labels in the data.

    Raises:
        ConfigError: where the settings of task or data cannot work; for columns that are not named, which there are.
        DataError: where task or data cannot be read, or the labels are none.
    """
    if name_or_path.startswith(OWN) and (not columns.text or columns.answer is None):
        raise ConfigError(_which_columns(name_or_path, data, revision, columns))
    task = load_task(name_or_path, data, columns)
    sources = read_sources(task, data, revision)
    return (with_words(task, sources) if task.lacks_words else task), sources


def with_words(task: Task, sources: dict[str, Source]) -> Task:
    """The task with words for the labels that its data holds.

    Raises:
        DataError: where they are no labels of a classification.
    """
    column = task.column_of(task.label)
    train = sources.get("train")
    if train is not None and task.label not in train.columns:
        raise DataError(f'{train.name}: no label field "{column}"; {near_column(column, train.columns)}')
    return task.with_words(words_of(infer_labels(sources, task.label, column)))


def _which_columns(name: str, data: Data | None, revision: str | None, columns: Columns) -> str:
    """What to write, and of which columns."""
    if data is None:
        return f'task "{name}" needs its rows: name a file or folder with --data'
    sources = read_data(data, revision)
    guess = guess_columns(sources, columns)
    text, label = shlex.quote(joined(guess.text) or "COLUMN"), shlex.quote(guess.label or "COLUMN")
    listed = ", ".join(f'"{column[:30]}"' for column in next(iter(sources.values())).columns[:12])
    return f"{data}: say which columns to read, such as --text {text} --label {label}, of {listed}"
