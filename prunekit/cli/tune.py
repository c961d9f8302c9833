"""`prunekit tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunekit.cli.options import DryRun, ExperimentFile, Json, Minutes, Out, Track
from prunekit.cli.training import SECTIONS, train_and_show
from prunekit.experiment import settings_io


@settings_io.with_settings("", *SECTIONS, "machine")
def tune(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    track: Track = None,
    minutes: Minutes = None,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a prompt, no pruning. `prune` and `search` with the same settings go on from it."""
    options = dict(out=out, track=track, minutes=minutes)
    train_and_show("tune", settings_io.experiments(experiment, settings), options, dry_run=dry_run, json=json)
