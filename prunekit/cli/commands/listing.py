"""Verbs that show what there is: `tasks`, `methods`, `runs`, `test`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunekit.cli.commands.options import Json, Out, Overwrite, Tolerance
from prunekit.experiment import settings_io
from prunekit.support import terminal

app = typer.Typer()
runs_app = typer.Typer(help="List, show, verify and compare runs.", no_args_is_help=True)
tasks_app = typer.Typer(invoke_without_command=True)


@tasks_app.callback()
def tasks(context: typer.Context, json: Json = False) -> None:
    """List the tasks there are, one line each; `tasks show NAME` shows one."""
    if context.invoked_subcommand is not None:
        return
    from prunekit.tasks import list_tasks

    found = list_tasks()
    if json:
        terminal.write_json([{"name": one.name, "description": one.description} for one in found])
        return
    terminal.show(
        ["task", "metrics", "what it asks"], [[one.name, ", ".join(one.metrics), one.description] for one in found]
    )


@tasks_app.command("show")
@settings_io.with_settings("model", "task.data", "task.revision", "machine")
def tasks_show(
    task: Annotated[str, typer.Argument(metavar="NAME", help="a name from `prunekit tasks`, or a task file")],
    json: Json = False,
    **settings: Any,
) -> None:
    """One text as a model reads it, the answers as tokens (with --model), and how long texts are."""
    from prunekit.cli import showing

    showing.show_task({**settings, "task": task}, json=json)


@app.command()
@settings_io.with_settings("model")
def methods(
    prompt_tokens: Annotated[int, typer.Option(min=1, max=10_000, help="prompt tokens P")] = 20,
    json: Json = False,
    **settings: Any,
) -> None:
    """List the parameterisations of a prompt, with what each trains on the chosen model."""
    from prunekit.cli import verbs

    verbs.methods(settings, prompt_tokens, json=json)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="run directories", metavar="RUN...", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="the page")] = Path("report.html"),
    tolerance: Tolerance = 0.01,
    with_model: Annotated[
        bool,
        typer.Option("--with-model", help="also what takes evaluating the frozen model again: the functional rank"),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """One HTML page of runs: what was asked and found, figures, controls, warnings; it needs no network."""
    from prunekit.plots.report import build

    made = build.write(runs, out, tolerance, with_model=with_model, overwrite=overwrite)
    for section in made.sections:
        for line in section.warnings:
            terminal.write(f"{section.name}: {line}")
    terminal.write(f"written to {out}")


@runs_app.command("list")
def runs_list(out: Out = Path("runs"), json: Json = False) -> None:
    """The runs inside a folder."""
    from prunekit.cli import inspection

    inspection.list_runs(out, json=json)


@runs_app.command("show")
def runs_show(run: Path, tolerance: Tolerance = 0.01, json: Json = False) -> None:
    """The rounds of a run and what was found."""
    from prunekit.cli import inspection

    inspection.show(run, tolerance, json=json)


@runs_app.command("verify")
def runs_verify(
    runs: Annotated[list[Path], typer.Argument(help="run directories, or folders of runs", metavar="RUN...")],
) -> None:
    """Check all that runs should hold: what is missing, damaged or foreign, a line each; code 1 where anything is."""
    from prunekit.cli import inspection

    inspection.verify(runs)


@runs_app.command("compare")
def runs_compare(runs: list[Path], json: Json = False) -> None:
    """Runs side by side: the settings that differ, and their rounds."""
    from prunekit.cli import inspection

    inspection.compare(runs, json=json)
