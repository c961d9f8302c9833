"""The task that settings name, and its rows; no model is needed for that, nor transformers."""

from __future__ import annotations

from dataclasses import replace

from prunekit.experiment.settings import Experiment, TaskSettings
from prunekit.support.errors import ConfigError
from prunekit.tasks import Splits, Task, load_splits, load_task, open_task


def task_of(experiment: Experiment) -> tuple[Task, Splits]:
    """The task that an experiment names, and its three splits.

    Raises:
        ConfigError: where the settings of task or data cannot work.
        DataError: where task or data cannot be read.
    """
    settings = experiment.task
    task, sources = open_task(settings.name, settings.data, settings.revision, settings.columns)
    task = _as_asked(task, settings)
    splits = load_splits(
        task,
        data=None if task.testbed else sources,
        train_examples=settings.train_examples,
        validation_examples=settings.validation_examples,
        test_examples=settings.test_examples,
        data_seed=settings.data_seed,
        labels=settings.labels,
    )
    return task, splits


def named_task(settings: TaskSettings) -> Task:
    """The task that settings name, in a chat where they ask for one; no row is read unless label words are there alone.

    Raises:
        ConfigError: where the settings of task or data cannot work.
        DataError: where task or data cannot be read.
    """
    task = load_task(settings.name, settings.data, settings.columns)
    if task.lacks_words and settings.data is not None:
        task = open_task(settings.name, settings.data, settings.revision, settings.columns)[0]
    return _as_asked(task, settings)


def _as_asked(task: Task, settings: TaskSettings) -> Task:
    """The task in a chat, or judged by what is written, where settings ask for it."""
    task = replace(task, chat=True) if settings.chat else task
    if settings.judge == "score" or task.target:
        return task
    if task.metrics != ("accuracy",):
        raise ConfigError(
            f'task "{task.name}" is judged by {", ".join(task.metrics)}; --judge generate compares exact strings, for '
            "tasks whose only metric is accuracy"
        )
    return replace(task, judge="generate")
