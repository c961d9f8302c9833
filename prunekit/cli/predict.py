"""`prunekit predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prunekit.cli.options import AllowChanged, Overwrite, TicketPath
from prunekit.experiment import settings_io
from prunekit.support import atomic, terminal


@settings_io.with_settings("model", "task", "machine")
def predict(
    ticket: TicketPath,
    rows: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, JSON or JSONL file of unlabelled rows")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV, Parquet or JSONL file to write; default: JSONL on standard output"),
    ] = None,
    overwrite: Overwrite = False,
    allow_changed: AllowChanged = False,
    **settings: Any,
) -> None:
    """Answer unlabelled rows with a ticket; files in and out are of the form that their names end in."""
    from prunekit.experiment.api import predict as library
    from prunekit.runs import answers, outputs

    if out is not None:  # before the model is loaded
        answers.check_form(out)
        outputs.check(out, overwrite=overwrite, is_ours=answers.is_answers, reads=(rows, ticket))
    table = library.predict(ticket, rows, allow_changed=allow_changed, **settings)
    if out is None:
        sys.stdout.write("".join(f"{terminal.json_line(answer, sys.stdout.encoding)}\n" for answer in table))
    else:
        atomic.replace(out, answers.written(table, out))
        terminal.write(f"{len(table)} answers written to {out}")
