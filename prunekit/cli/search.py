"""`prunekit search`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunekit.cli.options import Controls, DryRun, ExperimentFile, Json, Minutes, Out, Tolerance, Track
from prunekit.cli.training import SECTIONS, train_and_show
from prunekit.experiment import settings_io


@settings_io.with_settings("", *SECTIONS, "search", "pruning.score", "pruning.rewind", "pruning.dropped_as", "machine")
def search(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    controls: Controls = False,
    tolerance: Tolerance = 0.01,
    track: Track = None,
    minutes: Minutes = None,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """XPrompt's search: score once, try ratios or ranks, choose on validation. Run again to resume."""
    options = dict(out=out, controls=controls, tolerance=tolerance, track=track, minutes=minutes)
    train_and_show("search", settings_io.experiments(experiment, settings), options, dry_run=dry_run, json=json)
