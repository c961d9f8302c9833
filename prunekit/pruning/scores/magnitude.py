"""The score of large vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Scores, TicketScore

if TYPE_CHECKING:
    from prunekit.pruning.ticket import Ticket


class Magnitude(TicketScore):
    """The L2 norm of a token, or of a piece; the baseline that every other score should beat."""

    name = "magnitude"
    label = "magnitude"
    description = "L2 norm"
    source = "magnitude pruning (Han et al. 2015)"

    def of(self, ticket: Ticket) -> Scores:
        """Norms in the units of the embeddings."""
        values, _ = ticket.prompt()()
        values = values.detach()  # [P, H]
        cells = values.unflatten(1, (ticket.mask.piece.shape[1], -1))  # [P, K, H / K]
        return Scores(values.norm(dim=1), cells.norm(dim=2), examples=0)
