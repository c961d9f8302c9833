"""Verbs that show what there is: `tasks`, `methods`, `runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunekit import console, flags
from prunekit.commands.options import Json, Out, Tolerance

app = typer.Typer()
runs_app = typer.Typer(help="List, show, verify and compare runs.", no_args_is_help=True)


@app.command()
def tasks(json: Json = False) -> None:
    """List the tasks there are, one line each."""
    from prunekit.tasks import list_tasks

    found = list_tasks()
    if json:
        import json as codec

        console.write(codec.dumps([{"name": one.name, "description": one.description} for one in found]))
        return
    console.show(
        ["task", "metrics", "what it asks"], [[one.name, ", ".join(one.metrics), one.description] for one in found]
    )


@app.command()
@flags.with_settings("model")
def methods(
    prompt_tokens: Annotated[int, typer.Option(min=1, help="prompt tokens P")] = 20, json: Json = False, **settings: Any
) -> None:
    """List the parameterisations of a prompt, with what each trains on the chosen model."""
    from prunekit import verbs

    verbs.methods(settings, prompt_tokens, json=json)


@runs_app.command("list")
def runs_list(out: Out = Path("runs"), json: Json = False) -> None:
    """The runs inside a folder."""
    from prunekit import inspection

    inspection.list_runs(out, json=json)


@runs_app.command("show")
def runs_show(run: Path, tolerance: Tolerance = 0.01, json: Json = False) -> None:
    """The rounds of a run and what was found."""
    from prunekit import inspection

    inspection.show(run, tolerance, json=json)


@runs_app.command("verify")
def runs_verify(runs: list[Path]) -> None:
    """Check every file of finished rounds against its manifest."""
    from prunekit import inspection

    inspection.verify(runs)


@runs_app.command("compare")
def runs_compare(runs: list[Path], json: Json = False) -> None:
    """Runs side by side: the settings that differ, and their rounds."""
    from prunekit import inspection

    inspection.compare(runs, json=json)
