"""The control of the length."""

from __future__ import annotations

from dataclasses import replace

from prunekit.prompts.mask import Mask
from prunekit.pruning.controls.base import Control, Target
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.ticket import Ticket


class ShortPrompt(Control):
    """A new prompt of as many whole tokens as the ticket has; it tells whether a short one would have done."""

    name = "short-prompt"
    label = "new prompt, as short"
    description = "a new prompt of as many whole tokens as the ticket has"
    starts_anew = True
    packed_as = "length"

    def mask(self, target: Target, before: Ticket, number: int) -> Mask:
        """All pieces of the tokens that the ticket keeps."""
        final = target.ticket.mask
        return Mask(final.token, final.token[:, None].expand_as(final.piece).clone())

    def next(
        self,
        target: Target,
        dense: Round,
        last: tuple[Ticket, RoundResult] | None,
        number: int,
        rewinding: Rewinding,
    ) -> Ticket:
        """A removed token has no slot, so that a prompt of n whole tokens is a shorter prompt."""
        return super().next(target, dense, last, number, replace(rewinding, dropped_as="remove"))
