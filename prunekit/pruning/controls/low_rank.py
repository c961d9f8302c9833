"""What the controls of a ticket of few directions share: they have its rank, and other directions or none that turn."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from prunekit.prompts.mask import Mask
from prunekit.pruning.controls.base import Control, Target
from prunekit.pruning.directions import fixed
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.ticket import Ticket


class LowRankControl(Control):
    """A control of a ticket whose directions were pruned.

    Attributes:
        turns: whether training may turn its directions; else they are frozen.
    """

    units = ("directions",)
    turns: ClassVar[bool] = True

    @abstractmethod
    def right(self, target: Target, dense: RoundResult, before: Ticket, number: int) -> Tensor:
        """The directions [k, H] of round `number`, of one length.

        Args:
            dense: what round 0 made of this seed.
            before: its ticket of the round before as training left it, at first the dense one.
        """

    def mask(self, target: Target, before: Ticket, number: int) -> Mask:
        """That of the dense prompt: no token is dropped."""
        return before.mask

    def next(
        self,
        target: Target,
        dense: Round,
        last: tuple[Ticket, RoundResult] | None,
        number: int,
        rewinding: Rewinding,
    ) -> Ticket:
        """Its ticket of round `number`, rewound as the ticket itself is."""
        first = dense.of(target.ticket.seed)
        before, result = last or first
        right = self.right(target, first[1], before.at(result.kept), number)
        child = rewinding.start_in(right, before, number, result, first)
        return child if self.turns else fixed(child)
