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
    rows: Annotated[Path, typer.Argument(help="JSONL file of unlabelled rows")],
    out: Annotated[Path | None, typer.Option("--out", help="JSONL file to write; default: standard output")] = None,
    overwrite: Overwrite = False,
    allow_changed: AllowChanged = False,
    **settings: Any,
) -> None:
    """Answer unlabelled rows with a ticket, JSONL in and out."""
    from prunekit.experiment.api import predict as library
    from prunekit.runs import outputs

    if out is not None:  # before the model is loaded
        outputs.check(out, overwrite=overwrite, is_ours=outputs.is_answers, reads=(rows, ticket))
    answers = library.predict(ticket, rows, allow_changed=allow_changed, **settings)
    encoding = "utf-8" if out else sys.stdout.encoding
    text = "".join(f"{terminal.json_line(answer, encoding)}\n" for answer in answers)
    if out is None:
        sys.stdout.write(text)
    else:
        atomic.replace(out, text.encode())
        terminal.write(f"{len(answers)} answers written to {out}")
