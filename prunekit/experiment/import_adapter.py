"""A PEFT adapter of prompts or of keys and values that others trained, written as a ticket file."""

from __future__ import annotations

from pathlib import Path

from prunekit.export import read_adapter
from prunekit.pruning.ticket import Ticket
from prunekit.runs import outputs
from prunekit.runs.ticket_file import ticket_bytes
from prunekit.support import atomic


def import_adapter(
    source: str, out: Path | None, *, revision: str | None = None, pieces: int | None = None, overwrite: bool = False
) -> tuple[Ticket, Path]:
    """Write the ticket of a PEFT adapter; returns it and its file.

    Args:
        source: a folder or Hub name.
        out: None for the adapter's name with the suffix .ticket.
        pieces: K per token; by default 16, and of keys and values one to each head.

    Raises:
        ConfigError: where prunekit cannot do what the adapter does, or `out` holds something else.
    """
    ticket = read_adapter(source, revision=revision, pieces=pieces)
    target = out or Path(f"{_last_name(source)}.ticket")
    content = ticket_bytes(ticket)
    outputs.check(target, overwrite=overwrite, is_ours=lambda before: before == content)
    atomic.replace(target, content)
    return ticket, target


def _last_name(source: str) -> str:
    return Path(source).resolve().name if Path(source).is_dir() else source.rpartition("/")[2]
