"""The control of what the score puts last: of directions what `complement` is of tokens."""

from __future__ import annotations

from torch import Tensor

from prunekit.pruning.controls.base import Target
from prunekit.pruning.controls.low_rank import LowRankControl
from prunekit.pruning.directions import Directions
from prunekit.pruning.lottery import RoundResult
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket


class LowestDirections(LowRankControl):
    """As many directions as the ticket keeps in the end, those of the dense prompt that score lowest."""

    name = "lowest-directions"
    label = "lowest directions"
    description = "as many directions, those that score lowest in the dense prompt"

    def exists(self, density: float) -> bool:
        """Whether the density is below 1: of all directions the lowest are the same."""
        return density < 1

    def right(self, target: Target, dense: RoundResult, before: Ticket, number: int) -> Tensor:
        """[k, H], chosen once; from then on all that it has."""
        directions = Directions.of(before)
        rank = target.keeps[-1].rank
        assert rank is not None and dense.scores is not None
        if before.rank is not None:
            return directions.factor(directions.right)
        upside_down = Scores(-dense.scores.token, -dense.scores.piece, dense.scores.examples)
        return directions.factor(directions.right[directions.best(upside_down, rank)])
