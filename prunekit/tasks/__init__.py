"""Tasks as data: a dataset, a template, the answers to choose from, and the metrics that judge them.

Nothing here imports torch or transformers; `datasets` and `sklearn` are imported when rows are read or scored.
"""

from prunekit.tasks.catalog import list_tasks, load_task
from prunekit.tasks.example import SEPARATORS, Example
from prunekit.tasks.metrics import METRICS
from prunekit.tasks.spec import parse_task
from prunekit.tasks.splits import Splits, load_splits, read_rows
from prunekit.tasks.task import Hub, Task

__all__ = [
    "METRICS",
    "SEPARATORS",
    "Example",
    "Hub",
    "Splits",
    "Task",
    "list_tasks",
    "load_splits",
    "load_task",
    "parse_task",
    "read_rows",
]
