"""`prunekit import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunekit.cli.options import Json, Overwrite
from prunekit.support import terminal


def import_adapter(
    adapter: Annotated[
        str, typer.Argument(help="folder or Hub name of a PEFT prompt, prefix or cartridge adapter (safetensors)")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="ticket file to write; default: the adapter's name")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Hub revision of the adapter")] = None,
    pieces: Annotated[
        int | None,
        typer.Option(min=1, max=65_536, help="pieces per token K; default: 16, or a prefix's key-value heads"),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a ticket of an adapter that others trained, for `eval`, `score` and `prune --from`."""
    from prunekit.experiment import import_adapter as library

    ticket, file = library.import_adapter(adapter, out, revision=revision, pieces=pieces, overwrite=overwrite)
    mask, model = ticket.mask, ticket.origin.get("model")
    if json:
        facts = {"out": str(file), "tokens": mask.tokens, "pieces": mask.piece.shape[1], "model": model}
        terminal.write_json(facts)
        return
    terminal.write(f"{mask.tokens} tokens for the model {model or '(not named: give --model)'}, written to {file}")
    if "gemma" in str(model).lower() and "run" not in ticket.origin:
        terminal.write(
            "note: transformers 4 multiplied Gemma 1 and 2 prompts by the root of their width, transformers 5 does "
            "not: a prompt trained under 4 means something else here"
        )
