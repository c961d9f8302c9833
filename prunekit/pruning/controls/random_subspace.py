"""The control of the score of directions."""

from __future__ import annotations

import torch
from torch import Tensor

from prunekit.pruning.controls.base import Target
from prunekit.pruning.controls.low_rank import LowRankControl
from prunekit.pruning.directions import Directions
from prunekit.pruning.lottery import RoundResult
from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator


class RandomSubspace(LowRankControl):
    """As many directions, drawn at random within the space that the prompt's own span.

    Not any of the H dimensions: nearly nothing of a prompt lies in few of those, so that it would be a new start.
    """

    name = "random-subspace"
    label = "random subspace"
    description = "as many directions, at random within the space of the prompt's own"

    def right(self, target: Target, dense: RoundResult, before: Ticket, number: int) -> Tensor:
        """[k, H], uniform among subspaces, round by round; each lies within the one before."""
        rank = target.keeps[number - 1].rank
        assert rank is not None
        directions = Directions.of(before)
        draw = generator("subspace", before.seed, number)
        normal = torch.randn(len(directions.size), rank, generator=draw, dtype=torch.float64)
        return directions.factor(torch.linalg.qr(normal).Q.T @ directions.right)
