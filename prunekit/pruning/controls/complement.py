"""The control of what was thrown away (XPrompt, Figure 5: reversed)."""

from __future__ import annotations

import torch

from prunekit.prompts.mask import Mask
from prunekit.pruning.controls.base import Control, Target
from prunekit.pruning.ticket import Ticket


class Complement(Control):
    """The complement of the ticket's mask: exactly the tokens and pieces that were dropped."""

    name = "complement"
    label = "complement mask"
    description = "the tokens and pieces that were dropped"
    packed_as = "reversed"

    def exists(self, density: float) -> bool:
        """Whether the density is below 1: a ticket that dropped nothing has no complement."""
        return density < 1

    def mask(self, target: Target, before: Ticket, number: int) -> Mask:
        """The complement of the ticket's last mask, in every round; frozen tokens are in both."""
        complement = ~target.ticket.mask
        frozen = torch.arange(len(complement.token)) < target.ticket.frozen
        return Mask(complement.token | frozen, complement.piece | frozen[:, None])
