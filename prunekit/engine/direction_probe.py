"""The same questions of the singular directions of a prompt: slopes, how they bend, losses without some of them.

gamma is a factor of 1 on a direction u s v of P = sum of u s v: its slope is the inner product of u s v with dL/dP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor

from prunekit.engine.ablation import evaluator_of
from prunekit.engine.probe import TicketProbe
from prunekit.models import Encoded, FrozenModel, PromptBatch
from prunekit.pruning.directions import Directions
from prunekit.pruning.schedule import Keep
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError


class DirectionProbe(TicketProbe):
    """A ticket's directions on a frozen model and examples; to a score they are tokens of one piece.

    Attributes:
        ticket: of which each token is a direction (`Directions.as_tokens`).
    """

    def __init__(
        self,
        ticket: Ticket,
        model: FrozenModel,
        examples: Sequence[Encoded],
        *,
        start: Ticket | None = None,
        keep: Keep | None = None,
    ) -> None:
        super().__init__(ticket, model, examples)
        directions = Directions.of(ticket)
        self.ticket = directions.as_tokens()
        self.start = None if start is None else directions.along(start)
        self.keep = None if keep is None or keep.rank is None else Keep(keep.rank, 1)
        self._evaluate = evaluator_of(lambda cells: directions.only(cells[:, 0]), model, examples)
        whole = self._prompts.values
        self._left = directions.left.to(whole)
        self._directions = self.ticket.state["values"].to(whole)[None]

    def attention(self) -> NoReturn:
        """Refused."""
        raise ConfigError("score = attention: attention is paid to tokens, not to directions; use another score")

    def _by_slot(self, factors: Tensor) -> Tensor:
        """Each direction has its place."""
        return factors

    @property
    def _values(self) -> Tensor:
        """[1, R, H]."""
        return self._directions

    def _times(self, zeta: Tensor) -> PromptBatch:
        """The prompt whose directions are multiplied."""
        return replace(
            self._prompts, values=torch.einsum("pr,sbrh->sbph", self._left, self._directions[:, None] * zeta)
        )

    def _mean(self, total: Tensor) -> Tensor:
        """Float[R, 2] of sums [1, R, 2]."""
        return total[0] / self.examples
