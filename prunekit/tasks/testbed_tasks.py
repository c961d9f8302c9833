"""The testbeds' tasks in the form of any other task; their rows come from the grammars instead of a file."""

from __future__ import annotations

from functools import cache

from prunekit.support.errors import ConfigError, nearest
from prunekit.tasks import testbed, testbed_open
from prunekit.tasks.decoding import Decoding
from prunekit.tasks.rows import Source
from prunekit.tasks.task import Task
from prunekit.tasks.testbed import grammar
from prunekit.tasks.testbed.grammar import TestbedTask
from prunekit.tasks.testbed_open import grammar as open_grammar
from prunekit.tasks.testbed_open.grammar import OpenTask

PREFIX = "testbed/"
#: The embedded models by name, and where they lie: one chooses answers, one writes them.
MODELS = {"testbed": testbed.MODEL_PATH, "testbed-open": testbed_open.MODEL_PATH}

_OPEN = {task.name for task in open_grammar.TASKS}
#: Tokens of the longest answer and its end, and room to see an answer that does not end.
_DECODING = Decoding(max_tokens=open_grammar.MOST_WORDS + 2)

# rows per split; a passage of validation or test is never in train, nor in what the model was pretrained on
_SIZES = {"train": ("train", 512), "validation": ("validation", 200), "test": ("test", 500)}


def testbed_tasks() -> list[Task]:
    """All of them: those whose answers are chosen, then those whose answers are written, the held-out last of each."""
    return [_task(source) for source in grammar.TASKS] + [_open_task(source) for source in open_grammar.TASKS]


def testbed_task(name: str) -> Task:
    """The task called `testbed/<name>`.

    Raises:
        ConfigError: naming the nearest.
    """
    tasks = {task.name: task for task in testbed_tasks()}
    if name not in tasks:
        raise ConfigError(f'unknown task "{name}"; {nearest(name, tasks)}')
    return tasks[name]


def model_for(task: str) -> str:
    """Name of the embedded model that was pretrained for a task of that name."""
    return "testbed-open" if task.removeprefix(PREFIX) in _OPEN else "testbed"


def model_path(model: str) -> str:
    """The folder of an embedded model; any other name as it is."""
    return str(MODELS.get(model, model))


@cache
def read_testbed(name: str) -> dict[str, Source]:
    """The splits of the testbed task `name` (without the prefix), as a folder of files would give them; made once."""
    examples = open_grammar.examples if name in _OPEN else grammar.examples
    sources = {}
    for split, (part, count) in _SIZES.items():
        rows = examples(name, part, count)
        locations = [f"testbed/{name} {part}:{number}" for number in range(1, len(rows) + 1)]
        sources[split] = Source(f"the grammar's {part} split", [dict(row) for row in rows], locations)
    return sources


def _task(source: TestbedTask) -> Task:
    return Task(
        name=f"{PREFIX}{source.name}",
        template="{text}",
        description=_described(source),
        choices=source.choices,
        labels=source.choices,
        testbed=source.name,
    )


def _open_task(source: OpenTask) -> Task:
    return Task(
        name=f"{PREFIX}{source.name}",
        template="{text}",
        description=_described(source),
        instruction=source.instructions[0],
        metrics=("exact_string",),
        testbed=source.name,
        target="{answer}",
        decoding=_DECODING,
    )


def _described(source: TestbedTask | OpenTask) -> str:
    note = " (held out of pretraining)" if source.held_out else ""
    return f"testbed: {source.description}{note}"
