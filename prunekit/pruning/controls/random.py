"""The control of the score."""

from __future__ import annotations

from prunekit.prompts.mask import Mask
from prunekit.pruning.controls.base import Control, Target
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.scores.random import uniform
from prunekit.pruning.ticket import Ticket


class RandomMask(Control):
    """Random masks of the ticket's counts, round by round; it tells whether the score chooses better than chance."""

    name = "random"
    label = "random mask"
    description = "random masks of the same counts, round by round"

    def mask(self, target: Target, before: Ticket, number: int) -> Mask:
        """Nested in the mask before, drawn from the seed and round of the ticket that is pruned.

        From a stream of its own, so that it is no copy of a ticket that was pruned by the score `random`.
        """
        return prune_mask(before.mask, uniform(before, "scores"), target.keeps[number - 1], before.frozen)
