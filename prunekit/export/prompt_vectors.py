"""A ticket's prompt as plain vectors, without the method that made it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from prunekit.models.prompt_batch import stack
from prunekit.pruning.ticket import Ticket


@dataclass(frozen=True)
class PromptVectors:
    """The n vectors of a ticket's prompt that take up a slot.

    Attributes:
        values: [n, H], exact zeros where pieces are pruned.
        present: Bool[n], whether the slot is attended to.
        source: Int[n], the prompt token that it holds.
    """

    values: Tensor
    present: Tensor
    source: Tensor


def prompt_vectors(ticket: Ticket) -> PromptVectors:
    """The vectors of a ticket's prompt, without those of removed tokens.

    Raises:
        ConfigError: where its method has no static prompt.
    """
    masked = ticket.prompt()
    masked.prompt.materialise()  # refuses a method that also moves the input
    with torch.no_grad():
        prompts = stack([masked])
    return PromptVectors(prompts.values[0].float().contiguous(), prompts.present[0], prompts.source[0])


def flattened(ticket: Ticket) -> Ticket:
    """The same ticket with its prompt as plain vectors, zeros where the mask is False; of method direct.

    Raises:
        ConfigError: where its method has no static prompt.
    """
    ticket.prompt().prompt.materialise()
    with torch.no_grad():
        values, _ = ticket.prompt()()
    return replace(ticket, method="direct", state={"values": values.detach().float()})
