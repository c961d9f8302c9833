"""The columns by which every table tells prompts apart, and the run that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunekit.analysis.subjects import KEYS
from prunekit.runs.paths import UNTRAINED, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ArtifactError


def opened(path: Path) -> Snapshot:
    """A run that has something to look at.

    Raises:
        ArtifactError: where the directory is no run, its settings are damaged, or no round of it is finished.
    """
    run = Snapshot.open(path)
    run_columns(run)
    if not run.tickets():
        raise ArtifactError(f"{path}: no finished round yet; run the same command again, it goes on where it stopped")
    return run


def run_columns(run: RunReader) -> dict[str, str]:
    """The first columns of `KEYS`, and the primary metric, from the settings.

    labels: "given" or "shuffled", what the prompt was trained on.

    Raises:
        ArtifactError: where the settings lack one of them.
    """
    settings = run.settings()
    try:
        return {
            "run": run.path.resolve().name,
            "task": settings["task"]["name"],
            "model": settings["model"]["name"],
            "method": settings["prompt"]["method"],
            "labels": settings["task"].get("labels", "given"),
            "metric": settings["metric"],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{run.path}: its settings lack {error}; was it made by another version?") from error


def key_columns(columns: Mapping[str, str], key: RunKey) -> dict[str, Any]:
    """All of `KEYS` for a round, from the `run_columns` of its run."""
    of_round = {"stage": str(key.stage.top), "arm": arm_of(key.stage), "seed": key.seed, "round": key.round}
    return {name: of_round[name] if name in of_round else columns[name] for name in KEYS}


def arm_of(stage: Stage) -> str:
    """What a table calls the tickets of a stage: a control's name, or "dense", "untrained" or "ticket"."""
    return stage.arm or ("dense" if stage.is_dense else "untrained" if stage == UNTRAINED else "ticket")


def prunings(run: RunReader) -> list[Stage]:
    """The stages of a run that pruned or searched, by name."""
    return [stage for stage in run.stages() if stage.is_pruned]
