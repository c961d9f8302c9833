"""A ticket as plain vectors, and the side file that says what they are: mask, origin, task, versions.

The side file keeps what an adapter's own files have no room for. Other programs need not read it; `prunekit import`
puts a ticket together again from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from prunekit import __version__
from prunekit.models.prompt_batch import stack
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.runs import checksums
from prunekit.runs.ticket_file import MOST_NUMBERS, check
from prunekit.support.errors import ArtifactError, ConfigError

#: The side file's name.
SIDE = "prunekit.json"
FORMAT = 1

_FACTS = ("rewind", "round", "dropped_as", "position", "method", "seed", "origin")


@dataclass(frozen=True)
class Story:
    """Where a ticket comes from and what it answers, for whoever finds it; all of it may be unknown.

    Attributes:
        model: the frozen model's Hub name or folder.
        revision: the frozen model's Hub name or folder.
        task: the question as it was put; no choices where each example has its own.
        template: the question as it was put; no choices where each example has its own.
        choices: the question as it was put; no choices where each example has its own.
        labels: the question as it was put; no choices where each example has its own.
        ranking: how a choice's log-probabilities are joined.
        fields: what the template names.
        separator: between text and answer; a blank where neither has one.
        max_input_tokens: of a text at most.
        beside_prompt: most tokens of text and answer, which the prompt leaves room for.
        opening: ids around each text.
        closing: ids around each text.
        plain: whether special tokens in texts are read as other words.
        metrics: what the ticket reached on the test split.
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


@dataclass(frozen=True)
class Flat:
    """The prompt vectors of a ticket that take up a slot: values [n, H], present Bool[n], source Int[n] (of P)."""

    values: Tensor
    present: Tensor
    source: Tensor


def flat(ticket: Ticket) -> Flat:
    """The slots of a ticket's prompt, exact zeros where pieces are pruned.

    Raises:
        ConfigError: where its method has no static prompt.
    """
    masked = ticket.prompt()
    masked.prompt.materialise()  # refuses a method that also moves the input
    with torch.no_grad():
        soft = stack([masked])
    return Flat(soft.values[0].float().contiguous(), soft.present[0], soft.source[0])


def flattened(ticket: Ticket) -> Ticket:
    """The same ticket with its prompt as plain vectors, zeros where the mask is False; of method direct.

    Raises:
        ConfigError: where its method has no static prompt.
    """
    ticket.prompt().prompt.materialise()
    with torch.no_grad():
        values, _ = ticket.prompt()()
    return replace(ticket, method="direct", state={"values": values.detach().float()})


def side_file(ticket: Ticket, story: Story, tensors: bytes, config: bytes = b"") -> bytes:
    """The side file of a ticket, which notices its own damage and that of the files it lies beside.

    Args:
        tensors: the bytes of the tensor file.
        config: those of an adapter's configuration.
    """
    facts = {
        "format": FORMAT,
        "versions": {"prunekit": __version__} | {name: version(name) for name in ("transformers", "torch")},
        "ticket": {name: getattr(ticket, name) for name in _FACTS} | {"origin": dict(ticket.origin)},
        "mask": ["".join("1" if kept else "0" for kept in row) for row in ticket.mask.piece.tolist()],
        "story": asdict(story),
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "config_sha256": hashlib.sha256(config).hexdigest(),
    }
    return checksums.stamped(facts)


def restored(values: Tensor, head: Mapping[str, Tensor] | None, facts: Mapping[str, Any], where: str) -> Ticket:
    """The flat ticket that a side file tells of, from its slots' values [n, H] and its head.

    Raises:
        ArtifactError: naming `where` the side file lies, where it does not fit the values.
    """
    try:
        piece = torch.tensor([[flag == "1" for flag in row] for row in facts["mask"]])
        mask, known = Mask(piece.any(dim=1), piece), dict(facts["ticket"])
        slots = mask.token if known["dropped_as"] == "remove" else torch.ones_like(mask.token)
        if len(slots) * values.shape[1] > MOST_NUMBERS:  # before memory is taken for what a file claims
            raise ValueError(f"a prompt of {len(slots)} tokens")
        if int(slots.sum()) != len(values):
            raise ValueError(f"{int(slots.sum())} slots for {len(values)} vectors")
        whole = values.new_zeros(len(slots), values.shape[1])
        whole[slots] = values
        whole = whole.where(mask.expand(values.shape[1]), whole.new_zeros(()))
        made = Ticket(mask, {"values": whole}, dict(head) if head else None, **(known | {"method": "direct"}))
        check(made)
    except (LookupError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{where}: does not fit the adapter beside it ({reason})") from error
    return made
