"""`prunekit runs`: list, show, verify and compare runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunekit.cli.help import Command, Group
from prunekit.cli.options import CacheMemory, Json, Out, Tolerance
from prunekit.support import terminal

if TYPE_CHECKING:
    from prunekit.runs.listing import ListedRun
    from prunekit.runs.overview import RunComparison

_LIST = ("run", "model", "task", "metric", "dense", "best", "tokens x pieces", "changed")

app = typer.Typer(cls=Group, help="List, show, verify and compare runs.", no_args_is_help=True)


@app.command("list", cls=Command)
def list_(out: Out = Path("runs"), json: Json = False) -> None:
    """The runs inside a folder, the newest last: model, task, test metric of the dense prompt and the best ticket."""
    from prunekit.runs.listing import list_runs

    runs = list_runs(out)
    if json:
        terminal.write_json([run.facts for run in runs])
        return
    if not runs:
        terminal.write(f"no runs in {out}")
        return
    terminal.show(_LIST, [_row(run) for run in runs], least=("changed", "model", "metric", "task"))
    for run in runs:
        if run.problem:
            terminal.write(run.problem)


def _row(run: ListedRun) -> list[str]:
    if run.problem:
        return [run.path.name, "", "", "", "damaged", "", "", run.date]
    numbers = ["" if value is None else f"{value:.3f}" for value in (run.dense, run.best)]
    return [run.path.name, run.model, run.task, run.metric, *numbers, run.kept or "dense", run.date]


@app.command(cls=Command)
def show(run: Path, tolerance: Tolerance = 0.01, cache_memory: CacheMemory = 8.0, json: Json = False) -> None:
    """The rounds of a run and what was found."""
    from prunekit.cli.rounds import print_run
    from prunekit.runs.overview import facts_of
    from prunekit.runs.snapshot import Snapshot

    directory = Snapshot.open(run)
    if json:
        facts = facts_of(directory, tolerance)
        terminal.write_json(facts | {"tickets": terminal.records(facts["tickets"])})
    else:
        print_run(directory, tolerance, memory=cache_memory)


@app.command(cls=Command)
def verify(
    runs: Annotated[list[Path], typer.Argument(help="run directories, or folders of runs", metavar="RUN...")],
) -> None:
    """Check all that runs should hold: what is missing, damaged or foreign, a line each; code 1 where anything is."""
    from prunekit.runs.overview import verify_runs
    from prunekit.support.errors import ArtifactError

    verifications = verify_runs(runs)
    for verification in verifications:
        for problem in verification.audit.problems:
            terminal.write(" ".join(problem.split()))
    rows = [[str(entry.path), str(entry.audit.rounds), str(entry.audit.files), entry.state] for entry in verifications]
    terminal.show(["run", "rounds", "files checked", "state"], rows)
    damaged = sum(bool(entry.audit.problems) for entry in verifications)
    if damaged:
        raise ArtifactError(f"{damaged} of {len(rows)} runs are not as they should be")
    files = sum(entry.audit.files for entry in verifications)
    terminal.write(f"{files} files match their manifests, and nothing is missing")


@app.command(cls=Command)
def compare(runs: list[Path], json: Json = False) -> None:
    """Runs side by side: the settings that differ, and their rounds."""
    from prunekit.runs.overview import compare_runs

    comparison = compare_runs(runs)
    if json:
        terminal.write_json(comparison.facts)
    else:
        print_comparison(comparison)


def print_comparison(comparison: RunComparison) -> None:
    """The settings that differ, then the rounds of all runs."""
    from prunekit.runs import summary

    settings = comparison.settings
    rows = [["" if value is None else str(value) for value in row] for row in settings.itertuples(index=False)]
    terminal.show(list(settings.columns), rows)
    rounds = [
        [run.path.name, entry.stage or "dense", str(entry.round), str(entry.tokens), str(entry.pieces),
         f"{entry.validation:.3f}", summary.interval(entry)]
        for run, entries in zip(comparison.runs, comparison.rounds, strict=True)
        for entry in entries
    ]  # fmt: skip
    terminal.show(["run", "stage", "round", "tokens", "pieces", "validation", "test"], rounds)
