"""The testbed's tasks in the form of any other task; their rows come from the grammar instead of a file."""

from __future__ import annotations

from functools import cache

from prunekit.support.errors import ConfigError, nearest
from prunekit.tasks.rows import Source
from prunekit.tasks.task import Task
from prunekit.tasks.testbed.grammar import TASKS, TestbedTask, examples

PREFIX = "testbed/"

# rows per split; a passage of validation or test is never in train, nor in what the model was pretrained on
_SIZES = {"train": ("train", 512), "validation": ("validation", 200), "test": ("test", 500)}


def testbed_tasks() -> list[Task]:
    """All of them, the held-out compositions last."""
    return [_task(source) for source in TASKS]


def testbed_task(name: str) -> Task:
    """The task called `testbed/<name>`.

    Raises:
        ConfigError: naming the nearest.
    """
    tasks = {task.name: task for task in testbed_tasks()}
    if name not in tasks:
        raise ConfigError(f'unknown task "{name}"; {nearest(name, tasks)}')
    return tasks[name]


@cache
def read_testbed(name: str) -> dict[str, Source]:
    """The splits of the testbed task `name` (without the prefix), as a folder of files would give them; made once."""
    sources = {}
    for split, (part, count) in _SIZES.items():
        rows = examples(name, part, count)
        locations = [f"testbed/{name} {part}:{number}" for number in range(1, len(rows) + 1)]
        sources[split] = Source(f"the grammar's {part} split", [dict(row) for row in rows], locations)
    return sources


def _task(source: TestbedTask) -> Task:
    note = " (held out of pretraining)" if source.held_out else ""
    return Task(
        name=f"{PREFIX}{source.name}",
        template="{text}",
        description=f"testbed: {source.description}{note}",
        choices=source.choices,
        labels=source.choices,
        testbed=source.name,
    )
