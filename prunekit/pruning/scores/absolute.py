"""XPrompt's score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import GradientScore

if TYPE_CHECKING:
    from torch import Tensor


class Absolute(GradientScore):
    """The mean of |dL/dgamma|: how strongly the loss depends on a token, whichever way."""

    name = "absolute"
    label = "gradient (XPrompt)"
    description = "mean |dL/dgamma|, as XPrompt"
    source = "XPrompt (Ma et al. 2022), section 3.2"

    def reduce(self, slopes: Tensor) -> Tensor:
        """[...] absolute values; they stand inside the mean, where slopes of opposite sign would cancel."""
        return slopes.abs()
