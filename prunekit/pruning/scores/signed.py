"""The score that keeps the sign of the slope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import GradientScore

if TYPE_CHECKING:
    from torch import Tensor


class Signed(GradientScore):
    """The mean of -dL/dgamma: by how much, to first order, the loss rises when a token is left out."""

    name = "signed"
    label = "gradient, signed"
    description = "mean -dL/dgamma: what leaving it out costs, to first order"
    source = "the first-order term of leaving one out"

    def reduce(self, slopes: Tensor) -> Tensor:
        """[...] slopes with their sign turned, so that larger = keep."""
        return -slopes
