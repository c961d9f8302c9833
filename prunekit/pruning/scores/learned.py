"""What finders share that learn a mask: gates on the units of a trained prompt, and updates of these gates alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Level, Passes, Probe, Score, Scores, from_levels
from prunekit.pruning.scores.units import kept_units

if TYPE_CHECKING:
    from torch import Tensor

    from prunekit.prompts.mask import Mask


class LearnedScore(Score):
    """A score that is learned: each unit has a gate, whose logit is trained to lower the loss; larger = keep.

    The prompt stays as it is. How many gates are open falls from all to the count that pruning will keep (half of them
    where it serves several), so that units compete; each example of an update has gates of its own draw.

    Attributes:
        epochs: over the examples, at each level.
        rate: the length of each step of the logits.
    """

    def __init__(self, epochs: int = 4, rate: float = 1.0) -> None:
        self.epochs, self.rate = epochs, rate

    @abstractmethod
    def gates(self, logits: Tensor, opened: float, noise: Tensor) -> Tensor:
        """Float[B, U] in [0, 1], from which slopes go back to the logits.

        Args:
            logits: Float[U].
            opened: how many of the U are to be open.
            noise: Float[B, U], of the logistic distribution.
        """

    def score(self, probe: Probe) -> Scores:
        """Logits in the end, at each level by itself; `updates` counts those of the gates."""
        updates = self.epochs * (probe.examples // probe.batch)
        by_level = {level: self._learned(probe, level, updates) for level in probe.levels}
        return from_levels(probe.ticket.mask, by_level, probe.examples, {"updates": updates * len(by_level)})

    def passes(self, units: Sequence[int]) -> Passes:
        """An epoch's, at each level; less where the examples do not fill an update."""
        return Passes(self.epochs * len(units), self.epochs * len(units))

    def _learned(self, probe: Probe, level: Level, updates: int) -> Tensor:
        """Float[P] or Float[P, K], logits of the kept units."""
        import torch

        from prunekit.support.seeding import generator

        ticket, units = probe.ticket, kept_units(probe.ticket.mask, level)
        count, fewest = int(units.sum()), _fewest(probe, level)
        logits, draw = torch.zeros(count), generator("gates", level, ticket.seed, ticket.round)
        for update in range(updates):
            opened = count - (count - fewest) * update / updates
            noise = torch.rand(probe.batch, count, generator=draw).logit(eps=1e-6)
            logits.requires_grad_()
            gates = self.gates(logits, opened, noise)
            factors = gates.detach().requires_grad_()
            loss = probe.losses(_spread(factors, ticket.mask, units), update).mean()
            (slopes,) = torch.autograd.grad(loss, factors)
            (slopes,) = torch.autograd.grad(gates, logits, _bounded(slopes, factors.detach() > 0))
            logits = logits.detach() - self.rate * torch.nn.functional.normalize(slopes, dim=0)
        return units.double().masked_scatter(units, logits.detach().double())


def _bounded(slopes: Tensor, opened: Tensor) -> Tensor:
    """Float[B, U]; the slope of a closed gate counts for no more than the steepest of the open ones of its example.

    A vector of zeros that reads nothing before it is one of zeros in each layer of a decoder, and each norm on the way
    multiplies its slope by hundreds. Where that overflows the open gates have no slopes either: the example then says
    nothing.
    """
    steepest = slopes.abs().where(opened, 0.0).amax(dim=1, keepdim=True)
    bounded = slopes.nan_to_num(nan=0.0).clamp(-steepest, steepest).where(~opened, slopes)
    return bounded.where(steepest.isfinite(), 0.0)


def _fewest(probe: Probe, level: Level) -> float:
    """How many units are open in the end."""
    units = int(kept_units(probe.ticket.mask, level).sum())
    if probe.keep is None:
        return units / 2
    return probe.keep.tokens * (probe.keep.pieces if level == "piece" else 1)


def _spread(gates: Tensor, mask: Mask, units: Tensor) -> Tensor:
    """Float[B, P, K] of gates [B, U] of the units that are True, 0 elsewhere."""
    factors = gates.new_zeros(len(gates), *units.shape)
    factors[:, units] = gates
    return factors if factors.dim() == 3 else factors[..., None].expand(-1, *mask.piece.shape)
