"""Verbs that train: `prune`, `search`, `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from prunekit import flags
from prunekit.commands.options import Controls, DryRun, ExperimentFile, Json, Out, Tolerance

app = typer.Typer()
SECTIONS = ("model", "task", "prompt", "training")


@app.command()
@flags.with_settings("", *SECTIONS, "pruning", "machine")
def prune(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    controls: Controls = False,
    tolerance: Tolerance = 0.01,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a prompt, then score, prune, rewind and retrain it, round after round. Run again to resume."""
    _train("prune", experiment, settings, out=out, tolerance=tolerance, controls=controls, dry_run=dry_run, json=json)


@app.command()
@flags.with_settings("", *SECTIONS, "search", "pruning.score", "pruning.rewind", "pruning.absent", "machine")
def search(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    controls: Controls = False,
    tolerance: Tolerance = 0.01,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """XPrompt's search: score once, try ratios of tokens and pieces, choose on selection. Run again to resume."""
    _train("search", experiment, settings, out=out, tolerance=tolerance, controls=controls, dry_run=dry_run, json=json)


@app.command()
@flags.with_settings("", *SECTIONS, "machine")
def tune(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a prompt, no pruning. `prune` and `search` with the same settings go on from it."""
    _train("tune", experiment, settings, out=out, dry_run=dry_run, json=json)


def _train(verb: str, experiment: Path | None, settings: dict[str, Any], **wish: Any) -> None:
    wanted = flags.experiments(experiment, settings)  # said before torch is imported, where a flag is wrong
    from prunekit import verbs

    verbs.train(wanted, verbs.Wish(verb, **wish))  # type: ignore[arg-type]  # each verb names itself
