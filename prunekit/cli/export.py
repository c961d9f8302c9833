"""`prunekit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunekit.cli.options import AllowChanged, Json, Overwrite, TicketPath
from prunekit.experiment import settings_io
from prunekit.support import terminal


@settings_io.with_settings("model", "task", "machine")
def export(  # noqa: PLR0913 (an argument is a flag)
    ticket: TicketPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")],
    to: Annotated[
        str,
        typer.Option(
            help="peft, cartridge or cache (both of prefix-kv), embeddings, or prompt-embeds (for servers, with --rows)"
        ),
    ] = "peft",
    verify: Annotated[bool, typer.Option(help="load it with PEFT, and compare logits and answers")] = True,
    rows: Annotated[
        Path | None, typer.Option(help="file of texts (CSV, JSONL, Parquet) for --to prompt-embeds")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="prefix-kv: kept tokens whole, also where some heads do not see them")
    ] = False,
    overwrite: Overwrite = False,
    allow_changed: AllowChanged = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Write a ticket for use without prunekit: a PEFT adapter, or vectors."""
    from prunekit.experiment.export import ExportRequest, export_ticket
    from prunekit.experiment.reopen import opened

    request = ExportRequest(to, out, verify, rows, allow_changed, overwrite, whole)  # type: ignore[arg-type]  # checked there
    exported = export_ticket(opened(ticket), request, settings, progress=terminal.Screen())
    if json:
        terminal.write_json(exported.facts)
        return
    for sentence in [*exported.notes, *([] if exported.proof is None else exported.proof.sentences)]:
        terminal.write(sentence)
    terminal.write(f"{', '.join(exported.files)} written to {exported.folder}")
