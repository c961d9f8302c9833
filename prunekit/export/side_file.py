"""The file beside an exported prompt that says what it is: mask, origin, task, versions.

It keeps what an adapter's own files have no room for. Other programs need not read it; `prunekit import` puts the
ticket together again from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from prunekit import __version__
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.runs import checksums
from prunekit.runs.ticket_file import MOST_NUMBERS, check
from prunekit.support.errors import ArtifactError, ConfigError

#: The side file's name.
SIDE = "prunekit.json"
FORMAT = 1

_TICKET_FIELDS = ("rewind", "round", "dropped_as", "position", "method", "seed", "origin")


@dataclass(frozen=True)
class TicketInfo:
    """What an exported ticket belongs to: its model and task, and how a text is read; any of it may be unknown.

    Attributes:
        model: Hub name or folder of the frozen model.
        revision: its commit or tag.
        task: the task's name.
        template: the task's template.
        choices: its answers; None where each example has its own.
        labels: the label of each answer.
        ranking: whether a choice's token log-probabilities are summed or averaged.
        fields: the fields that the template names.
        max_input_tokens: most tokens of a text.
        beside_prompt: most tokens of text and answer together, which the prompt leaves room for; of the
            text alone where a decoder of its own reads the answer.
        separator: between text and answer; a blank is left out where either has one.
        opening: ids before each text.
        closing: ids behind each text.
        plain: whether special tokens in a text are read as ordinary words.
        metrics: what the ticket reached on the test split.
        chat: whether text and answer are turns of a chat; an adapter's template then holds the chat template's words.
        prefix: which of PEFT's kinds keys and values become.
        target: what is written where answers are, of the fields of a row.
        decoding: how it is written, as `prunekit.tasks.decoding.Decoding` has it; None where answers are chosen.
        ends: ids that end what is written.
        null_keys: how far they hold, where a prefix has them (`prunekit.export.null_keys`).
    """

    model: str | None = None
    revision: str | None = None
    task: str | None = None
    template: str | None = None
    choices: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    ranking: str = "sum"
    fields: tuple[str, ...] = ()
    max_input_tokens: int | None = None
    beside_prompt: int | None = None
    separator: str = " "
    opening: tuple[int, ...] = ()
    closing: tuple[int, ...] = ()
    plain: bool = True
    metrics: Mapping[str, float] = field(default_factory=dict)
    chat: bool = False
    prefix: str = "PREFIX_TUNING"
    target: str = ""
    decoding: Mapping[str, Any] | None = None
    ends: tuple[int, ...] = ()
    null_keys: Mapping[str, Any] | None = None


def side_file(ticket: Ticket, info: TicketInfo, tensors: bytes, config: bytes = b"") -> bytes:
    """The side file of a ticket, with digests that reveal damage to it and to the files beside it.

    Args:
        ticket: what is exported.
        info: what it belongs to.
        tensors: the bytes of the tensor file.
        config: those of an adapter's configuration.
    """
    facts = {
        "format": FORMAT,
        "versions": {"prunekit": __version__} | {name: version(name) for name in ("transformers", "torch")},
        "ticket": {name: getattr(ticket, name) for name in _TICKET_FIELDS} | {"origin": dict(ticket.origin)},
        "mask": ["".join("1" if kept else "0" for kept in row) for row in ticket.mask.piece.tolist()],
        "about": {name: value for name, value in asdict(info).items() if name != "prefix"},
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "config_sha256": hashlib.sha256(config).hexdigest(),
    }
    return checksums.stamped(facts)


def restored(values: Tensor, head: Mapping[str, Tensor] | None, facts: Mapping[str, Any], where: str) -> Ticket:
    """The ticket that a side file describes, its prompt as plain vectors.

    Args:
        values: [n, H], the vectors of its slots.
        head: its head, if any.
        facts: the side file's content.
        where: its path, for errors.

    Raises:
        ArtifactError: where it does not fit the values.
    """
    try:
        piece = torch.tensor([[flag == "1" for flag in row] for row in facts["mask"]])
        mask, fields = Mask(piece.any(dim=1), piece), dict(facts["ticket"])
        slots = mask.token if fields["dropped_as"] == "remove" else torch.ones_like(mask.token)
        if len(slots) * values.shape[1] > MOST_NUMBERS:  # before memory is taken for what a file claims
            raise ValueError(f"a prompt of {len(slots)} tokens")
        if int(slots.sum()) != len(values):
            raise ValueError(f"{int(slots.sum())} slots for {len(values)} vectors")
        full = values.new_zeros(len(slots), values.shape[1])
        full[slots] = values
        full = full.where(mask.expand(values.shape[1]), full.new_zeros(()))
        ticket = Ticket(mask, {"values": full}, dict(head) if head else None, **(fields | {"method": "direct"}))
        check(ticket)
    except (LookupError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{where}: does not fit the adapter beside it ({reason})") from error
    return ticket
