"""The score that knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Scores, TicketScore

if TYPE_CHECKING:
    from prunekit.pruning.ticket import Ticket


class Random(TicketScore):
    """Uniform in [0, 1), fixed by the ticket's seed and round: what it keeps is a random mask."""

    name = "random"
    label = "random"
    description = "chance"
    source = "a control"

    def of(self, ticket: Ticket) -> Scores:
        """The same numbers for the same seed and round."""
        return uniform(ticket, "random-scores")


def uniform(ticket: Ticket, name: str) -> Scores:
    """Numbers in [0, 1) by the ticket's seed and round, from the stream of that name."""
    import torch

    from prunekit.support.seeding import generator

    tokens, pieces = ticket.mask.piece.shape
    piece = torch.rand(tokens * pieces, generator=generator(name, ticket.seed, ticket.round))
    token = torch.rand(tokens, generator=generator(f"token-{name}", ticket.seed, ticket.round))
    return Scores(token, piece.view(tokens, pieces), examples=0)
