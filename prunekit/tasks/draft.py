"""A task file with comments, written from the columns of data, to be edited."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prunekit.support import toml
from prunekit.support.errors import DataError
from prunekit.tasks.columns import Columns, own_name, own_task
from prunekit.tasks.data import hub_of, read_data, read_sources
from prunekit.tasks.guess import guess_columns
from prunekit.tasks.open_task import with_words
from prunekit.tasks.rows import near_column
from prunekit.tasks.task import Task

# further metrics of answers that are chosen, and of those that are written
_ALSO = {False: "f1 (of the second of two labels), matthews", True: "rougeL, bleu, chrf, exact_string, number"}


@dataclass(frozen=True)
class Draft:
    """A task file that is not written yet.

    Attributes:
        text: its TOML.
        columns: what it reads.
        guessed: which of "text" and "label" nobody named.
        labels: label -> the word that answers; none where answers are written.
    """

    text: str
    columns: Columns
    guessed: tuple[str, ...]
    labels: Mapping[str, str]


def draft_task(data: str, columns: Columns, *, revision: str | None = None, folder: Path = Path()) -> Draft:
    """A task file for data; columns that are not named are guessed.

    Args:
        data: a file, a folder or a Hub data set.
        columns: those that are named, and the label words, where they are.
        revision: of a Hub data set.
        folder: where the file will lie; it names its data from there.

    Raises:
        DataError: where the data cannot be read, or no column will do.
    """
    raw = read_data(data, revision)
    full = guess_columns(raw, columns)
    if not full.text or full.answer is None:
        what = "--text" if not full.text else "--label"
        names = next(iter(raw.values())).columns
        raise DataError(f"{data}: no column looks like it, so name one by {what} COLUMN; {near_column('', names)}")
    task = _plainly(own_task(own_name(data), full), full)
    sources = read_sources(task, raw)
    if not task.open:
        task = task.with_words(full.words) if full.words else with_words(task, sources)
    labels = dict(zip(task.labels or (), task.choices or (), strict=True))
    guessed = tuple(name for name in ("text", "label") if getattr(full, name) and not getattr(columns, name))
    return Draft(_text(task, _place(data, folder)), full, guessed, labels)


def _plainly(task: Task, columns: Columns) -> Task:
    """The task with its target called as its column, where that may stand in a template."""
    column = columns.target
    if column is None or not column.isidentifier():
        return task
    return replace(task, target=f"{{{column}}}", columns=dict(task.columns) | {column: column})


def _text(task: Task, place: Mapping[str, Any]) -> str:
    """The TOML of a task, a comment above its keys."""
    renamed = {column: field for column, field in task.columns.items() if column != field}
    words = dict(zip(task.labels or (), task.choices or (), strict=True))
    blocks: list[tuple[str, Mapping[str, Any]]] = [
        ("Look at it with: prunekit tasks show THIS_FILE", {"name": task.name, "description": task.description}),
        (
            "What the model reads; names in braces are columns. It ends in a cue for the answer.",
            {"template": task.template},
        ),
        (
            f"What judges; the first {'is reported' if task.open else 'chooses'}. Also: {_ALSO[task.open]}.",
            {"metrics": list(task.metrics)},
        ),
        ("The column that holds the label.", {"label": "" if task.open else task.label}),
        ("The answer that is written and trained on; it may have more words and columns.", {"target": task.target}),
        ("Where writing ends: so many tokens, or one of these texts.", _writing(task)),
        ("Where the data lies, seen from this file; --data names other data.", place),
        ("Columns whose names cannot stand in a template, and their names there.", {"columns": renamed}),
        ("Label = the word that answers. A language model says it: choose words that fit.", {"choices": words}),
    ]
    texts = [f"# {comment}\n{toml.dump(dict(keys))}" for comment, keys in blocks if any(keys.values())]
    return "\n".join(re.sub(r"\n\n+", "\n", text) for text in texts)


def _writing(task: Task) -> dict[str, Any]:
    """The keys that say how long an answer may be; none where answers are chosen."""
    decoding = task.decoding
    return {"max_target_tokens": decoding.max_tokens, "stop": list(decoding.stop)} if task.open else {}


def _place(data: str, folder: Path) -> dict[str, Any]:
    """The key that says where data lies."""
    hub = hub_of(data)
    if hub is not None:
        return {"hub": {"path": hub.path} | ({"name": hub.name} if hub.name else {})}
    return {"data": Path(os.path.relpath(data, folder)).as_posix()}
