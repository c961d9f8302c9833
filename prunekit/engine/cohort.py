"""A cohort at work: tickets made trainable, and the one tensor view of them that a model reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prunekit.models import PromptBatch, stack
from prunekit.prompts.methods import same_kind
from prunekit.pruning.ticket import State, Ticket, Values


class Member(nn.Module):
    """One ticket with its parameters free to move; members share nothing but the frozen model."""

    def __init__(self, ticket: Ticket, device: torch.device | None = None) -> None:
        super().__init__()
        self.ticket = ticket
        self.masked = ticket.prompt()
        head = ticket.head or {}
        self.head = nn.ParameterDict({name: nn.Parameter(value.clone()) for name, value in head.items()})
        self.to(device)

    def values(self) -> Values:
        """A copy of the trained numbers as they stand."""
        head = _copied(self.head.state_dict())
        return Values(_copied(dict(self.masked.prompt.named_parameters())), head or None)

    @torch.no_grad()
    def set(self, values: Values) -> None:
        """Put trained numbers in place of those that stand there."""
        parameters = dict(self.masked.prompt.named_parameters())
        for name, value in values.state.items():
            parameters[name].copy_(value)
        for name, value in (values.head or {}).items():
            self.head[name].copy_(value)

    @torch.no_grad()
    def freeze(self) -> None:
        """Put frozen tokens back to where they started, and let no gradient of theirs count."""
        if not self.ticket.frozen:
            return
        values, tokens = self.masked.prompt.get_parameter("values"), slice(self.ticket.frozen)
        values[tokens] = self.ticket.state["values"][tokens].to(values)
        if values.grad is not None:
            values.grad[tokens] = 0

    @property
    def head_parts(self) -> tuple[Tensor, Tensor]:
        """Weight [C, H] and bias [C]."""
        return self.head["weight"], self.head["bias"]


def prompt_batch(members: Sequence[Member]) -> PromptBatch:
    """The stacked prompts and heads of members, as a model reads them; gradients flow back to each."""
    same_kind([member.masked.prompt for member in members])
    heads = [member.head_parts for member in members] if len(members[0].head) else None
    return stack([member.masked for member in members], heads)


def _copied(state: State) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
