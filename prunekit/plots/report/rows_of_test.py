"""The rows of a run's test split, for a page to show what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prunekit.experiment import provenance
from prunekit.experiment.experiment_of import experiment_of
from prunekit.experiment.settings import TaskSettings
from prunekit.experiment.task_of import task_of
from prunekit.runs.reader import RunReader
from prunekit.support.errors import PrunekitError
from prunekit.tasks import Example
from prunekit.tasks.testbed_tasks import PREFIX


def rows_of_test(run: RunReader, *, from_hub: bool) -> Sequence[Example]:
    """The rows that a run was tested on; none where they are not where they were, or are others now.

    Args:
        run: which.
        from_hub: also those of a data set on the Hub, which takes it to be in the local cache, or a network.
    """
    experiment = experiment_of(run)
    if not (from_hub or _is_here(experiment.task)):
        return ()
    try:
        task, splits = task_of(experiment)
        now = provenance.task_content(task) | provenance.data_content(task, {"test": splits.test})
        provenance.check(run.path, provenance.run_content(run), now, allow_changed=False)
    except (PrunekitError, OSError):
        return ()
    return splits.test


def _is_here(settings: TaskSettings) -> bool:
    """Whether the rows come with prunekit, or from files of this machine."""
    return settings.name.startswith(PREFIX) or (settings.data is not None and Path(str(settings.data)).exists())
