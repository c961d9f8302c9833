"""The score of what the model looks at."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.pruning.scores.base import Passes, Probe, Score, Scores, from_levels


class Attention(Score):
    """How much attention a token receives, summed over the positions that attend, averaged over heads and layers.

    What hiding it would give back to the others; what the others would make of it, it does not say. In a causal model
    more positions see the first tokens than the last.
    """

    name = "attention"
    label = "attention received"
    description = "attention it receives, tokens alone"
    source = "attention received (PoWER-BERT, Goyal et al. 2020, section 3.2)"
    act = "hide"
    levels = ("token",)
    of_directions = False

    def score(self, probe: Probe) -> Scores:
        """Weights of attention; pieces of a token, which get them together, all have 0."""
        return from_levels(probe.ticket.mask, {"token": probe.attention()}, probe.examples)

    def passes(self, units: Sequence[int]) -> Passes:
        """A pass."""
        return Passes(forward=1)
