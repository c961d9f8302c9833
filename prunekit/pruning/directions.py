"""Directions, the third thing to prune: what of a prompt's rank is needed.

    P = U S V   a trained prompt [P, H] has R = min(P, H) singular directions, the rows of V
    prune       keep k of them, the best by score
    rewind      the values once more, as far as they lie in the directions that are kept: (values V_k^T) V_k
    train       both factors, [P, k] and [k, H]: the rank stays, the directions may turn

As a token is a row of the prompt, a direction is a row of S V, seen through U. So the scores of tokens score
directions, and what prunes tokens prunes them. As in `lottery`, nothing here knows a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from prunekit.prompts.factors import svd
from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket


@dataclass(frozen=True)
class Directions:
    """The R singular directions of a ticket's prompt, the longest first; all float64.

    Attributes:
        ticket: whose they are, at its own values.
        left: U [P, R].
        size: S [R], in the units of the embeddings.
        right: V [R, H], orthonormal rows.
    """

    ticket: Ticket
    left: Tensor
    size: Tensor
    right: Tensor

    @classmethod
    def of(cls, ticket: Ticket) -> Directions:
        """Those of a ticket at its own values: as many as its rank, which is full where none was pruned.

        Raises:
            DivergedError: where a value is NaN or infinite.
        """
        with torch.no_grad():
            values = ticket.prompt().prompt().double()
        return cls(ticket, *svd(values, ticket.rank or min(values.shape)))

    def as_tokens(self) -> Ticket:
        """A ticket whose R tokens of one piece are the directions, each as long as its singular value."""
        state = {"values": (self.size[:, None] * self.right).float()}
        return replace(self.ticket, mask=Mask.full(len(self.size), 1), state=state, method="direct", frozen=0)

    def along(self, ticket: Ticket) -> Ticket:
        """What another prompt of the same size has of each of these directions, as tokens: (u P v) v in each."""
        with torch.no_grad():
            values = ticket.prompt().prompt().double()
        sizes = torch.einsum("pr,ph,rh->r", self.left, values, self.right)
        return replace(self.as_tokens(), state={"values": (sizes[:, None] * self.right).float()})

    def only(self, kept: Tensor) -> Ticket:
        """The ticket with some of its directions alone, as plain vectors; kept: Bool[R]."""
        values = (self.left[:, kept] * self.size[kept]) @ self.right[kept]
        return replace(self.ticket, state={"values": values.float()}, method="direct")

    def best(self, scores: Scores, rank: int) -> Tensor:
        """Bool[R]: the `rank` best-scored directions, ties to the longer one.

        Raises:
            DivergedError: where a score is NaN.
        """
        return prune_mask(Mask.full(len(self.size), 1), scores, Keep(rank, 1)).token

    def factor(self, rows: Tensor) -> Tensor:
        """The right factor [k, H] of a prompt in the space of orthonormal rows [k, H], as large as this prompt."""
        length = math.sqrt(float(self.size.square().sum()) / len(self.left)) or 1.0
        return (length * rows).float()


def in_subspace(ticket: Ticket, right: Tensor) -> Ticket:
    """The ticket at rank k: its values as far as they lie in the rows of `right`, as factors.

    Args:
        ticket: of any method; head, round and all else stay.
        right: [k, H], orthogonal rows of one length: `Directions.factor` makes such.
    """
    rank, width = right.shape
    with torch.no_grad():
        values = ticket.prompt().prompt().double()
        unit = float(right.double().norm()) / math.sqrt(rank * width)  # RMS of its entries
        left = values @ right.double().T * (math.sqrt(rank) / (unit * width))
    scale = torch.tensor(1 / (unit * math.sqrt(rank)))
    return replace(ticket, method="low_rank", state={"left": left.float(), "right": right, "scale": scale})


def fixed(ticket: Ticket) -> Ticket:
    """The same prompt of few directions with these frozen, so that training moves what tokens have of them alone."""
    left, right, scale = (ticket.state[name] for name in ("left", "right", "scale"))
    return replace(ticket, state={"left": left, "basis": right, "scale": scale})
