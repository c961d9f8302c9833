"""Verbs that train: `prune`, `search`, `tune`, `compare`, `sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunekit.cli.commands.options import Controls, DryRun, ExperimentFile, Json, Out, Tolerance, Track
from prunekit.experiment import settings_io
from prunekit.experiment.settings import PromptSettings
from prunekit.support import terminal

app = typer.Typer()
SECTIONS = ("model", "task", "prompt", "training")
# `compare` sets the method itself
ANY_METHOD = tuple(f"prompt.{name}" for name in PromptSettings.model_fields if name != "method")


@app.command()
@settings_io.with_settings("", *SECTIONS, "pruning", "machine")
def prune(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    controls: Controls = False,
    tolerance: Tolerance = 0.01,
    track: Track = None,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a prompt, then score, prune, rewind and retrain it, round after round. Run again to resume."""
    wish = dict(out=out, tolerance=tolerance, controls=controls, dry_run=dry_run, json=json, track=track)
    _train("prune", experiment, settings, **wish)


@app.command()
@settings_io.with_settings("", *SECTIONS, "search", "pruning.score", "pruning.rewind", "pruning.dropped_as", "machine")
def search(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    controls: Controls = False,
    tolerance: Tolerance = 0.01,
    track: Track = None,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """XPrompt's search: score once, try ratios of tokens and pieces, choose on validation. Run again to resume."""
    wish = dict(out=out, tolerance=tolerance, controls=controls, dry_run=dry_run, json=json, track=track)
    _train("search", experiment, settings, **wish)


@app.command()
@settings_io.with_settings("", *SECTIONS, "machine")
def tune(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    track: Track = None,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a prompt, no pruning. `prune` and `search` with the same settings go on from it."""
    _train("tune", experiment, settings, out=out, dry_run=dry_run, json=json, track=track)


@app.command()
@settings_io.with_settings("", "model", "task", *ANY_METHOD, "training", "machine")
def compare(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    methods: Annotated[
        str | None, typer.Option("--methods", help="such as direct,dpt; default: all that need no further flag")
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option("--learning-rates", help="multiples of each method's own rate to choose from; default: 0.3,1,3"),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train every parameterisation on one budget, each at its best learning rate, and compare. Run again to resume."""
    wanted = settings_io.experiments(experiment, settings)
    from prunekit.cli import method_comparison

    named, factors = method_comparison.parse_methods(methods), method_comparison.parse_factors(learning_rates)
    method_comparison.compare(wanted, method_comparison.Wish(out, named, factors, dry_run, json))


@app.command()
@settings_io.with_settings("", "machine")
def sweep(  # noqa: PLR0913 (an argument is a flag)
    grid: Annotated[Path, typer.Argument(help="experiment file in which any setting may be a list")],
    out: Out = Path("runs"),
    engine: Annotated[str, typer.Option(help="local (processes), ray or slurm (pip install ray submitit)")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="runs at a time; default: by cores, memory, GPUs")
    ] = None,
    address: Annotated[str | None, typer.Option(help="of a Ray cluster; default: Ray on this machine")] = None,
    store: Annotated[str, typer.Option(help="URL (fsspec) of what holds the runs, such as s3://bucket/runs")] = "",
    tolerance: Tolerance = 0.01,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Many experiments, from one file: a grid on a local pool, Ray or Slurm. Run again to resume."""
    from prunekit.cli import sweeping

    wish = sweeping.Wish(out, store, engine, workers, address, tolerance, dry_run, json, settings)  # type: ignore[arg-type]  # checked by sweep
    sweeping.sweep(grid, wish)


def _train(verb: str, experiment: Path | None, settings: dict[str, Any], **wish: Any) -> None:
    wanted = settings_io.experiments(experiment, settings)  # said before torch is imported, where a flag is wrong
    from prunekit.cli import verbs

    with terminal.only_first_prints(wanted[0].machine.processes) as heard:
        wish["track"] = wish.get("track") if heard else None
        verbs.train(wanted, verbs.Wish(verb, **wish))  # type: ignore[arg-type]  # each verb names itself
