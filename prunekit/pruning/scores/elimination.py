"""The score that prunes on paper first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Level, Passes, Probe, Score, Scores, from_levels
from prunekit.pruning.scores.units import cells_of, kept_units

if TYPE_CHECKING:
    from torch import Tensor


class Elimination(Score):
    """When a unit goes if the cheapest are left out for good, and the rest measured again: 1 first, larger = keep.

    Each turn leaves out one in `share` of those that remain, at least one.
    """

    name = "elimination"
    label = "backward elimination"
    description = "leave-one-out again and again, the cheapest gone for good"
    source = "backward elimination (Marill and Green 1963; in turns, Guyon et al. 2002)"
    act = "own"
    splits = ("validation",)

    def __init__(self, share: int = 8) -> None:
        self.share = share

    def score(self, probe: Probe) -> Scores:
        """The order of going, at each level by itself."""
        mask = probe.ticket.mask
        return from_levels(mask, {level: self._order(probe, level) for level in probe.levels}, probe.examples)

    def _order(self, probe: Probe, level: Level) -> Tensor:
        """Float[P] or Float[P, K], the place of each kept unit in the order, from 1."""
        mask = probe.ticket.mask
        units = kept_units(mask, level).clone()
        order = units.double().zero_()
        while remaining := int(units.sum()):
            cells = cells_of(mask, units)
            losses, _ = probe.evaluate([*(cells.any(dim=0) & ~cells)], lambda count: None)
            cheapest = losses.double().mean(dim=1).argsort(stable=True)[: -(-remaining // self.share)]
            for index in map(tuple, units.nonzero()[cheapest].tolist()):
                order[index] = order.max() + 1
                units[index] = False
        return order

    def passes(self, units: Sequence[int]) -> Passes:
        """One for each unit that remains, turn by turn."""
        return Passes(forward=sum(map(self._evaluations, units)))

    def _evaluations(self, units: int) -> int:
        return units + self._evaluations(units - -(-units // self.share)) if units else 0
