"""The finder that keeps a fixed number of gates open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.learned import LearnedScore

if TYPE_CHECKING:
    from torch import Tensor


class StraightThrough(LearnedScore):
    """Gates that are 1 for the largest of the logits, noise added, and 0 for the rest; slopes pass as they are."""

    name = "straight-through"
    label = "straight-through top-k"
    description = "the top-k open, learned through them"
    source = "edge-popup (Ramanujan et al. 2020), its slopes as Bengio et al. (2013)"

    def gates(self, logits: Tensor, opened: float, noise: Tensor) -> Tensor:
        """[B, U] of exactly 0 and 1, in each row as many 1 as `opened`, rounded."""
        import torch

        top = (logits.detach() + noise).topk(round(opened), dim=1).indices
        return torch.zeros_like(noise).scatter(1, top, 1.0) + logits - logits.detach()
