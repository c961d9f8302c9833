"""Which tasks there are: the library's, by name, and the user's own, by the path of a TOML file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from prunekit.support.errors import ConfigError, nearest
from prunekit.tasks.columns import OWN, Columns, own_task, with_columns
from prunekit.tasks.label_words import read_words
from prunekit.tasks.spec import read_task
from prunekit.tasks.task import Task
from prunekit.tasks.testbed_tasks import PREFIX, testbed_task, testbed_tasks

#: Columns that are called as the fields of a task.
BY_NAME = Columns()
_LIBRARY = Path(__file__).parent / "library"


def load_task(name_or_path: str, data: Any = None, columns: Columns = BY_NAME) -> Task:
    """A task by its name ("superglue/rte", "rte" for short, "testbed/first-animal"), or by the path of a TOML file.

    A name that begins with "own/" is of a task made of columns.

    Args:
        name_or_path: the name or path.
        data: where its data lies, beside which a task with `labels_file` has its label words, if anywhere.
        columns: which columns of the data hold text and label, and the label words.

    Raises:
        ConfigError: naming the nearest task.
        DataError: when the label words cannot be read.
    """
    task = _own_or_named(name_or_path, columns)
    words = columns.words or _words_beside(task, data)
    return task if words is None else task.with_words(words)


def task_places(name_or_path: str, data: Any = None, columns: Columns = BY_NAME) -> list[str]:
    """The names or paths of a task, of its data and of the label words beside that, as far as there are such.

    Args:
        name_or_path: the name or path.
        data: as of `load_task`.
        columns: as of `load_task`.

    Raises:
        ConfigError: as `load_task`.
    """
    task = _own_or_named(name_or_path, columns)
    places = (name_or_path, data or task.data, _words_file(task, data))
    return [str(place) for place in places if place is not None]


def list_tasks() -> list[Task]:
    """Every task of the library, by name, then those of the testbed."""
    return [read_task(path) for _, path in sorted(_files().items())] + testbed_tasks()


def _own_or_named(name: str, columns: Columns) -> Task:
    if name.startswith(OWN):
        return own_task(name, columns)
    if name.startswith(PREFIX):
        return with_columns(testbed_task(name), columns)
    return with_columns(read_task(Path(name)) if name.endswith(".toml") else _library_task(name), columns)


def _words_beside(task: Task, data: Any) -> dict[str, str] | None:
    """The label words that lie beside a task's data, where it still lacks them and they are there."""
    path = _words_file(task, data)
    return read_words(path) if path is not None and path.exists() else None


def _words_file(task: Task, data: Any) -> Path | None:
    """Where the label words of a task that lacks them would lie: beside its data."""
    place = data or task.data
    if not task.lacks_words or not isinstance(place, str | Path) or not Path(place).exists():
        return None
    return (Path(place) if Path(place).is_dir() else Path(place).parent) / str(task.labels_file)


def _library_task(name: str) -> Task:
    files = _files()
    matches = [full for full in files if name in (full, full.rpartition("/")[2])]
    if len(matches) == 1:
        return read_task(files[matches[0]])
    short = [full.rpartition("/")[2] for full in files]
    raise ConfigError(f'unknown task "{name}"; {nearest(name, [*files, *short])} (or the path of your own .toml file)')


@cache
def _files() -> dict[str, Path]:
    """Name -> file of every library task."""
    return {path.relative_to(_LIBRARY).with_suffix("").as_posix(): path for path in _LIBRARY.rglob("*.toml")}
