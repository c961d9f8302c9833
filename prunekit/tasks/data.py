"""The rows of a task, from wherever its data lies: a file, a folder, the Hub, memory, or the testbed's grammar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks.convert import is_data_file
from prunekit.tasks.example import placeholders
from prunekit.tasks.files import read_file
from prunekit.tasks.folders import read_folder
from prunekit.tasks.hub import read_hub
from prunekit.tasks.in_memory import IN_MEMORY, InMemory
from prunekit.tasks.rows import Source
from prunekit.tasks.task import Hub, Task
from prunekit.tasks.testbed_tasks import read_testbed

#: Where data lies, or the data.
Data = str | Path | InMemory | Mapping[str, Source]

_HUB_ID = re.compile(r"(?P<path>[\w-][\w.-]*/[\w.-]+)(?::(?P<name>[\w.-]+))?")


def read_data(data: Data, revision: str | None = None) -> dict[str, Source]:
    """The splits by name; a file is train.

    Args:
        data: a file; a folder with a file for each split, or of `save_to_disk`; a Hub data set, "org/name" or
            "org/name:configuration"; rows in memory; or the result of this.
        revision: commit or tag of a Hub data set.

    Raises:
        DataError: in one line, where it cannot be read.
        ConfigError: where a revision is named and the data is not on the Hub.
    """
    hub = hub_of(data)
    if hub is not None:
        return _read_hub(hub, revision)
    if revision is not None:
        raise ConfigError(f'revision = "{revision}" is for data of the Hub, but the data is {_place(data)}')
    if isinstance(data, InMemory):
        return data.sources()
    if isinstance(data, Mapping):
        return dict(data)
    if str(data) == IN_MEMORY and not Path(data).exists():
        raise DataError(
            "the rows were in memory and are not kept; give them again (data=... in Python), or name a file of the "
            "same rows with --data"
        )
    path = Path(data)
    if path.is_dir():
        return read_folder(path)
    if not path.exists() and not path.is_symlink():
        raise DataError(f"{data}: no such file or folder, and no Hub data set, which would be org/name")
    return {"train": read_file(path)}


def read_sources(task: Task, data: Data | None, revision: str | None = None) -> dict[str, Source]:
    """The splits of a task's data under the names of its fields.

    Raises:
        DataError: on data that cannot be used.
        ConfigError: on settings that cannot work.
    """
    sources = _task_data(task, data, revision)
    # references may be called otherwise from split to split (E2E); where there are none it is said later
    references = placeholders(task.target) if task.target else ()
    columns = [column for column, field in task.columns.items() if field not in references]
    return {
        split: source.renamed(task.columns, columns if split == "train" else task.text_columns)
        for split, source in sources.items()
    }


def hub_of(data: Data) -> Hub | None:
    """The Hub data set that a name means, where nothing of that name lies here."""
    if not isinstance(data, str) or data == IN_MEMORY or Path(data).exists() or is_data_file(data):
        return None
    match = _HUB_ID.fullmatch(data)
    return Hub(match["path"], match["name"]) if match else None


def _task_data(task: Task, data: Data | None, revision: str | None) -> dict[str, Source]:
    if task.testbed is not None:
        if data or revision:
            raise ConfigError(f'task "{task.name}" makes its own data; leave out the data folder and revision')
        return read_testbed(task.testbed)
    data = data or task.data
    if data is not None:
        return read_data(data, revision)
    if task.hub is None:
        raise ConfigError(f'task "{task.name}" names no data set: name a file or a folder of files with --data')
    return read_hub(task.hub, revision)


def _read_hub(hub: Hub, revision: str | None) -> dict[str, Source]:
    try:
        return read_hub(hub, revision)
    except DataError as error:
        raise DataError(f"{hub.path}: no such file or folder; {error}") from error


def _place(data: Data) -> str:
    return "in memory" if isinstance(data, InMemory | Mapping) else f"the folder or file {data}"
