"""What a control is: the ticket's training once more, with one thing changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewind, Rewinding, Round, RoundResult
from prunekit.pruning.schedule import Keep, Unit
from prunekit.pruning.ticket import Ticket


@dataclass(frozen=True)
class Target:
    """The ticket that is to be controlled, and what each of its rounds kept."""

    ticket: Ticket
    keeps: Sequence[Keep]


class Control(ABC):
    """What a ticket is compared with: it differs from the ticket in one thing, and is trained as often.

    Attributes:
        name: as directories, tables and flags spell it.
        label: as tables for people and figures spell it.
        description: one line.
        units: the kinds of pruning that it is a control of.
        starts_anew: whether it begins with new values in a round 0 of its own, and not with the dense prompt's.
        packed_as: what orders it among members of one length that share a batch, where that is not its name. It
            decides how sums are rounded, so that another order would end in other last bits.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]
    units: ClassVar[tuple[Unit, ...]] = ("cells",)
    starts_anew: ClassVar[bool] = False
    packed_as: ClassVar[str | None] = None

    def rounds(self, last: int, rewind: Rewind) -> range:
        """The rounds in which it is trained beside a ticket of round `last`, so that both have seen as many updates.

        Where values are handed on from round to round (rewind "trained"), as many rounds as the ticket; where each
        round restarts from round 0, one, in the data order of the ticket's last round. (Rewound to a step, a ticket
        carries that step's updates, which new values do not have: tables count them.)
        """
        if rewind == "trained":
            return range(0 if self.starts_anew else 1, last + 1)
        return range(last, last + 1)

    def exists(self, density: float) -> bool:
        """Whether a ticket of this density has such a control."""
        return True

    @abstractmethod
    def mask(self, target: Target, before: Ticket, number: int) -> Mask:
        """Its mask in round `number`; `before` is its ticket of the round before, at first the dense one."""

    def next(
        self,
        target: Target,
        dense: Round,
        last: tuple[Ticket, RoundResult] | None,
        number: int,
        rewinding: Rewinding,
    ) -> Ticket:
        """Its ticket of round `number`.

        Args:
            last: its ticket of the round before and what that became; None in its first round.
        """
        first, trained = dense.of(target.ticket.seed)
        before, result = last or (first, trained)
        mask = self.mask(target, before, number)
        if last is None and self.starts_anew:
            child = replace(first, mask=mask, round=number, rewind="reinit", dropped_as=rewinding.dropped_as)
            return child.at(rewinding.new_values(child))
        return rewinding.start(before, mask, number, result, trained)
