"""The score of squared slopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import GradientScore

if TYPE_CHECKING:
    from torch import Tensor


class Squared(GradientScore):
    """The mean of (dL/dgamma)^2, an estimate of the Fisher information of gamma."""

    name = "squared"
    label = "gradient, squared"
    description = "mean (dL/dgamma)^2, a Fisher estimate"
    source = "Fisher pruning (Theis et al. 2018)"

    def reduce(self, slopes: Tensor) -> Tensor:
        """[...] squares."""
        return slopes.square()
