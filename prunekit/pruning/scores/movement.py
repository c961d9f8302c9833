"""The score that asks where training carried a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Passes, Probe, Score, Scores
from prunekit.support.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from prunekit.pruning.ticket import Ticket


class Movement(Score):
    """How far training moved a token away from zeros, or towards them: half of what it added to its squared length.

    That is what -p dL/dp sums to along the way, at any rate, if steps are short. Its updates are those that were made
    anyway.
    """

    name = "movement"
    label = "movement"
    description = "how far training moved it away from zero"
    source = "movement pruning (Sanh et al. 2020), summed from where training began to where it ended"

    def score(self, probe: Probe) -> Scores:
        """In squared units of the embeddings.

        Raises:
            ConfigError: where it is not known where training began.
        """
        if probe.start is None:
            raise ConfigError("score = movement: where this prompt's training began is not known; use a round of a run")
        pieces = (_squares(probe.ticket) - _squares(probe.start)) / 2
        return Scores(pieces.sum(dim=1), pieces, examples=0)

    def passes(self, units: Sequence[int]) -> Passes:
        """None beside those of the training."""
        return Passes()


def _squares(ticket: Ticket) -> Tensor:
    """Float[P, K], the squared length of each piece."""
    values, _ = ticket.prompt()()
    cells: Tensor = values.detach().double().unflatten(1, (ticket.mask.piece.shape[1], -1))
    return cells.square().sum(dim=2)
