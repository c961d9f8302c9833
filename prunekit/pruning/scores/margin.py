"""The score that asks what decides, and not what is likely."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.pruning.scores.base import Passes, Probe, Score, Scores, from_columns


class Margin(Score):
    """The mean slope of the margin: how far the right choice is above the best of the others, which accuracy reads."""

    name = "margin"
    label = "gradient of the margin"
    description = "mean slope of the right choice less the best other, in gamma"
    of_choices = True
    source = "saliency of a class score (Simonyan et al. 2014), as a margin"

    def score(self, probe: Probe) -> Scores:
        """Slopes of the margin turned round, turned back."""
        return from_columns(-probe.slopes(objective="margin"), probe.examples)

    def passes(self, units: Sequence[int]) -> Passes:
        """A pass, and one back, each with every choice of an example."""
        return Passes(1, 1)
