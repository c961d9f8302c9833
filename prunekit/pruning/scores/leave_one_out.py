"""Leaving one token or piece out: the ground truth of what pruning it alone would do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Evaluate, Level, MeasuredScore, Passes, Probe, Scores, from_levels
from prunekit.pruning.scores.units import cells_of, kept_units

if TYPE_CHECKING:
    from torch import Tensor

    from prunekit.prompts.mask import Mask


@dataclass(frozen=True)
class Ablation:
    """What leaving out each unit does to each of N examples.

    Attributes:
        losses: Float[N], of the whole prompt.
        chosen: Int[N], the number of the choice that it ranks best.
        without_losses: Float[P, N], or Float[P, K, N] at level "piece": the same without that token or piece.
        without_chosen: Int of the same shape. Where nothing was left out (the unit is dropped already, or was not asked
            for) `without_*` equals the whole's.
    """

    losses: Tensor
    chosen: Tensor
    without_losses: Tensor
    without_chosen: Tensor

    @property
    def costs(self) -> Tensor:
        """Float[P, N] or Float[P, K, N]: loss without the unit less loss with all; negative where it does harm."""
        return self.without_losses - self.losses


class LeaveOneOut(MeasuredScore):
    """How much the loss rises when one token, or one piece, is left out of the whole prompt."""

    name = "leave-one-out"
    label = "leave-one-out"
    description = "what leaving it out costs, measured"
    source = "the ground truth of pruning one unit"
    splits = ("validation", "test")  # test is looked at for units that are negative on validation alone

    def measure(
        self,
        mask: Mask,
        evaluate: Evaluate,
        level: Level = "token",
        *,
        only: Tensor | None = None,
        tick: Callable[[int], None] = lambda count: None,
    ) -> Ablation:
        """Leave out each kept token, or each kept piece; a token whose last piece is left out goes with it.

        Args:
            only: Bool[P], or Bool[P, K] at level "piece": the units to leave out, all by default.
            tick: called with the ablations done; there are as many as units.
        """
        units = kept_units(mask, level) & (True if only is None else only)
        whole = evaluate([mask.piece], lambda count: None)
        parts = evaluate([*(mask.piece & ~cells_of(mask, units))], tick)
        losses, chosen = (values[0] for values in whole)
        tables = [values.repeat(*units.shape, 1) for values in (losses, chosen)]
        for table, values in zip(tables, parts, strict=True):
            table[units] = values
        return Ablation(losses, chosen, *tables)

    def score(self, probe: Probe) -> Scores:
        """Mean costs."""
        mask = probe.ticket.mask
        costs = {level: self.measure(mask, probe.evaluate, level).costs.double().mean(dim=-1) for level in probe.levels}
        return from_levels(mask, costs, probe.examples)

    def passes(self, units: Sequence[int]) -> Passes:
        """One for each unit, and one for the whole at each level."""
        return Passes(forward=sum(units) + len(units))
