"""Scores of a prompt's tokens and pieces, and those that need no model: magnitude and chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator


@dataclass(frozen=True)
class Scores:
    """Importance of a prompt's tokens and pieces; larger = keep.

    XPrompt's is the mean over examples of |dL/dgamma|, gamma a factor of 1 on the token, or on the piece: how strongly
    the loss would answer if it were turned (`prunekit.engine.gradient_scores`). Any other scores do here as well.

    Attributes:
        token: Float[P].
        piece: Float[P, K].
        examples: how many examples the scores are averaged over. Entries of dropped cells mean nothing and are ignored
            when choosing.
    """

    token: Tensor
    piece: Tensor
    examples: int

    def __post_init__(self) -> None:
        if self.token.dim() != 1 or self.piece.dim() != 2 or len(self.piece) != len(self.token):
            raise ValueError(f"want token [P] and piece [P, K], got {[*self.token.shape]} and {[*self.piece.shape]}")


def magnitude_scores(cohort: Sequence[Ticket]) -> list[Scores]:
    """L2 norms of tokens and pieces, no data needed; the baseline that every score must beat."""
    scores = []
    for ticket in cohort:
        with torch.no_grad():
            values, _ = ticket.prompt()()
        cells = values.unflatten(1, (ticket.mask.piece.shape[1], -1))  # [P, K, H / K]
        scores.append(Scores(values.norm(dim=1), cells.norm(dim=2), examples=0))
    return scores


def random_scores(cohort: Sequence[Ticket]) -> list[Scores]:
    """Uniform scores, fixed by each ticket's seed and round; the control that keeps a random mask."""
    scores = []
    for ticket in cohort:
        draw = torch.rand(ticket.mask.piece.numel(), generator=generator("scores", ticket.seed, ticket.round))
        piece = draw.view(ticket.mask.piece.shape)
        token = torch.rand(len(piece), generator=generator("token-scores", ticket.seed, ticket.round))
        scores.append(Scores(token, piece, examples=0))
    return scores
