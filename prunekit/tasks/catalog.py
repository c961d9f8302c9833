"""Which tasks there are: the library's, by name, and the user's own, by the path of a TOML file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from prunekit.support.errors import ConfigError, nearest
from prunekit.tasks.spec import read_task
from prunekit.tasks.task import Task
from prunekit.tasks.testbed_tasks import PREFIX, testbed_task, testbed_tasks

_LIBRARY = Path(__file__).parent / "library"


def load_task(name_or_path: str, data: str | None = None) -> Task:
    """A task by its name ("superglue/rte", "rte" for short, "testbed/first-animal"), or by the path of a TOML file.

    Args:
        name_or_path: the name or path.
        data: the data folder, which a task with `labels_file` reads its label words from.

    Raises:
        ConfigError: naming the nearest task.
        DataError: when the label words cannot be read.
    """
    if name_or_path.startswith(PREFIX):
        return testbed_task(name_or_path)
    task = read_task(Path(name_or_path)) if name_or_path.endswith(".toml") else _library_task(name_or_path)
    return task.resolved(data) if data or task.data else task


def list_tasks() -> list[Task]:
    """Every task of the library, by name, then those of the testbed."""
    return [read_task(path) for _, path in sorted(_files().items())] + testbed_tasks()


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
