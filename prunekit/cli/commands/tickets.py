"""Verbs that take or make a finished ticket: `eval`, `score`, `predict`, `export`, `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prunekit.cli.commands.options import AllowChanged, Json, Overwrite, TicketPath
from prunekit.experiment import settings_io
from prunekit.pruning.scores import SCORES

app = typer.Typer()


@app.command("eval")
@settings_io.with_settings("model", "task", "machine")
def evaluate(
    ticket: TicketPath,
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    allow_changed: AllowChanged = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Judge a ticket on a task; model and task default to those it was made with."""
    from prunekit.cli import verbs

    verbs.evaluate(ticket, split, settings, json=json, allow_changed=allow_changed)


@app.command()
@settings_io.with_settings("model", "task", "machine")
def score(
    ticket: TicketPath,
    kind: Annotated[
        str, typer.Option(help="; ".join(f"{score.name}: {score.description}" for score in SCORES))
    ] = "leave-one-out",
    level: Annotated[str, typer.Option(help="token or piece")] = "token",
    examples: Annotated[int | None, typer.Option(min=2, help="at most so many; default: all of the split")] = None,
    permutations: Annotated[
        int, typer.Option(min=2, max=1_000_000, help="orders drawn for Shapley values, an even number")
    ] = 16,
    allow_changed: AllowChanged = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Importance of a finished ticket's tokens or pieces; which of them are better left out."""
    from prunekit.cli import scoring

    wish = scoring.Wish(kind, level, examples, permutations)  # type: ignore[arg-type]  # checked by Wish itself
    scoring.score(ticket, wish, settings, json=json, allow_changed=allow_changed)


@app.command()
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
    from prunekit.cli import verbs

    verbs.predict(ticket, rows, out, settings, allow_changed=allow_changed, overwrite=overwrite)


@app.command()
@settings_io.with_settings("model", "task", "machine")
def export(
    ticket: TicketPath,
    out: Annotated[Path, typer.Option("--out", help="folder to write")],
    to: Annotated[str, typer.Option(help="peft, embeddings, or prompt-embeds (for servers, with --rows)")] = "peft",
    verify: Annotated[bool, typer.Option(help="load it with PEFT, and compare logits and answers")] = True,
    rows: Annotated[Path | None, typer.Option(help="JSONL file of texts for --to prompt-embeds")] = None,
    overwrite: Overwrite = False,
    allow_changed: AllowChanged = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Write a ticket for use without prunekit: a PEFT adapter, or vectors."""
    from prunekit.cli import exchange

    wish = exchange.Wish(to, out, verify, rows, allow_changed, overwrite)  # type: ignore[arg-type]  # checked by Wish itself
    exchange.export(ticket, wish, settings, json=json)


@app.command("import")
def import_adapter(
    adapter: Annotated[str, typer.Argument(help="folder or Hub name of a PEFT prompt-tuning adapter (safetensors)")],
    out: Annotated[Path | None, typer.Option("--out", help="ticket file to write; default: the adapter's name")] = None,
    revision: Annotated[str | None, typer.Option(help="Hub revision of the adapter")] = None,
    pieces: Annotated[int, typer.Option(min=1, max=65_536, help="pieces per token K")] = 16,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a ticket of an adapter that others trained, for `eval`, `score` and `prune --from`."""
    from prunekit.cli import exchange

    exchange.import_adapter(adapter, out, revision, pieces, overwrite=overwrite, json=json)
