"""The commits of the Hub that a run was made with.

A branch moves on, a run does not: what is used of it later is of the commits that it was made with, and where the Hub
has others by now, that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunekit.experiment.settings import Experiment
from prunekit.models import FrozenModel
from prunekit.runs.reader import RunReader
from prunekit.support.errors import PrunekitError
from prunekit.support.hub import Repository, short
from prunekit.tasks import Splits, Task
from prunekit.tasks.data import hub_of

# the name among the commits -> the section of settings that names the repository, and the flag of its revision
_OF = {"model": ("model", "--model-revision"), "data": ("task", "--data-revision")}


def commits_of(model: FrozenModel, splits: Splits) -> dict[str, str]:
    """The commits of what is from the Hub, by name: "model", "data"."""
    commits = {"model": model.commit, "data": splits.commit}
    return {name: commit for name, commit in commits.items() if commit}


def pinned(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings with its commits for the revisions that it was asked for."""
    tables = dict(settings)
    for name, commit in settings.get("commits", {}).items():
        section, _ = _OF[name]
        tables[section] = tables[section] | {"revision": commit}
    return tables


def without_others_revisions(settings: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of settings, by section, less the revision of a model or data set in whose place flags name another."""
    tables = {section: dict(table) for section, table in settings.items()}
    for section, names in {"model": {"model": "name"}, "task": {"task": "name", "data": "data"}}.items():
        table = tables.get(section, {})
        named = {name: flags[flag] for flag, name in names.items() if flags.get(flag) is not None}
        if any(not isinstance(value, str) or value != table.get(name) for name, value in named.items()):
            table.pop("revision", None)
    return tables


def others(settings: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """The flags that go on with the run of these settings where others of its commits are used now, as a line's end."""
    before = {name: commit for name, commit in settings.get("commits", {}).items() if now.get(name) != commit}
    flags = " ".join(f"{_OF[name][1]} {commit}" for name, commit in before.items())
    return f" ({flags} goes on with it)" if flags else ""


def notes(run: RunReader, experiment: Experiment, task: Task) -> list[str]:
    """A line for each revision that stands for another commit on the Hub than the one that a use of the run is of."""
    settings, lines = run.settings(), []
    hub = hub_of(experiment.task.data) if experiment.task.data else task.hub
    repositories = {"model": ("model", experiment.model.name), "data": ("dataset", hub.path if hub else "")}
    used = {"model": experiment.model.revision, "data": experiment.task.revision}
    for name, commit in settings.get("commits", {}).items():
        section, flag = _OF[name]
        kind, path = repositories[name]
        revision = settings[section].get("revision")
        if used[name] == commit != revision and path:
            lines += _moved(Repository(kind, path, revision), commit, flag)  # type: ignore[arg-type]
    return lines


def _moved(repository: Repository, commit: str, flag: str) -> list[str]:
    """A line where the Hub has another commit by now; a repository that is gone or out of reach says nothing."""
    try:
        with repository.one_line_errors():
            current = repository.current_commit()
    except PrunekitError:
        return []
    if current in (None, commit):
        return []
    return [
        f"note: {repository.name} has changed on the Hub: {repository.branch} is now {short(str(current))}, and this "
        f"run stays with {short(commit)}; {flag} {repository.branch} takes the new one"
    ]
