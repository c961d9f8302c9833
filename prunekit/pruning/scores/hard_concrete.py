"""The finder that draws its gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.learned import LearnedScore

if TYPE_CHECKING:
    from torch import Tensor

# of the distribution, as published: its temperature, and how far it is stretched beyond 0 and 1
_TEMPERATURE, _LOW, _HIGH = 2 / 3, -0.1, 1.1


class HardConcrete(LearnedScore):
    """Gates that are drawn, often exactly 0 or 1, with slopes between; on average as many are open as are asked for.

    The count is held by a logit that all share, and not by a penalty whose weight would be one more thing to choose.
    """

    name = "hard-concrete"
    label = "hard-concrete gates"
    description = "gates that are drawn, learned (L0)"
    source = "L0 regularisation (Louizos et al. 2018), with a target count as Wang et al. (2020)"

    def gates(self, logits: Tensor, opened: float, noise: Tensor) -> Tensor:
        """Hard-concrete variables [B, U], of which `opened` are not 0 on average."""
        drawn = ((noise + logits + _shift(logits, opened)) / _TEMPERATURE).sigmoid()
        return (_LOW + (_HIGH - _LOW) * drawn).clamp(0, 1)


def _shift(logits: Tensor, opened: float) -> float:
    """What added to all logits makes so many of the gates other than 0, on average; all but a half at the most."""
    from math import log

    from scipy.optimize import brentq

    fixed, most = logits.detach().double() - _TEMPERATURE * log(-_LOW / _HIGH), len(logits) - 0.5
    bound = float(fixed.abs().max()) + 50
    return float(brentq(lambda shift: float((fixed + shift).sigmoid().sum()) - min(opened, most), -bound, bound))
