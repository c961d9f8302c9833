"""A data set of the Hub, of the commit that is asked for and of no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prunekit.support.errors import DataError
from prunekit.support.hub import Repository
from prunekit.tasks.rows import Source, by_split, of_dataset
from prunekit.tasks.task import Hub


def read_hub(hub: Hub, revision: str | None) -> dict[str, Source]:
    """The splits of a Hub data set that are there, by name.

    Raises:
        DataError: in one line that says what to do.
    """
    repository = Repository("dataset", hub.path, revision)
    title = f"{repository}, {hub.name}" if hub.name else str(repository)
    commit = repository.commit()
    try:
        with repository.one_line_errors():
            splits = _downloaded(hub, commit.sha) if commit.online else _cached(hub, commit.sha)
    except DataError:
        raise
    except Exception as error:  # whatever a data set that is not what it seems can raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{title}: cannot be read: {reason.rstrip('.')}; see {repository.page}, or name a local folder with --data"
        ) from error
    present = by_split(list(splits), title)
    if not present:
        raise DataError(f"{title}: has none of the splits train, validation and test; it has {', '.join(splits)}")
    return {split: _source(hub, name, splits[name], commit.sha) for split, name in present.items()}


def _downloaded(hub: Hub, commit: str) -> Any:
    """All splits of a commit, from the Hub where they are not in the cache."""
    import datasets

    datasets.disable_progress_bars()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # nobody is told what is loaded
    builder = datasets.load_dataset_builder(hub.path, hub.name, revision=commit)
    if builder.hash != commit:  # `datasets` takes the version it read last, whichever that is, where a download fails
        raise ConnectionError("it broke off in the middle of the data set")
    builder.download_and_prepare()
    return builder.as_dataset()


def _cached(hub: Hub, commit: str) -> Any:
    """All splits of a commit that was read before; `datasets` itself offers the version that it read last."""
    import datasets

    offline, verbosity = datasets.config.HF_HUB_OFFLINE, datasets.logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = True
    datasets.logging.set_verbosity_error()
    try:
        latest = datasets.load_dataset_builder(hub.path, hub.name)
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        datasets.logging.set_verbosity(verbosity)
    names = {"dataset_name": latest.dataset_name, "config_name": latest.config_id, "repo_id": hub.path}
    return type(latest)(**names, version=str(latest.config.version), hash=commit).as_dataset()


def _source(hub: Hub, split: str, dataset: Any, commit: str) -> Source:
    columns = {old: new for old, new in hub.rename.items() if old in dataset.column_names}
    name = f"{hub.path}{f' {hub.name}' if hub.name else ''} {split}"
    return replace(of_dataset(dataset.rename_columns(columns), name, name), commit=commit)
