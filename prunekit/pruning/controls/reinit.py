"""The control of the values (Frankle and Carbin 2019: random reinitialisation)."""

from __future__ import annotations

from prunekit.prompts.mask import Mask
from prunekit.pruning.controls.base import Control, Target
from prunekit.pruning.lottery import Rewind
from prunekit.pruning.ticket import Ticket


class Reinit(Control):
    """The ticket's mask on new values; it tells the mask's part from that of the values under it."""

    name = "reinit"
    label = "same mask, new values"
    description = "the ticket's mask on new values"
    starts_anew = True
    packed_as = "fresh"

    def rounds(self, last: int, rewind: Rewind) -> range:
        """As `Control.rounds`, up to round `last`; none beside a ticket that was itself rewound to new values."""
        return range(0) if rewind == "reinit" else super().rounds(last, rewind)

    def mask(self, target: Target, before: Ticket, number: int) -> Mask:
        """The ticket's last mask, in every round."""
        return target.ticket.mask
