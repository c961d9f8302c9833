"""Tasks as data: a dataset, a template, the answers to choose from, and the metrics that judge them.

Nothing here imports torch or transformers; `datasets` and `sklearn` are imported when rows are read or scored.
"""

from prunekit.tasks.catalog import list_tasks, load_task
from prunekit.tasks.columns import OWN, Columns, own_name
from prunekit.tasks.example import SEPARATORS, Example
from prunekit.tasks.in_memory import IN_MEMORY, InMemory
from prunekit.tasks.metrics import METRICS
from prunekit.tasks.open_task import open_task
from prunekit.tasks.spec import parse_task
from prunekit.tasks.splits import Splits, load_splits, read_rows
from prunekit.tasks.task import Hub, Task

__all__ = [
    "IN_MEMORY",
    "METRICS",
    "OWN",
    "SEPARATORS",
    "Columns",
    "Example",
    "Hub",
    "InMemory",
    "Splits",
    "Task",
    "list_tasks",
    "load_splits",
    "load_task",
    "open_task",
    "own_name",
    "parse_task",
    "read_rows",
]
