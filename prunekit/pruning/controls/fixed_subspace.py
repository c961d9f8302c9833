"""The control of what training does to directions."""

from __future__ import annotations

from torch import Tensor

from prunekit.pruning.controls.base import Target
from prunekit.pruning.controls.low_rank import LowRankControl
from prunekit.pruning.directions import Directions
from prunekit.pruning.lottery import RoundResult
from prunekit.pruning.ticket import Ticket


class FixedSubspace(LowRankControl):
    """The directions that the ticket begins its last round with, frozen: what tokens have of them alone is trained."""

    name = "fixed-subspace"
    label = "fixed subspace"
    description = "the ticket's directions, frozen: only what tokens have of them is trained"
    turns = False

    def right(self, target: Target, dense: RoundResult, before: Ticket, number: int) -> Tensor:
        """[k, H], the same in every round."""
        if target.ticket.rank is None:  # a search chose full rank, whose ticket has no factors
            directions = Directions.of(before)
            return directions.factor(directions.right)
        return target.ticket.state["right"]
