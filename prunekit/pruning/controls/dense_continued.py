"""The control of more training."""

from __future__ import annotations

from prunekit.prompts.mask import Mask
from prunekit.pruning.controls.base import Control, Target
from prunekit.pruning.ticket import Ticket


class DenseContinued(Control):
    """Nothing is pruned, and training goes on: a ticket is only better if it beats this."""

    name = "dense-continued"
    label = "dense continued"
    description = "nothing is pruned, the same further training"
    units = ("cells", "directions")

    def mask(self, target: Target, before: Ticket, number: int) -> Mask:
        """The dense one."""
        return before.mask
